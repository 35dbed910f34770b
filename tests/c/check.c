#include "check.h"

#include <stdlib.h>

const tea_str NOTHING = {NULL, 0};
const tea_str WILD = {NULL, 3};
const tea_str BROKEN = {(const uint8_t *)"\xc3\x28", 2};

static int passed, failed;
static bool broken;

bool check_that(bool holds, const char *file, int line, const char *what) {
  if (!holds) {
    printf("    %s:%d: %s\n", file, line, what);
    broken = true;
  }
  return holds;
}

/* Whether a text holds another one. */
static bool holds(tea_str text, const char *part) {
  size_t len = strlen(part);
  for (size_t i = 0; i + len <= text.len; i++) {
    if (memcmp(text.ptr + i, part, len) == 0) {
      return true;
    }
  }
  return false;
}

void check_status(int64_t got, int64_t want, tea_error *err, const char *part, const char *file, int line,
                  const char *what) {
  tea_str message = tea_error_message(err);
  bool as_expected = got == want;
  if (want < 0) {
    as_expected = as_expected && err != NULL && tea_error_status(err) == want && message.len > 0;
    as_expected = as_expected && tea_error_class(err).len > 0 && (part == NULL || holds(message, part));
  } else {
    as_expected = as_expected && err == NULL;
  }
  if (!check_that(as_expected, file, line, what)) {
    printf("      status %lld instead of %lld, message '%.*s', '%s' is expected\n", (long long)got, (long long)want,
           (int)message.len, (const char *)message.ptr, part != NULL ? part : "");
  }
  tea_error_free(err);
}

void check_text(tea_buffer *buffer, const char *text, const char *file, int line) {
  const char *got = buffer->ptr != NULL ? (const char *)buffer->ptr : "(nothing)";
  if (!check_that(buffer->ptr != NULL && buffer->len == strlen(text) && strcmp(got, text) == 0, file, line, text)) {
    printf("      got %s\n", got);
  }
  tea_buffer_free(buffer);
}

void run_test(const char *name, void (*test)(void)) {
  broken = false;
  test();
  passed += !broken;
  failed += broken;
  printf("%s %d - %s\n", broken ? "not ok" : "ok", passed + failed, name);
  fflush(stdout);
}

int finish(void) {
  printf("1..%d\n%d passed, %d failed\n", passed + failed, passed, failed);
  return failed != 0 || passed == 0;
}

tea_str str(const char *text) { return bytes(text, strlen(text)); }

tea_str bytes(const char *data, size_t len) {
  tea_str text = {(const uint8_t *)data, len};
  return text;
}

int32_t tally_call(void *user_data, tea_call *call) {
  tally *data = user_data;
  data->calls++;
  tea_buffer state = {0};
  if (tea_call_state(call, &state, NULL) == TEA_OK) {
    snprintf(data->state, sizeof data->state, "%s", (const char *)state.ptr);
  }
  tea_buffer_free(&state);
  if (data->failure != NULL) {
    tea_call_fail(call, str("ValueError"), str(data->failure), NULL);
    return TEA_ERR_HOST;
  }
  return data->result != NULL ? (int32_t)tea_call_return(call, str(data->result), NULL) : TEA_OK;
}

void tally_destroy(void *user_data) {
  tally *data = user_data;
  data->destroyed++;
}

tea_engine *new_engine(void) {
  tea_engine *engine = NULL;
  OK(tea_engine_new(&engine, &err));
  return engine;
}

tea_graph *new_graph(tea_engine *engine, const char *options) {
  tea_graph *graph = NULL;
  OK(tea_graph_new(engine, options != NULL ? str(options) : NOTHING, &graph, &err));
  return graph;
}

void add_node(tea_graph *graph, const char *name, tally *data) {
  if (data != NULL) {
    OK(tea_graph_add_node(graph, str(name), tally_call, data, tally_destroy, &err));
  } else {
    OK(tea_graph_add_node(graph, str(name), NULL, NULL, NULL, &err));
  }
}

void add_chain(tea_graph *graph, const char *const *names, tally *data) {
  for (size_t i = 0; names[i] != NULL; i++) {
    add_node(graph, names[i], data != NULL ? &data[i] : NULL);
    if (i == 0) {
      OK(tea_graph_set_entry_point(graph, str(names[i]), &err));
    } else {
      OK(tea_graph_add_edge(graph, str(names[i - 1]), str(names[i]), &err));
    }
    if (names[i + 1] == NULL) {
      OK(tea_graph_set_finish_point(graph, str(names[i]), &err));
    }
  }
}

tea_run *new_run(const tea_graph *graph, const char *options) {
  tea_run *run = NULL;
  OK(tea_run_new(graph, options != NULL ? str(options) : NOTHING, &run, &err));
  return run;
}

void check_event(tea_run *run, const char *json, const char *file, int line) {
  tea_buffer event = {0};
  tea_error *error = NULL;
  tea_status status = tea_run_next(run, &event, &error);
  check_status(status, json != NULL ? TEA_OK : TEA_DONE, error, NULL, file, line, json != NULL ? json : "the end");
  if (json != NULL) {
    check_text(&event, json, file, line);
  }
  tea_buffer_free(&event);
}

void check_last(const tea_graph *graph, const char *options, const char *json, const char *file, int line) {
  tea_run *run = new_run(graph, options);
  tea_buffer event = {0}, last = {0};
  tea_error *error = NULL;
  tea_status status;
  while ((status = tea_run_next(run, &event, &error)) == TEA_OK) {
    tea_buffer_free(&last);
    last = event;
    event = (tea_buffer){0};
  }
  check_status(status, TEA_DONE, error, NULL, file, line, json);
  check_text(&last, json, file, line);
  tea_buffer_free(&event);
  tea_run_free(run);
}
