/* Errors (tea_error): status, class, message, ownership. */
#include <pthread.h>

#include "check.h"

static void null_is_no_error(void) {
  CHECK(tea_error_status(NULL) == TEA_OK);
  CHECK(tea_error_message(NULL).len == 0);
  CHECK(tea_error_class(NULL).len == 0);
  tea_error_free(NULL);
}

static void the_caller_may_want_no_error(void) {
  CHECK(tea_engine_new(NULL, NULL) == TEA_ERR_NULL);
  CHECK(tea_graph_new(NULL, NOTHING, NULL, NULL) == TEA_ERR_NULL);
  CHECK(tea_run_next(NULL, NULL, NULL) == TEA_ERR_NULL);
  CHECK(tea_cursor_step(NULL, 0, NULL, NULL) == TEA_ERR_NULL);
}

static void success_leaves_the_error_alone(void) {
  tea_error *marker = (tea_error *)&marker, *err = marker;
  tea_engine *engine = NULL;
  CHECK(tea_engine_new(&engine, &err) == TEA_OK);
  CHECK(err == marker);
  tea_engine_free(engine);
}

static void outputs_are_left_alone_on_errors(void) {
  tea_graph *graph = (tea_graph *)&graph, *before = graph;
  EXPECT(tea_graph_new(NULL, NOTHING, &graph, &err), TEA_ERR_NULL, "engine is NULL");
  CHECK(graph == before);
  tea_run *run = (tea_run *)&run, *other = run;
  EXPECT(tea_run_new(NULL, NOTHING, &run, &err), TEA_ERR_NULL, "graph is NULL");
  CHECK(run == other);
}

static bool is_class(tea_error *err, const char *name) {
  tea_str class = tea_error_class(err);
  bool same = class.len == strlen(name) && memcmp(class.ptr, name, class.len) == 0;
  tea_error_free(err);
  return same;
}

/* The class is the one that a Python user would see. */
static void classes_are_named_as_in_python(void) {
  tea_engine *engine = new_engine();
  tea_graph *graph = new_graph(engine, NULL);
  tea_run *run = NULL;
  tea_error *err = NULL;
  CHECK(tea_graph_set_entry_point(graph, str("x"), &err) == TEA_ERR_BUILD && is_class(err, "ValueError"));
  CHECK(tea_graph_compile(graph, str("{\"step_limit\":-1}"), &err) == TEA_ERR_ARGUMENT && is_class(err, "ValueError"));
  CHECK(tea_run_new(graph, str("{\"checkpoint\":\"/nowhere\"}"), &run, &err) == TEA_ERR_NOT_FOUND &&
        is_class(err, "FileNotFoundError"));
  OK(tea_graph_compile(graph, str("{\"checkpointer\":\"memory\"}"), &err));
  CHECK(tea_run_new(graph, str("{\"checkpoint\":\"x\"}"), &run, &err) == TEA_ERR_NOT_FOUND && is_class(err, "KeyError"));
  tally condition = {.failure = "cannot decide"};
  OK(tea_graph_add_conditional_edges(graph, str("__start__"), tally_call, &condition, NULL, str("[[1,\"__end__\"]]"), &err));
  OK(tea_run_new(graph, NOTHING, &run, &err));
  tea_buffer event = {0};
  CHECK(tea_run_next(run, &event, &err) == TEA_ERR_HOST && is_class(err, "ValueError"));
  tea_run_free(run);
  tea_graph_free(graph);
  tea_engine_free(engine);
}

static void *read_message(void *error) {
  tea_str message = tea_error_message(error);
  return message.len > 0 ? (void *)message.ptr : NULL;
}

static void any_thread_may_read_an_error(void) {
  tea_error *err = NULL;
  CHECK(tea_engine_new(NULL, &err) == TEA_ERR_NULL);
  pthread_t threads[2];
  for (int i = 0; i < 2; i++) {
    CHECK(pthread_create(&threads[i], NULL, read_message, err) == 0);
  }
  for (int i = 0; i < 2; i++) {
    void *message = NULL;
    pthread_join(threads[i], &message);
    CHECK(message == tea_error_message(err).ptr);
  }
  tea_error_free(err);
}

int main(void) {
  RUN(null_is_no_error);
  RUN(the_caller_may_want_no_error);
  RUN(success_leaves_the_error_alone);
  RUN(outputs_are_left_alone_on_errors);
  RUN(classes_are_named_as_in_python);
  RUN(any_thread_may_read_an_error);
  return finish();
}
