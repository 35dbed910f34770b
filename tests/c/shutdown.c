/* tea_shutdown: afterwards no callback is called, freeing stays allowed. It cannot be undone: the order counts. */
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "store.h"

static tea_engine *engine;
static tea_graph *graph;
static tally data[2] = {{.result = "{\"a\":1}"}, {.result = "{\"b\":1}"}};
static atomic_int slow_began, slow_ended;

static void nap(long milliseconds) {
  struct timespec time = {.tv_nsec = milliseconds * 1000000};
  nanosleep(&time, NULL);
}

static int32_t slow(void *user_data, tea_call *call) {
  (void)user_data;
  (void)call;
  slow_began = 1;
  nap(200);
  slow_ended = 1;
  return TEA_OK;
}

static void *run_slow(void *slow_graph) {
  tea_run *run = NULL;
  tea_buffer event = {0};
  bool fine = tea_run_new(slow_graph, NOTHING, &run, NULL) == TEA_OK && tea_run_next(run, &event, NULL) == TEA_OK;
  tea_buffer_free(&event);
  tea_run_free(run);
  return fine ? slow_graph : NULL;
}

/* From within a callback: its own thread is not waited for, other threads are. */
static int32_t shut(void *user_data, tea_call *call) {
  (void)user_data;
  CHECK(tea_shutdown() == TEA_OK);
  CHECK(slow_ended == 1);
  /* The running call may still answer. */
  return tea_call_return(call, str("{\"shut\":true}"), NULL);
}

static tea_run *begun;
static tea_cursor *cursor;
static store s;

static void the_last_callback_shuts_down(void) {
  const char *names[] = {"a", "b", NULL};
  engine = new_engine();
  graph = new_graph(engine, NULL);
  add_chain(graph, names, data);
  begun = new_run(graph, "{\"method\":\"stream\"}");
  EXPECT_EVENT(begun, "{\"type\":\"state\",\"node\":\"a\",\"state\":{\"a\":1}}");
  tea_host table = store_table(&s);
  OK(tea_engine_set_host(engine, &table, &err));
  OK(tea_cursor_new(graph, 0, store_new(&s, "s"), 0, -1, 0, &cursor, &err));

  tea_graph *slow_graph = new_graph(engine, NULL), *shutting = new_graph(engine, NULL);
  OK(tea_graph_add_node(slow_graph, str("slow"), slow, NULL, NULL, &err));
  OK(tea_graph_set_entry_point(slow_graph, str("slow"), &err));
  OK(tea_graph_set_finish_point(slow_graph, str("slow"), &err));
  OK(tea_graph_add_node(shutting, str("shut"), shut, NULL, NULL, &err));
  OK(tea_graph_set_entry_point(shutting, str("shut"), &err));
  OK(tea_graph_set_finish_point(shutting, str("shut"), &err));
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, run_slow, slow_graph) == 0);
  while (slow_began == 0) {
    nap(1);
  }
  EXPECT_LAST(shutting, NULL, "{\"type\":\"final\",\"state\":{\"shut\":true},\"output\":null}");
  void *result = NULL;
  pthread_join(thread, &result);
  CHECK(result == slow_graph);
  tea_graph_free(slow_graph);
  tea_graph_free(shutting);
}

static void twice_is_fine(void) { CHECK(tea_shutdown() == TEA_OK); }

static void no_function_is_called_any_more(void) {
  tea_buffer event = {0};
  EXPECT(tea_run_next(begun, &event, &err), TEA_ERR_SHUTDOWN, "libtea was shut down");
  EXPECT_EVENT(begun, NULL);
  tea_run *run = new_run(graph, NULL);
  EXPECT(tea_run_next(run, &event, &err), TEA_ERR_SHUTDOWN, "libtea was shut down");
  tea_run_free(run);
  CHECK(data[0].calls == 1 && data[1].calls == 0);
}

/* What needs no function still works. */
static void building_goes_on(void) {
  tea_graph *other = new_graph(engine, NULL);
  const char *names[] = {"x", NULL};
  add_chain(other, names, NULL);
  EXPECT_LAST(other, NULL, "{\"type\":\"final\",\"state\":{},\"output\":null}");
  tea_graph_free(other);
}

static void no_host_callback_is_called_any_more(void) {
  EXPECT(tea_cursor_step(cursor, TEA_ANSWER_START | TEA_FLAG_STOPS << 8, NULL, &err), TEA_ERR_SHUTDOWN, "shut down");
  CHECK(s.stops_asked == 0);
  tea_cursor_free(cursor);
}

static void freeing_destroys_nothing(void) {
  tally late = {0};
  EXPECT(tea_graph_add_node(graph, str("a"), tally_call, &late, tally_destroy, &err), TEA_ERR_BUILD, "exists");
  tea_run_free(begun);
  tea_graph_free(graph);
  tea_engine_free(engine);
  CHECK(data[0].destroyed == 0 && data[1].destroyed == 0 && late.destroyed == 0 && s.destroyed == 0);
}

int main(void) {
  RUN(the_last_callback_shuts_down);
  RUN(twice_is_fine);
  RUN(no_function_is_called_any_more);
  RUN(building_goes_on);
  RUN(no_host_callback_is_called_any_more);
  RUN(freeing_destroys_nothing);
  return finish();
}
