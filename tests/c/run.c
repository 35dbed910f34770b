/* Runs (tea_run, tea_call): events, errors, misuse, re-entrancy, threads, fork (SG-28 to SG-67, SG-81 to SG-84). */
#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

static tea_engine *engine;

static void null_is_a_status(void) {
  tea_graph *graph = new_graph(engine, NULL);
  tea_run *run = NULL;
  tea_buffer event = {0};
  tea_run_free(NULL);
  EXPECT(tea_run_new(NULL, NOTHING, &run, &err), TEA_ERR_NULL, "graph");
  EXPECT(tea_run_new(graph, NOTHING, NULL, &err), TEA_ERR_NULL, "run");
  EXPECT(tea_run_new(graph, WILD, &run, &err), TEA_ERR_NULL, "options");
  EXPECT(tea_run_next(NULL, &event, &err), TEA_ERR_NULL, "run");
  EXPECT(tea_run_new(graph, str("{\"method\":\"walk\"}"), &run, &err), TEA_ERR_ARGUMENT, "option 'method' is");
  EXPECT(tea_run_new(graph, str("{\"method\":1}"), &run, &err), TEA_ERR_ARGUMENT, "option 'method' is");
  EXPECT(tea_run_new(graph, str("{\"config\":1}"), &run, &err), TEA_ERR_ARGUMENT, "option 'config'");
  EXPECT(tea_call_state(NULL, &event, &err), TEA_ERR_NULL, "call");
  EXPECT(tea_call_get(NULL, str("a"), &event, &err), TEA_ERR_NULL, "call");
  EXPECT(tea_call_config(NULL, &event, &err), TEA_ERR_NULL, "call");
  EXPECT(tea_call_return(NULL, str("1"), &err), TEA_ERR_NULL, "call");
  EXPECT(tea_call_fail(NULL, NOTHING, NOTHING, &err), TEA_ERR_NULL, "call");
  EXPECT(tea_call_respond(NULL, str("{}"), &err), TEA_ERR_NULL, "call");
  CHECK(tea_call_node(NULL).len == 0 && tea_call_graph(NULL) == NULL);
  tea_graph_free(graph);
}

static void a_null_buffer_loses_no_event(void) {
  tally data[1] = {{.result = "{\"a\":1}"}};
  const char *names[] = {"a", NULL};
  tea_graph *graph = new_graph(engine, NULL);
  add_chain(graph, names, data);
  tea_run *run = new_run(graph, NULL);
  EXPECT(tea_run_next(run, NULL, &err), TEA_ERR_NULL, "buffer");
  CHECK(data[0].calls == 0);
  EXPECT_EVENT(run, "{\"type\":\"final\",\"state\":{\"a\":1},\"output\":null}");
  tea_run_free(run);
  tea_graph_free(graph);
}

/* SG-28, SG-37, SG-38, SG-57 to SG-61 */
static void chains(void) {
  tally data[3] = {{.result = "{\"a\":1}"}, {0}, {.result = "[1,2]"}};
  const char *names[] = {"a", "b", "c", NULL};
  tea_graph *graph = new_graph(engine, NULL);
  add_chain(graph, names, data);
  tea_run *run = new_run(graph, "{\"method\":\"stream\",\"input\":{\"x\":0}}");
  CHECK(data[0].calls == 0);
  EXPECT_EVENT(run, "{\"type\":\"state\",\"node\":\"a\",\"state\":{\"x\":0,\"a\":1}}");
  CHECK(data[0].calls == 1 && data[1].calls == 0);
  EXPECT_EVENT(run, "{\"type\":\"state\",\"node\":\"b\",\"state\":{\"x\":0,\"a\":1,\"result\":null}}");
  EXPECT_EVENT(run, "{\"type\":\"state\",\"node\":\"c\",\"state\":{\"x\":0,\"a\":1,\"result\":[1,2]}}");
  EXPECT_EVENT(run, "{\"type\":\"final\",\"state\":{\"x\":0,\"a\":1,\"result\":[1,2]}}");
  EXPECT_EVENT(run, NULL);
  EXPECT_EVENT(run, NULL);
  tea_run_free(run);
  EXPECT_LAST(graph, "{\"method\":\"invoke\"}", "{\"type\":\"final\",\"state\":{\"a\":1,\"result\":[1,2]},\"output\":null}");
  tea_graph_free(graph);
}

/* Counts up, and answers whether to go on. */
static int32_t count_up(void *user_data, tea_call *call) {
  int *n = user_data;
  char json[32];
  snprintf(json, sizeof json, "{\"n\":%d}", ++*n);
  return tea_call_return(call, str(json), NULL);
}

static int32_t below_ten(void *user_data, tea_call *call) {
  (void)user_data;
  tea_buffer n = {0};
  OK(tea_call_get(call, str("n"), &n, &err));
  bool more = n.ptr != NULL && strtol((char *)n.ptr, NULL, 10) < 10;
  tea_buffer_free(&n);
  return tea_call_return(call, str(more ? "true" : "false"), NULL);
}

static tea_graph *looping(int *n, const char *options) {
  tea_graph *graph = new_graph(engine, options);
  OK(tea_graph_add_node(graph, str("work"), count_up, n, NULL, &err));
  OK(tea_graph_set_entry_point(graph, str("work"), &err));
  OK(tea_graph_add_conditional_edges(graph, str("work"), below_ten, NULL, NULL, str("[[true,\"work\"],[false,\"__end__\"]]"), &err));
  return graph;
}

/* SG-32, SG-44 */
static void loops(void) {
  int n = 0;
  tea_graph *graph = looping(&n, NULL);
  EXPECT_LAST(graph, NULL, "{\"type\":\"final\",\"state\":{\"n\":10},\"output\":null}");
  CHECK(n == 10);
  tea_graph_free(graph);
}

/* Q15 */
static void a_step_limit_ends_a_loop(void) {
  int n = 0;
  tea_graph *graph = looping(&n, "{\"step_limit\":4}");
  EXPECT_LAST(graph, NULL, "{\"type\":\"error\",\"node\":\"work\",\"error\":\"Step limit of 4 reached\",\"state\":{\"n\":4}}");
  OK(tea_graph_configure(graph, str("{\"raise_exceptions\":true,\"step_limit\":2}"), &err));
  n = 0;
  tea_run *run = new_run(graph, NULL);
  tea_buffer event = {0};
  EXPECT(tea_run_next(run, &event, &err), TEA_ERR_RUN, "Step limit of 2 reached");
  EXPECT_EVENT(run, NULL);
  tea_run_free(run);
  tea_graph_free(graph);
}

/* SG-44, SG-63 */
static void a_dead_end_is_an_error_event(void) {
  tally data[1] = {{0}}, condition = {.result = "\"z\""};
  tea_graph *graph = new_graph(engine, NULL);
  add_node(graph, "a", data);
  OK(tea_graph_set_entry_point(graph, str("a"), &err));
  OK(tea_graph_add_conditional_edges(graph, str("a"), tally_call, &condition, NULL, str("[[\"y\",\"a\"]]"), &err));
  EXPECT_LAST(graph, NULL, "{\"type\":\"error\",\"node\":\"a\",\"error\":\"No valid next node found from node 'a'\",\"state\":{\"result\":null}}");
  tea_graph_free(graph);
}

static void a_value_that_cannot_choose_ends_the_run(void) {
  tally condition = {.result = "[1]"};
  tea_graph *graph = new_graph(engine, NULL);
  OK(tea_graph_add_conditional_edges(graph, str("__start__"), tally_call, &condition, NULL, str("[[1,\"__end__\"]]"), &err));
  tea_run *run = new_run(graph, NULL);
  tea_buffer event = {0};
  EXPECT(tea_run_next(run, &event, &err), TEA_ERR_HOST, "a condition returned a list");
  EXPECT_EVENT(run, NULL);
  tea_run_free(run);
  tea_graph_free(graph);
}

/* SG-59, SG-63 to SG-65 */
static void failures_of_functions(void) {
  tally data[2] = {{.result = "{\"a\":1}"}, {.failure = "it broke"}};
  const char *names[] = {"a", "b", NULL};
  tea_graph *graph = new_graph(engine, NULL);
  add_chain(graph, names, data);
  EXPECT_LAST(graph, NULL, "{\"type\":\"error\",\"node\":\"b\",\"error\":\"it broke\",\"state\":{\"a\":1}}");
  OK(tea_graph_configure(graph, str("{\"raise_exceptions\":true}"), &err));
  tea_run *run = new_run(graph, "{\"method\":\"stream\"}");
  EXPECT_EVENT(run, "{\"type\":\"state\",\"node\":\"a\",\"state\":{\"a\":1}}");
  tea_buffer event = {0};
  EXPECT(tea_run_next(run, &event, &err), TEA_ERR_RUN, "Error in node 'b': it broke");
  EXPECT_EVENT(run, NULL);
  tea_run_free(run);
  tea_graph_free(graph);
}

static int32_t only_status(void *user_data, tea_call *call) {
  (void)user_data;
  (void)call;
  return -77;
}

static int32_t fail_but_return_ok(void *user_data, tea_call *call) {
  (void)user_data;
  tea_call_return(call, str("{\"x\":1}"), NULL);
  tea_call_fail(call, NOTHING, bytes("nul\0inside", 10), NULL);
  return TEA_OK;
}

static int32_t misuse_answers(void *user_data, tea_call *call) {
  tea_buffer out = {0};
  (void)user_data;
  EXPECT(tea_call_return(call, str("{"), &err), TEA_ERR_JSON, "line 1");
  EXPECT(tea_call_return(call, WILD, &err), TEA_ERR_NULL, "json");
  EXPECT(tea_call_return(call, str("{\"$tea\":[\"host\",1]}"), &err), TEA_ERR_JSON, "host objects");
  EXPECT(tea_call_fail(call, BROKEN, NOTHING, &err), TEA_ERR_UTF8, "error_class");
  EXPECT(tea_call_fail(call, NOTHING, BROKEN, &err), TEA_ERR_UTF8, "message");
  EXPECT(tea_call_respond(call, str("[]"), &err), TEA_ERR_JSON, "status, body and headers");
  EXPECT(tea_call_get(call, str("nope"), &out, &err), TEA_ERR_UNKNOWN_ID, "the state has no key 'nope'");
  EXPECT(tea_call_get(call, BROKEN, &out, &err), TEA_ERR_UTF8, "key");
  EXPECT(tea_call_get(call, str("k"), NULL, &err), TEA_ERR_NULL, "buffer");
  OK(tea_call_config(call, &out, &err));
  EXPECT_TEXT(&out, "{\"user\":\"ada\"}");
  CHECK(tea_call_node(call).len == 1 && *tea_call_node(call).ptr == 'a');
  return TEA_OK;
}

static void one_function(tea_function function, const char *options, const char *event) {
  tea_graph *graph = new_graph(engine, NULL);
  OK(tea_graph_add_node(graph, str("a"), function, NULL, NULL, &err));
  OK(tea_graph_set_entry_point(graph, str("a"), &err));
  OK(tea_graph_set_finish_point(graph, str("a"), &err));
  EXPECT_LAST(graph, options, event);
  tea_graph_free(graph);
}

static void answers_of_functions(void) {
  one_function(only_status, NULL, "{\"type\":\"error\",\"node\":\"a\",\"error\":\"the function of node 'a' failed with status -77\",\"state\":{}}");
  one_function(fail_but_return_ok, NULL, "{\"type\":\"error\",\"node\":\"a\",\"error\":\"nul\\u0000inside\",\"state\":{}}");
  one_function(misuse_answers, "{\"input\":{\"k\":1},\"config\":{\"user\":\"ada\"}}",
               "{\"type\":\"final\",\"state\":{\"k\":1,\"result\":null},\"output\":null}");
}

static int32_t respond(void *user_data, tea_call *call) {
  return tea_call_respond(call, str(user_data), NULL);
}

/* SG-66, SG-67 */
static void a_function_answers_for_the_run(void) {
  tea_graph *graph = new_graph(engine, "{\"raise_exceptions\":true}");
  OK(tea_graph_add_node(graph, str("a"), respond, "{}", NULL, &err));
  OK(tea_graph_add_node(graph, str("b"), respond, "{\"status\":404,\"body\":[1],\"headers\":{\"content-TYPE\":\"x\"}}", NULL, &err));
  tally condition = {.result = "\"a\""};
  OK(tea_graph_add_conditional_edges(graph, str("__start__"), tally_call, &condition, NULL, str("[[\"a\",\"a\"],[\"b\",\"b\"]]"), &err));
  EXPECT_LAST(graph, "{\"input\":{\"k\":1}}",
              "{\"type\":\"http_response\",\"node\":\"a\",\"status\":200,\"body\":null,\"headers\":{\"Content-Type\":\"application/json\"},\"state\":{\"k\":1}}");
  condition.result = "\"b\"";
  EXPECT_LAST(graph, NULL,
              "{\"type\":\"http_response\",\"node\":\"b\",\"status\":404,\"body\":[1],\"headers\":{\"content-TYPE\":\"x\"},\"state\":{}}");
  tea_graph_free(graph);
}

/* SG-47 */
static void a_failing_condition_is_raised(void) {
  tally condition = {.failure = "cannot decide"};
  tea_graph *graph = new_graph(engine, NULL);
  OK(tea_graph_add_conditional_edges(graph, str("__start__"), tally_call, &condition, NULL, str("[[1,\"__end__\"]]"), &err));
  tea_run *run = new_run(graph, NULL);
  tea_buffer event = {0};
  EXPECT(tea_run_next(run, &event, &err), TEA_ERR_HOST, "cannot decide");
  EXPECT_EVENT(run, NULL);
  tea_run_free(run);
  tea_graph_free(graph);
}

static void abandoned_runs_leave_nothing(void) {
  tally data[2] = {{.result = "{\"a\":1}"}, {0}};
  const char *names[] = {"a", "b", NULL};
  tea_graph *graph = new_graph(engine, NULL);
  add_chain(graph, names, data);
  tea_run_free(new_run(graph, NULL));
  CHECK(data[0].calls == 0);
  tea_run *run = new_run(graph, "{\"method\":\"stream\"}");
  EXPECT_EVENT(run, "{\"type\":\"state\",\"node\":\"a\",\"state\":{\"a\":1}}");
  tea_graph_free(graph);
  CHECK(data[0].destroyed == 0);
  tea_run_free(run);
  CHECK(data[0].destroyed == 1 && data[1].destroyed == 1 && data[1].calls == 0);
}

/* --- one thread at a time --------------------------------------------------------------------------------- */

static tea_run *busy_run;

static void *use_the_run(void *unused) {
  (void)unused;
  tea_buffer event = {0};
  EXPECT(tea_run_next(busy_run, &event, &err), TEA_ERR_BUSY, "in use");
  CHECK(event.ptr == NULL);
  return NULL;
}

static int32_t use_own_run(void *user_data, tea_call *call) {
  int *calls = user_data;
  (void)call;
  ++*calls;
  use_the_run(NULL);
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, use_the_run, NULL) == 0);
  pthread_join(thread, NULL);
  return TEA_OK;
}

static void a_run_in_use_is_busy(void) {
  int calls = 0;
  tea_graph *graph = new_graph(engine, NULL);
  OK(tea_graph_add_node(graph, str("a"), use_own_run, &calls, NULL, &err));
  OK(tea_graph_set_entry_point(graph, str("a"), &err));
  OK(tea_graph_set_finish_point(graph, str("a"), &err));
  busy_run = new_run(graph, NULL);
  EXPECT_EVENT(busy_run, "{\"type\":\"final\",\"state\":{\"result\":null},\"output\":null}");
  CHECK(calls == 1);
  tea_run_free(busy_run);
  tea_graph_free(graph);
}

/* Each event is asked for by another thread. */
static void *next_event(void *run) {
  tea_buffer event = {0};
  void *got = tea_run_next(run, &event, NULL) == TEA_OK ? run : NULL;
  tea_buffer_free(&event);
  return got;
}

static void a_run_may_wander_between_threads(void) {
  tally data[2] = {{0}, {0}};
  const char *names[] = {"a", "b", NULL};
  tea_graph *graph = new_graph(engine, NULL);
  add_chain(graph, names, data);
  tea_run *run = new_run(graph, "{\"method\":\"stream\"}");
  for (int i = 0; i < 3; i++) {
    pthread_t thread;
    void *got = NULL;
    CHECK(pthread_create(&thread, NULL, next_event, run) == 0);
    pthread_join(thread, &got);
    CHECK(got == run);
  }
  EXPECT_EVENT(run, NULL);
  tea_run_free(run);
  tea_graph_free(graph);
}

/* --- runs inside runs ------------------------------------------------------------------------------------- */

static const tea_graph *inner_graph;
static int deepest;

/* Runs a graph (its own, if there is no inner one) until the depth is reached. */
static int32_t dig(void *user_data, tea_call *call) {
  int *depth = user_data;
  const tea_graph *graph = inner_graph != NULL && *depth % 2 == 0 ? inner_graph : tea_call_graph(call);
  if (++*depth < 50) {
    tea_run *run = NULL;
    tea_buffer event = {0};
    tea_status status = tea_run_new(graph, NOTHING, &run, NULL);
    status = status == TEA_OK ? tea_run_next(run, &event, NULL) : status;
    CHECK(status == TEA_OK && strstr((const char *)event.ptr, "\"type\":\"final\"") != NULL);
    tea_buffer_free(&event);
    tea_run_free(run);
  }
  deepest = *depth > deepest ? *depth : deepest;
  return TEA_OK;
}

static tea_graph *digging(int *depth) {
  tea_graph *graph = new_graph(engine, NULL);
  OK(tea_graph_add_node(graph, str("dig"), dig, depth, NULL, &err));
  OK(tea_graph_set_entry_point(graph, str("dig"), &err));
  OK(tea_graph_set_finish_point(graph, str("dig"), &err));
  return graph;
}

/* SG-104 */
static void runs_nest_fifty_deep(void) {
  int depth = 0;
  deepest = 0;
  inner_graph = NULL;
  tea_graph *graph = digging(&depth), *other = digging(&depth);
  EXPECT_LAST(graph, NULL, "{\"type\":\"final\",\"state\":{\"result\":null},\"output\":null}");
  CHECK(deepest == 50);
  depth = deepest = 0;
  inner_graph = other;
  EXPECT_LAST(graph, NULL, "{\"type\":\"final\",\"state\":{\"result\":null},\"output\":null}");
  CHECK(deepest == 50);
  tea_graph_free(graph);
  tea_graph_free(other);
}

/* --- scoped runs, branches, fork -------------------------------------------------------------------------- */

/* SG-81 to SG-84 */
static void scoped_runs(void) {
  tally data[3] = {{.result = "{\"a\":1}"}, {.result = "{\"b\":1}"}, {.failure = "no"}};
  const char *names[] = {"a", "b", "c", NULL};
  tea_graph *graph = new_graph(engine, NULL);
  add_chain(graph, names, data);
  tea_buffer state = {0};
  OK(tea_graph_run_scoped(graph, str("{\"entry\":\"a\",\"exit\":\"c\",\"input\":{\"k\":0}}"), &state, &err));
  EXPECT_TEXT(&state, "{\"k\":0,\"a\":1,\"b\":1}");
  OK(tea_graph_run_scoped(graph, str("{\"entry\":\"c\",\"exit\":\"__end__\"}"), &state, &err));
  EXPECT_TEXT(&state, "{\"_scoped_error\":{\"node\":\"c\",\"error\":\"no\"}}");
  EXPECT(tea_graph_run_scoped(graph, str("{\"entry\":\"a\",\"exit\":\"c\"}"), NULL, &err), TEA_ERR_NULL, "buffer");
  CHECK(data[0].calls == 1);
  EXPECT(tea_graph_run_scoped(graph, str("{\"entry\":\"a\"}"), &state, &err), TEA_ERR_ARGUMENT, "option 'exit' is the name of a node");
  EXPECT(tea_graph_run_scoped(graph, str("{\"entry\":\"x\",\"exit\":\"c\"}"), &state, &err), TEA_ERR_BUILD, "Entry point 'x' not found in graph");
  EXPECT(tea_graph_run_scoped(graph, str("{\"entry\":\"a\",\"exit\":\"x\"}"), &state, &err), TEA_ERR_BUILD, "Exit point 'x' not found in graph");
  EXPECT(tea_graph_run_scoped(graph, str("{\"entry\":\"a\",\"exit\":\"a\"}"), &state, &err), TEA_ERR_BUILD, "cannot be the same: 'a'");
  EXPECT(tea_graph_run_scoped(graph, str("{\"entry\":\"c\",\"exit\":\"a\"}"), &state, &err), TEA_ERR_BUILD, "No execution path from 'c' to 'a'");
  OK(tea_graph_configure(graph, str("{\"raise_exceptions\":true}"), &err));
  EXPECT(tea_graph_run_scoped(graph, str("{\"entry\":\"c\",\"exit\":\"__end__\"}"), &state, &err), TEA_ERR_RUN, "Error in node 'c': no");
  tea_graph_free(graph);
}

/* SG-68 to SG-79 */
static void branches_join(void) {
  tally data[3] = {{.result = "{\"x\":\"a\"}"}, {.result = "{\"x\":\"b\"}"}, {.result = "{\"joined\":true}"}};
  tea_graph *graph = new_graph(engine, NULL);
  add_node(graph, "s", NULL);
  add_node(graph, "a", &data[0]);
  add_node(graph, "b", &data[1]);
  add_node(graph, "j", &data[2]);
  OK(tea_graph_set_entry_point(graph, str("s"), &err));
  OK(tea_graph_add_parallel_edge(graph, str("s"), str("a"), str("j"), NOTHING, &err));
  OK(tea_graph_add_parallel_edge(graph, str("s"), str("b"), str("j"), NOTHING, &err));
  OK(tea_graph_add_edge(graph, str("a"), str("j"), &err));
  OK(tea_graph_add_edge(graph, str("b"), str("j"), &err));
  OK(tea_graph_set_finish_point(graph, str("j"), &err));
  tea_run *run = new_run(graph, "{\"method\":\"stream\",\"input\":{\"k\":0}}");
  EXPECT_EVENT(run, "{\"type\":\"parallel_state\",\"branch\":\"a\",\"node\":\"a\",\"state\":{\"k\":0,\"x\":\"a\"}}");
  EXPECT_EVENT(run, "{\"type\":\"parallel_state\",\"branch\":\"b\",\"node\":\"b\",\"state\":{\"k\":0,\"x\":\"b\"}}");
  EXPECT_EVENT(run, "{\"type\":\"state\",\"node\":\"j\",\"state\":{\"k\":0,\"parallel_results\":[{\"k\":0,\"x\":\"a\"},"
                    "{\"k\":0,\"x\":\"b\"}],\"joined\":true}}");
  tea_run_free(run);
  run = new_run(graph, NULL);
  tea_buffer event = {0};
  OK(tea_run_next(run, &event, &err));
  CHECK(strstr((const char *)event.ptr, "{\"branch\":\"b\",\"success\":true,\"state\":{\"x\":\"b\"},\"error\":null") != NULL);
  tea_buffer_free(&event);
  tea_run_free(run);
  /* A branch that is abandoned with its run. */
  run = new_run(graph, "{\"method\":\"stream\"}");
  EXPECT_EVENT(run, "{\"type\":\"parallel_state\",\"branch\":\"a\",\"node\":\"a\",\"state\":{\"x\":\"a\"}}");
  tea_run_free(run);
  tea_graph_free(graph);
}

/* A run begun before the fork goes on in the child, and a new one starts there. */
static void a_forked_child_runs(void) {
  tally data[2] = {{.result = "{\"a\":1}"}, {.result = "{\"b\":1}"}};
  const char *names[] = {"a", "b", NULL};
  tea_graph *graph = new_graph(engine, NULL);
  add_chain(graph, names, data);
  tea_run *run = new_run(graph, "{\"method\":\"stream\"}");
  EXPECT_EVENT(run, "{\"type\":\"state\",\"node\":\"a\",\"state\":{\"a\":1}}");
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    tea_buffer event = {0};
    bool fine = tea_run_next(run, &event, NULL) == TEA_OK && strstr((char *)event.ptr, "\"node\":\"b\"") != NULL;
    tea_run *fresh = NULL;
    fine = fine && tea_run_new(graph, NOTHING, &fresh, NULL) == TEA_OK && tea_run_next(fresh, &event, NULL) == TEA_OK;
    tea_buffer_free(&event);
    tea_run_free(fresh);
    tea_run_free(run);
    tea_graph_free(graph);
    tea_engine_free(engine);
    _exit(fine ? 0 : 1);
  }
  int status = -1;
  CHECK(child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
  EXPECT_EVENT(run, "{\"type\":\"state\",\"node\":\"b\",\"state\":{\"a\":1,\"b\":1}}");
  tea_run_free(run);
  tea_graph_free(graph);
}

int main(void) {
  engine = new_engine();
  RUN(null_is_a_status);
  RUN(a_null_buffer_loses_no_event);
  RUN(chains);
  RUN(loops);
  RUN(a_step_limit_ends_a_loop);
  RUN(a_dead_end_is_an_error_event);
  RUN(a_value_that_cannot_choose_ends_the_run);
  RUN(failures_of_functions);
  RUN(answers_of_functions);
  RUN(a_function_answers_for_the_run);
  RUN(a_failing_condition_is_raised);
  RUN(abandoned_runs_leave_nothing);
  RUN(a_run_in_use_is_busy);
  RUN(a_run_may_wander_between_threads);
  RUN(runs_nest_fifty_deep);
  RUN(scoped_runs);
  RUN(branches_join);
  RUN(a_forked_child_runs);
  tea_engine_free(engine);
  return finish();
}
