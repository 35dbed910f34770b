/* Graphs: building calls and what they refuse, shape, description by numbers, life cycle (SG-11, SG-16 to SG-25). */
#include "check.h"

static tea_engine *engine;

static void null_is_a_status(void) {
  tea_buffer buffer = {0};
  tea_graph *graph = NULL;
  tally data = {0};
  tea_graph_free(NULL);
  EXPECT(tea_graph_new(NULL, NOTHING, &graph, &err), TEA_ERR_NULL, "engine");
  EXPECT(tea_graph_new(engine, NOTHING, NULL, &err), TEA_ERR_NULL, "graph");
  EXPECT(tea_graph_configure(NULL, NOTHING, &err), TEA_ERR_NULL, "graph");
  EXPECT(tea_graph_add_node(NULL, str("a"), tally_call, &data, tally_destroy, &err), TEA_ERR_NULL, "graph");
  EXPECT(tea_graph_add_conditional_edges(NULL, str("a"), tally_call, &data, tally_destroy, str("[]"), &err), TEA_ERR_NULL, "graph");
  CHECK(data.destroyed == 2);
  EXPECT(tea_graph_add_action_node(NULL, str("a"), str("b"), &err), TEA_ERR_NULL, "graph");
  EXPECT(tea_graph_add_edge(NULL, str("a"), str("b"), &err), TEA_ERR_NULL, "graph");
  EXPECT(tea_graph_add_parallel_edge(NULL, str("a"), str("b"), str("c"), NOTHING, &err), TEA_ERR_NULL, "graph");
  EXPECT(tea_graph_set_entry_point(NULL, str("a"), &err), TEA_ERR_NULL, "graph");
  EXPECT(tea_graph_set_finish_point(NULL, str("a"), &err), TEA_ERR_NULL, "graph");
  EXPECT(tea_graph_compile(NULL, NOTHING, &err), TEA_ERR_NULL, "graph");
  EXPECT(tea_graph_shape(NULL, &buffer, &err), TEA_ERR_NULL, "graph");
  EXPECT(tea_graph_mermaid(NULL, NOTHING, &buffer, &err), TEA_ERR_NULL, "graph");
  EXPECT(tea_graph_intern(NULL, str("a"), str("a"), &err), TEA_ERR_NULL, "graph");
  EXPECT(tea_graph_describe(NULL, NULL, 0, &err), TEA_ERR_NULL, "graph");
  EXPECT(tea_graph_path_exists(NULL, 0, 1, &err), TEA_ERR_NULL, "graph");
  EXPECT(tea_graph_nodes_between(NULL, 0, 1, &buffer, &err), TEA_ERR_NULL, "graph");
  EXPECT(tea_graph_run_scoped(NULL, NOTHING, &buffer, &err), TEA_ERR_NULL, "graph");
  graph = new_graph(engine, NULL);
  EXPECT(tea_graph_shape(graph, NULL, &err), TEA_ERR_NULL, "buffer");
  EXPECT(tea_graph_mermaid(graph, NOTHING, NULL, &err), TEA_ERR_NULL, "buffer");
  EXPECT(tea_graph_nodes_between(graph, 0, 1, NULL, &err), TEA_ERR_NULL, "buffer");
  EXPECT(tea_graph_describe(graph, NULL, 3, &err), TEA_ERR_NULL, "words");
  EXPECT(tea_graph_add_node(graph, WILD, NULL, NULL, NULL, &err), TEA_ERR_NULL, "name");
  EXPECT(tea_graph_add_conditional_edges(graph, str("__start__"), NULL, &data, tally_destroy, str("[]"), &err), TEA_ERR_NULL, "function");
  CHECK(data.destroyed == 3);
  tea_graph_free(graph);
}

static void options_are_checked(void) {
  tea_graph *graph = NULL;
  EXPECT(tea_graph_new(engine, str("{\"raise_exceptions\":1}"), &graph, &err), TEA_ERR_ARGUMENT,
         "option 'raise_exceptions': true or false is expected, not int");
  EXPECT(tea_graph_new(engine, str("{\"step_limit\":0}"), &graph, &err), TEA_ERR_ARGUMENT, "a number above 0");
  EXPECT(tea_graph_new(engine, str("{\"nope\":0}"), &graph, &err), TEA_ERR_ARGUMENT, "known are raise_exceptions");
  EXPECT(tea_graph_new(engine, str("3"), &graph, &err), TEA_ERR_JSON, "options are a JSON map");
  CHECK(graph == NULL);
  graph = new_graph(engine, "{\"raise_exceptions\":null,\"step_limit\":null,\"log_state_values\":true}");
  EXPECT(tea_graph_compile(graph, str("{\"interrupt_before\":\"a\"}"), &err), TEA_ERR_ARGUMENT, "a list of names");
  EXPECT(tea_graph_compile(graph, str("{\"interrupt_after\":[1]}"), &err), TEA_ERR_ARGUMENT, "a list of names");
  EXPECT(tea_graph_compile(graph, str("{\"checkpointer\":\"disk\"}"), &err), TEA_ERR_ARGUMENT, "\"memory\" or null");
  EXPECT(tea_graph_compile(graph, str("{\"checkpoint_dir\":1}"), &err), TEA_ERR_ARGUMENT, "a path is expected");
  EXPECT(tea_graph_configure(graph, str("{\"interrupt_before\":[]}"), &err), TEA_ERR_ARGUMENT, "unknown option");
  tea_graph_free(graph);
}

/* SG-11, SG-18, SG-25 */
static void refused_building_changes_nothing(void) {
  tea_graph *graph = new_graph(engine, NULL);
  add_node(graph, "a", NULL);
  EXPECT(tea_graph_add_node(graph, str("a"), NULL, NULL, NULL, &err), TEA_ERR_BUILD, "Node 'a' already exists in the graph.");
  EXPECT(tea_graph_add_node(graph, str("__end__"), NULL, NULL, NULL, &err), TEA_ERR_BUILD, "Node '__end__' already exists");
  EXPECT(tea_graph_add_edge(graph, str("a"), str("x"), &err), TEA_ERR_BUILD, "Both nodes must exist in the graph.");
  EXPECT(tea_graph_set_entry_point(graph, str("x"), &err), TEA_ERR_BUILD, "Node 'x' does not exist");
  EXPECT(tea_graph_set_finish_point(graph, str("x"), &err), TEA_ERR_BUILD, "Node 'x' does not exist");
  EXPECT(tea_graph_add_parallel_edge(graph, str("a"), str("a"), str("x"), NOTHING, &err), TEA_ERR_BUILD, "All nodes must exist");
  EXPECT(tea_graph_add_parallel_edge(graph, str("a"), str("a"), str("a"), str("{\"timeout_seconds\":1}"), &err), TEA_ERR_ARGUMENT, "unknown option");
  EXPECT(tea_graph_compile(graph, str("{\"interrupt_before\":[\"x\"],\"checkpointer\":\"memory\"}"), &err), TEA_ERR_BUILD, "Interrupt node 'x'");
  EXPECT(tea_graph_compile(graph, str("{\"interrupt_before\":[\"a\"]}"), &err), TEA_ERR_BUILD, "A checkpointer is required");
  tea_buffer shape = {0};
  OK(tea_graph_shape(graph, &shape, &err));
  EXPECT_TEXT(&shape, "{\"nodes\":[\"__start__\",\"__end__\",\"a\"],\"edges\":[],\"interrupt_before\":[],"
                      "\"interrupt_after\":[],\"mermaid\":\"graph TD\\n    __start__((Start))\\n    __end__((End))\\n"
                      "    a[a]\"}");
  tea_graph_free(graph);
}

static void a_refused_function_is_destroyed_at_once(void) {
  tally data[7] = {{0}};
  tea_graph *graph = new_graph(engine, NULL);
  add_node(graph, "a", &data[0]);
  EXPECT(tea_graph_add_node(graph, str("a"), tally_call, &data[1], tally_destroy, &err), TEA_ERR_BUILD, "exists");
  EXPECT(tea_graph_add_conditional_edges(graph, str("x"), tally_call, &data[2], tally_destroy, str("[[1,\"a\"]]"), &err), TEA_ERR_BUILD, "Node 'x'");
  EXPECT(tea_graph_add_conditional_edges(graph, str("a"), tally_call, &data[3], tally_destroy, str("[[1,\"x\"]]"), &err), TEA_ERR_BUILD, "Target node 'x'");
  EXPECT(tea_graph_add_conditional_edges(graph, str("a"), tally_call, &data[4], tally_destroy, str("{\"a\":1}"), &err), TEA_ERR_JSON, "pairs");
  EXPECT(tea_graph_add_conditional_edges(graph, str("a"), tally_call, &data[5], tally_destroy, str("[[[],\"a\"]]"), &err), TEA_ERR_ARGUMENT, "a list cannot choose an edge");
  EXPECT(tea_graph_add_conditional_edges(graph, str("a"), tally_call, &data[6], tally_destroy, NOTHING, &err), TEA_ERR_JSON, "value");
  CHECK(data[0].destroyed == 0);
  for (int i = 1; i < 7; i++) {
    CHECK(data[i].destroyed == 1);
  }
  tea_graph_free(graph);
  for (int i = 0; i < 7; i++) {
    CHECK(data[i].destroyed == 1 && data[i].calls == 0);
  }
}

static void handles_are_freed_in_any_order(void) {
  /* Each order of engine (0), graph (1) and run (2). */
  const int orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
  for (int i = 0; i < 6; i++) {
    tally data = {.result = "{\"n\":1}"};
    tea_engine *own = new_engine();
    tea_graph *graph = new_graph(own, NULL);
    const char *names[] = {"a", NULL};
    add_chain(graph, names, &data);
    tea_run *run = new_run(graph, "{\"method\":\"stream\"}");
    for (int j = 0; j < 3; j++) {
      if (orders[i][j] == 0) {
        tea_engine_free(own);
      } else if (orders[i][j] == 1) {
        tea_graph_free(graph);
      } else {
        EXPECT_EVENT(run, "{\"type\":\"state\",\"node\":\"a\",\"state\":{\"n\":1}}");
        tea_run_free(run);
      }
    }
    CHECK(data.calls == 1 && data.destroyed == 1);
  }
}

/* SG-16, SG-17 */
static void shape_and_picture(void) {
  tally condition = {0};
  tea_graph *graph = new_graph(engine, NULL);
  add_node(graph, "a", NULL);
  add_node(graph, "b", NULL);
  OK(tea_graph_set_entry_point(graph, str("a"), &err));
  OK(tea_graph_add_conditional_edges(graph, str("a"), tally_call, &condition, tally_destroy,
                                     str("[[true,\"a\"],[false,\"b\"],[\"x\",\"b\"]]"), &err));
  OK(tea_graph_add_parallel_edge(graph, str("a"), str("__end__"), str("b"), NOTHING, &err));
  OK(tea_graph_set_finish_point(graph, str("b"), &err));
  OK(tea_graph_compile(graph, str("{\"interrupt_after\":[\"a\"],\"interrupt_before\":[\"b\"],\"checkpointer\":\"memory\"}"), &err));
  tea_buffer text = {0};
  OK(tea_graph_mermaid(graph, NOTHING, &text, &err));
  EXPECT_TEXT(&text, "graph TD\n    __start__((Start))\n    __end__((End))\n    a[a]\n    b[b]\n    __start__-->a\n"
                     "    a-->|true|a\n    a-->|false|b\n    a-->|parallel→b|__end__\n    b-->__end__");
  OK(tea_graph_shape(graph, &text, &err));
  CHECK(strstr((const char *)text.ptr, "{\"from\":\"a\",\"to\":\"__end__\",\"fan_in\":\"b\"}") != NULL);
  CHECK(strstr((const char *)text.ptr, "\"interrupt_before\":[\"b\"],\"interrupt_after\":[\"a\"]") != NULL);
  tea_buffer_free(&text);
  EXPECT(tea_graph_mermaid(graph, str("[[1]]"), &text, &err), TEA_ERR_JSON, "labels");
  EXPECT(tea_graph_mermaid(graph, str("[[-1,0,true,[]]]"), &text, &err), TEA_ERR_JSON, "labels");
  tea_graph_free(graph);
  CHECK(condition.destroyed == 1);
}

static void names_have_numbers(void) {
  tea_graph *graph = new_graph(engine, NULL);
  EXPECT(tea_graph_intern(graph, str("__start__"), str("x"), &err), 0, NULL);
  EXPECT(tea_graph_intern(graph, str("__end__"), str("x"), &err), 1, NULL);
  EXPECT(tea_graph_intern(graph, str("i:1"), str("1"), &err), 2, NULL);
  EXPECT(tea_graph_intern(graph, str("1"), str("1"), &err), 3, NULL);
  EXPECT(tea_graph_intern(graph, str("i:1"), str("other"), &err), 2, NULL);
  tea_graph_free(graph);
}

static void graphs_are_described_by_numbers(void) {
  tea_graph *graph = new_graph(engine, NULL);
  tea_buffer text = {0};
  int64_t a = tea_graph_intern(graph, str("a"), str("a"), NULL), b = tea_graph_intern(graph, str("b"), str("b"), NULL);
  const int64_t words[] = {0, -1, 1, a, -1, -1, 1, -1, 0, a, 7, 2, b, -1, 1, 1, 5, -1, b, -1, 1, 1, -1, -2};
  OK(tea_graph_describe(graph, words, sizeof words / sizeof *words, &err));
  OK(tea_graph_shape(graph, &text, &err));
  CHECK(strstr((const char *)text.ptr, "\"nodes\":[\"__start__\",\"__end__\",\"a\",\"b\"],\"edges\":[{\"from\":\"__start__\","
               "\"to\":\"a\"},{\"from\":\"a\",\"to\":\"b\",\"fan_in\":\"__end__\"},{\"from\":\"a\",\"to\":\"__end__\"},"
               "{\"from\":\"b\",\"to\":\"__end__\",\"fan_in\":null}]") != NULL);
  tea_buffer_free(&text);
  EXPECT(tea_graph_path_exists(graph, 0, (uint32_t)b, &err), 1, NULL);
  EXPECT(tea_graph_path_exists(graph, (uint32_t)b, 0, &err), 0, NULL);
  EXPECT(tea_graph_path_exists(graph, 99, 0, &err), TEA_ERR_UNKNOWN_ID, "99 is not the number of a node");
  EXPECT(tea_graph_path_exists(graph, 0, UINT32_MAX, &err), TEA_ERR_UNKNOWN_ID, "4294967295");
  OK(tea_graph_nodes_between(graph, 0, 1, &text, &err));
  EXPECT_TEXT(&text, "[0,2,3]");
  EXPECT(tea_graph_nodes_between(graph, 99, 0, &text, &err), TEA_ERR_UNKNOWN_ID, "99");
  tea_graph_free(graph);
}

static void bad_descriptions_change_nothing(void) {
  tea_graph *graph = new_graph(engine, NULL);
  add_node(graph, "keep", NULL);
  const int64_t cut[] = {0, -1}, short_edges[] = {0, -1, 2, 1, -1, -1}, unknown[] = {9, -1, 0}, negative[] = {-5, -1, 0},
                target[] = {0, -1, 1, 44, -1, -1}, join[] = {0, -1, 1, 1, -1, 77}, condition[] = {0, -1, 1, 1, -9, -1},
                count[] = {0, -1, -3}, huge[] = {0, -1, INT64_MAX}, function[] = {0, INT64_MAX, 0};
  EXPECT(tea_graph_describe(graph, cut, 2, &err), TEA_ERR_ARGUMENT, "ends in the middle");
  EXPECT(tea_graph_describe(graph, short_edges, 6, &err), TEA_ERR_ARGUMENT, "ends in the middle");
  EXPECT(tea_graph_describe(graph, unknown, 3, &err), TEA_ERR_UNKNOWN_ID, "9 is not");
  EXPECT(tea_graph_describe(graph, negative, 3, &err), TEA_ERR_UNKNOWN_ID, "-5 is not");
  EXPECT(tea_graph_describe(graph, target, 6, &err), TEA_ERR_UNKNOWN_ID, "44");
  EXPECT(tea_graph_describe(graph, join, 6, &err), TEA_ERR_UNKNOWN_ID, "77");
  EXPECT(tea_graph_describe(graph, condition, 6, &err), TEA_ERR_ARGUMENT, "-9 is not the number of a function");
  EXPECT(tea_graph_describe(graph, count, 3, &err), TEA_ERR_ARGUMENT, "-3 is not a number of edges");
  EXPECT(tea_graph_describe(graph, huge, 3, &err), TEA_ERR_ARGUMENT, "ends in the middle");
  EXPECT(tea_graph_describe(graph, function, 3, &err), TEA_ERR_ARGUMENT, "is not the number of a function");
  EXPECT(tea_graph_set_entry_point(graph, str("keep"), &err), TEA_OK, NULL);
  OK(tea_graph_describe(graph, NULL, 0, &err));
  EXPECT(tea_graph_set_entry_point(graph, str("keep"), &err), TEA_ERR_BUILD, "Node 'keep' does not exist");
  tea_graph_free(graph);
}

static void a_function_without_number_is_an_error_of_the_run(void) {
  tea_graph *graph = new_graph(engine, NULL);
  int64_t a = tea_graph_intern(graph, str("a"), str("a"), NULL);
  const int64_t words[] = {0, -1, 1, a, -1, -1, a, 3, 0};
  OK(tea_graph_describe(graph, words, 9, &err));
  tea_run *run = new_run(graph, NULL);
  tea_buffer event = {0};
  EXPECT(tea_run_next(run, &event, &err), TEA_ERR_UNKNOWN_ID, "3 is not the number of a function");
  EXPECT_EVENT(run, NULL);
  tea_run_free(run);
  tea_graph_free(graph);
}

/* The running graph, as its functions see it. */
static int32_t grow(void *user_data, tea_call *call) {
  tally *data = user_data;
  const tea_graph *graph = tea_call_graph(call);
  data->calls++;
  OK(tea_graph_add_node(graph, str("late"), tally_call, data, NULL, &err));
  OK(tea_graph_add_edge(graph, str("a"), str("late"), &err));
  OK(tea_graph_set_finish_point(graph, str("late"), &err));
  return TEA_OK;
}

/* SG-21 */
static void a_node_adds_the_node_that_follows_it(void) {
  tally data = {0};
  tea_graph *graph = new_graph(engine, NULL);
  OK(tea_graph_add_node(graph, str("a"), grow, &data, tally_destroy, &err));
  OK(tea_graph_set_entry_point(graph, str("a"), &err));
  EXPECT_LAST(graph, NULL, "{\"type\":\"final\",\"state\":{\"result\":null},\"output\":null}");
  CHECK(data.calls == 2);
  tea_graph_free(graph);
  CHECK(data.destroyed == 1);
}

/* SG-21: a run sees a change at its next step. */
static void the_caller_changes_the_graph_between_events(void) {
  tally data[3] = {{.result = "{\"a\":1}"}, {.result = "{\"b\":1}"}, {.result = "{\"c\":1}"}};
  const char *names[] = {"a", "b", NULL};
  tea_graph *graph = new_graph(engine, NULL);
  add_chain(graph, names, data);
  tea_run *run = new_run(graph, "{\"method\":\"stream\"}");
  EXPECT_EVENT(run, "{\"type\":\"state\",\"node\":\"a\",\"state\":{\"a\":1}}");
  add_node(graph, "c", &data[2]);
  tally jump = {.result = "\"c\""};
  OK(tea_graph_add_conditional_edges(graph, str("b"), tally_call, &jump, tally_destroy, str("[[\"c\",\"c\"],[\"e\",\"__end__\"]]"), &err));
  OK(tea_graph_set_finish_point(graph, str("c"), &err));
  EXPECT_EVENT(run, "{\"type\":\"state\",\"node\":\"b\",\"state\":{\"a\":1,\"b\":1}}");
  EXPECT_EVENT(run, "{\"type\":\"state\",\"node\":\"c\",\"state\":{\"a\":1,\"b\":1,\"c\":1}}");
  OK(tea_graph_configure(graph, str("{\"raise_exceptions\":true}"), &err));
  EXPECT_EVENT(run, "{\"type\":\"final\",\"state\":{\"a\":1,\"b\":1,\"c\":1}}");
  EXPECT_EVENT(run, NULL);
  tea_run_free(run);
  tea_graph_free(graph);
  CHECK(jump.destroyed == 1 && data[2].destroyed == 1);
}

int main(void) {
  engine = new_engine();
  RUN(null_is_a_status);
  RUN(options_are_checked);
  RUN(refused_building_changes_nothing);
  RUN(a_refused_function_is_destroyed_at_once);
  RUN(handles_are_freed_in_any_order);
  RUN(shape_and_picture);
  RUN(names_have_numbers);
  RUN(graphs_are_described_by_numbers);
  RUN(bad_descriptions_change_nothing);
  RUN(a_function_without_number_is_an_error_of_the_run);
  RUN(a_node_adds_the_node_that_follows_it);
  RUN(the_caller_changes_the_graph_between_events);
  tea_engine_free(engine);
  return finish();
}
