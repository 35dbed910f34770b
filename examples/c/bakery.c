/* A run of the bakery, as a graph with C functions.
 *
 *     mix ─▶ rise ──not risen──▶ rise ──risen──▶ (a person looks) bake ─▶ end
 *
 * It shows a chain, a loop by a condition, a stream of events, and an interrupt that is saved to disk and resumed by
 * another engine, as a second process would do it.
 *
 *     bakery [FOLDER]     FOLDER gets the checkpoint; default: a new one under /tmp
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tea.h"

static tea_str str(const char *text) {
  tea_str s = {(const uint8_t *)text, strlen(text)};
  return s;
}

static const tea_str NO_OPTIONS = {NULL, 0};

/* Every call returns a status below 0 for an error, and then the error itself. */
static void must(tea_status status, tea_error *err) {
  if (status < 0) {
    tea_str message = tea_error_message(err);
    fprintf(stderr, "bakery: %.*s (status %d)\n", (int)message.len, (const char *)message.ptr, (int)status);
    tea_error_free(err);
    exit(1);
  }
}

/* The number under a key of the state. */
static long number(tea_call *call, const char *key) {
  tea_buffer json = {0};
  long value = 0;
  if (tea_call_get(call, str(key), &json, NULL) == TEA_OK) {
    value = strtol((const char *)json.ptr, NULL, 10);
  }
  tea_buffer_free(&json);
  return value;
}

/* --- the functions of the nodes: they read the state from the call and return an update as JSON ------------- */

static int32_t mix(void *user_data, tea_call *call) {
  (void)user_data;
  char update[64];
  snprintf(update, sizeof update, "{\"dough\":%ld,\"volume\":100}", number(call, "flour") * 2);
  return tea_call_return(call, str(update), NULL);
}

/* Data of a function: the library calls `destroy` for it exactly once, when the graph is gone. */
typedef struct yeast {
  long strength;
} yeast;

static int32_t rise(void *user_data, tea_call *call) {
  const yeast *fresh = user_data;
  char update[64];
  snprintf(update, sizeof update, "{\"volume\":%ld}", number(call, "volume") + fresh->strength);
  return tea_call_return(call, str(update), NULL);
}

/* A condition returns the value that chooses the edge. */
static int32_t has_risen(void *user_data, tea_call *call) {
  (void)user_data;
  return tea_call_return(call, str(number(call, "volume") >= 200 ? "true" : "false"), NULL);
}

static int32_t bake(void *user_data, tea_call *call) {
  (void)user_data;
  if (number(call, "oven") < 180) {
    tea_call_fail(call, str("ValueError"), str("the oven is cold"), NULL);
    return TEA_ERR_HOST;
  }
  return tea_call_return(call, str("{\"bread\":\"done\"}"), NULL);
}

static tea_graph *build(tea_engine *engine, const char *folder) {
  tea_graph *graph = NULL;
  tea_error *err = NULL;
  yeast *fresh = malloc(sizeof *fresh);
  if (fresh == NULL) {
    exit(1);
  }
  fresh->strength = 40;
  must(tea_graph_new(engine, NO_OPTIONS, &graph, &err), err);
  must(tea_graph_add_node(graph, str("mix"), mix, NULL, NULL, &err), err);
  must(tea_graph_add_node(graph, str("rise"), rise, fresh, free, &err), err);
  must(tea_graph_add_node(graph, str("bake"), bake, NULL, NULL, &err), err);
  must(tea_graph_set_entry_point(graph, str("mix"), &err), err);
  must(tea_graph_add_edge(graph, str("mix"), str("rise"), &err), err);
  tea_str targets = str("[[true,\"bake\"],[false,\"rise\"]]");
  must(tea_graph_add_conditional_edges(graph, str("rise"), has_risen, NULL, NULL, targets, &err), err);
  must(tea_graph_set_finish_point(graph, str("bake"), &err), err);
  char options[512];
  snprintf(options, sizeof options, "{\"interrupt_before\":[\"bake\"],\"checkpoint_dir\":\"%s\",\"step_limit\":100}", folder);
  must(tea_graph_compile(graph, str(options), &err), err);
  return graph;
}

/* Runs until the end or an interrupt, and prints each event as it comes. The last event stays in `event`. */
static void run(const tea_graph *graph, const char *options, tea_buffer *event) {
  tea_run *run = NULL;
  tea_error *err = NULL;
  tea_status status;
  must(tea_run_new(graph, str(options), &run, &err), err);
  while ((status = tea_run_next(run, event, &err)) == TEA_OK) {
    printf("  %s\n", (const char *)event->ptr);
  }
  must(status, err);
  tea_run_free(run);
}

/* The text under the last key of an event. A real program would ask its JSON library. */
static void last_text(const tea_buffer *event, const char *key, char *out, size_t size) {
  char pattern[64];
  snprintf(pattern, sizeof pattern, "\"%s\":\"", key);
  const char *found = strstr((const char *)event->ptr, pattern);
  snprintf(out, size, "%.*s", found != NULL ? (int)strcspn(found + strlen(pattern), "\"") : 0,
           found != NULL ? found + strlen(pattern) : "");
}

int main(int argc, char **argv) {
  char made[] = "/tmp/bakery-XXXXXX";
  const char *folder = argc > 1 ? argv[1] : mkdtemp(made);
  if (folder == NULL) {
    perror("bakery");
    return 1;
  }
  if (tea_abi_version() < TEA_ABI_VERSION) {
    fprintf(stderr, "bakery: libtea %s is older than the header\n", tea_version());
    return 1;
  }

  tea_engine *engine = NULL;
  tea_error *err = NULL;
  tea_buffer event = {0}, picture = {0};
  must(tea_engine_new(&engine, &err), err);
  tea_graph *graph = build(engine, folder);
  must(tea_graph_mermaid(graph, NO_OPTIONS, &picture, &err), err);
  printf("%s\n\nuntil a person looks:\n", (const char *)picture.ptr);
  run(graph, "{\"method\":\"stream\",\"input\":{\"flour\":500}}", &event);
  char checkpoint[512];
  last_text(&event, "checkpoint_path", checkpoint, sizeof checkpoint);
  /* Handles may be freed in any order. */
  tea_engine_free(engine);
  tea_graph_free(graph);

  printf("\nlater, from %s:\n", checkpoint);
  must(tea_engine_new(&engine, &err), err);
  graph = build(engine, folder);
  char options[1024];
  snprintf(options, sizeof options, "{\"method\":\"stream\",\"checkpoint\":\"%s\",\"input\":{\"oven\":220}}", checkpoint);
  run(graph, options, &event);
  int done = event.ptr != NULL && strstr((const char *)event.ptr, "\"bread\":\"done\"") != NULL;

  tea_buffer_free(&event);
  tea_buffer_free(&picture);
  tea_graph_free(graph);
  tea_engine_free(engine);
  if (argc < 2) {
    unlink(checkpoint);
    rmdir(folder);
  }
  return done ? 0 : 1;
}
