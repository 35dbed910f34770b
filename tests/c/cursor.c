/* Cursors (tea_cursor): a host with live objects drives the step machine by hand. */
#include <pthread.h>
#include <stdlib.h>

#include "store.h"

/* A graph of which the host holds the structure: __start__ (0), __end__ (1), then the names in order (2, 3, ...). */
typedef struct world {
  store s;
  tea_engine *engine;
  tea_graph *graph;
} world;

static const uint32_t A = 2, B = 3, C = 4;
enum { NONE = -1 };

static void begin(world *w, const int64_t *words, size_t n) {
  memset(w, 0, sizeof *w);
  w->engine = new_engine();
  tea_host table = store_table(&w->s);
  OK(tea_engine_set_host(w->engine, &table, &err));
  w->graph = new_graph(w->engine, NULL);
  const char *names[] = {"a", "b", "c", "d"};
  for (size_t i = 0; i < 4; i++) {
    EXPECT(tea_graph_intern(w->graph, str(names[i]), str(names[i]), &err), (int64_t)i + 2, NULL);
  }
  OK(tea_graph_describe(w->graph, words, n, &err));
}

static void end(world *w) {
  tea_graph_free(w->graph);
  tea_engine_free(w->engine);
  CHECK(w->s.destroyed == 1);
}

static tea_cursor *start(world *w, uint32_t stream, uint64_t state) {
  tea_cursor *cursor = NULL;
  OK(tea_cursor_new(w->graph, stream, state, 77, -1, 0, &cursor, &err));
  return cursor;
}

static int64_t answer(tea_answer_kind kind, int flags, int64_t payload) { return (int64_t)kind | flags << 8 | payload * 65536; }

/* One step whose item must be of this kind, with this number above it. */
static tea_item take(tea_cursor *cursor, int64_t given, tea_item_kind kind, int64_t number, int line) {
  tea_item item = {.node = 999};
  tea_error *error = NULL;
  int64_t got = tea_cursor_step(cursor, given, &item, &error);
  if (!check_that(got == ((int64_t)kind | number << 8) && error == NULL, __FILE__, line, "the item")) {
    tea_str message = tea_error_message(error);
    printf("      got kind %d number %lld, %d %lld is expected; %.*s\n", (int)(got & 0xff), (long long)(got >> 8), (int)kind,
           (long long)number, (int)message.len, (const char *)message.ptr);
  }
  tea_error_free(error);
  return item;
}
#define TAKE(cursor, given, kind, number) take((cursor), (given), (kind), (number), __LINE__)
#define START answer(TEA_ANSWER_START, 0, 0)
#define DONE answer(TEA_ANSWER_DONE, 0, 0)
#define KEPT(object) answer(TEA_ANSWER_KEPT, 0, (int64_t)(object))

static bool same(tea_str text, const char *expected) {
  return text.len == strlen(expected) && memcmp(text.ptr, expected, text.len) == 0;
}

static const int64_t CHAIN[] = {0, NONE, 1, 2, NONE, NONE, 1, NONE, 0, 2, 0, 1, 3, NONE, NONE, 3, 1, 1, 1, NONE, NONE};
#define WORDS(list) (list), sizeof(list) / sizeof *(list)

static void null_is_a_status(void) {
  world w;
  begin(&w, WORDS(CHAIN));
  tea_cursor *cursor = NULL;
  tea_item item;
  tea_cursor_free(NULL);
  EXPECT(tea_cursor_new(NULL, 0, 1, 0, -1, 0, &cursor, &err), TEA_ERR_NULL, "graph");
  EXPECT(tea_cursor_new(w.graph, 0, 1, 0, -1, 0, NULL, &err), TEA_ERR_NULL, "cursor");
  EXPECT(tea_cursor_new_scoped(NULL, 1, A, B, &cursor, &err), TEA_ERR_NULL, "graph");
  EXPECT(tea_cursor_new_scoped(w.graph, 1, A, B, NULL, &err), TEA_ERR_NULL, "cursor");
  EXPECT(tea_cursor_branch(NULL, 1, &cursor, &err), TEA_ERR_NULL, "cursor");
  EXPECT(tea_cursor_fail(NULL, 0, NOTHING, NOTHING, 0, &err), TEA_ERR_NULL, "cursor");
  EXPECT(tea_cursor_note(NULL, NOTHING, &err), TEA_ERR_NULL, "cursor");
  EXPECT(tea_cursor_wait(NULL, 0, &err), TEA_ERR_NULL, "cursor");
  EXPECT(tea_cursor_step(NULL, 0, &item, &err), TEA_ERR_NULL, "cursor");
  EXPECT(tea_cursor_new(w.graph, 0, 0, 0, -1, 0, &cursor, &err), TEA_ERR_UNKNOWN_ID, "0 is not the id");
  EXPECT(tea_cursor_new(w.graph, 0, 1, 0, 99, 0, &cursor, &err), TEA_ERR_UNKNOWN_ID, "99 is not the number of a node");
  CHECK(cursor == NULL);
  end(&w);
}

static void a_cursor_needs_a_host(void) {
  tea_engine *engine = new_engine();
  tea_graph *graph = new_graph(engine, NULL);
  tea_cursor *cursor = NULL;
  EXPECT(tea_cursor_new(graph, 0, 1, 0, -1, 0, &cursor, &err), TEA_ERR_ARGUMENT, "tea_engine_set_host");
  tea_graph_free(graph);
  tea_engine_free(engine);
}

/* SG-58, SG-61 */
static void a_chain_by_hand(void) {
  world w;
  begin(&w, WORDS(CHAIN));
  uint64_t state = store_new(&w.s, "s");
  tea_cursor *cursor = start(&w, 0, state);
  TAKE(cursor, START, TEA_ITEM_CALL, A);
  TAKE(cursor, DONE, TEA_ITEM_CALL, B);
  CHECK(TAKE(cursor, DONE, TEA_ITEM_FINAL, 0).flag == 1);
  TAKE(cursor, DONE, TEA_ITEM_DONE, 0);
  TAKE(cursor, DONE, TEA_ITEM_DONE, 0);
  tea_cursor_free(cursor);
  cursor = start(&w, 1, state);
  TAKE(cursor, START, TEA_ITEM_CALL, A);
  TAKE(cursor, DONE, TEA_ITEM_STATE, A);
  TAKE(cursor, DONE, TEA_ITEM_CALL, B);
  TAKE(cursor, DONE, TEA_ITEM_STATE, B);
  CHECK(TAKE(cursor, DONE, TEA_ITEM_FINAL, 0).flag == 0);
  TAKE(cursor, DONE, TEA_ITEM_DONE, 0);
  tea_cursor_free(cursor);
  CHECK(w.s.stops_asked == 0 && w.s.records[0] == '\0');
  end(&w);
}

static void details_may_be_left_out(void) {
  world w;
  begin(&w, WORDS(CHAIN));
  tea_cursor *cursor = start(&w, 0, store_new(&w.s, "s"));
  int64_t answers[] = {START, DONE, DONE, DONE};
  for (int i = 0; i < 4; i++) {
    CHECK(tea_cursor_step(cursor, answers[i], NULL, NULL) >= 0);
  }
  tea_cursor_free(cursor);
  end(&w);
}

/* A loop: a goes to a or to b by condition 5 (for edge a -> a) and 6 (a -> b). */
static const int64_t LOOP[] = {0, NONE, 1, 2, NONE, NONE, 1, NONE, 0, 2, 0, 2, 2, 5, NONE, 3, 6, NONE, 3, NONE, 1, 1, NONE, NONE};

/* SG-44, SG-46 */
static void conditions_by_hand(void) {
  world w;
  begin(&w, WORDS(LOOP));
  tea_cursor *cursor = start(&w, 0, store_new(&w.s, "s"));
  TAKE(cursor, START, TEA_ITEM_CALL, A);
  TAKE(cursor, DONE, TEA_ITEM_CONDITION, 5);
  TAKE(cursor, answer(TEA_ANSWER_TARGET, 0, A + 1), TEA_ITEM_CALL, A);
  TAKE(cursor, DONE, TEA_ITEM_CONDITION, 5);
  TAKE(cursor, answer(TEA_ANSWER_TARGET, 0, 0), TEA_ITEM_CONDITION, 6);
  OK(tea_cursor_note(cursor, str("'down'"), &err));
  TAKE(cursor, answer(TEA_ANSWER_TARGET, TEA_FLAG_DEBUG, B + 1), TEA_ITEM_FINAL, 0);
  CHECK(strstr(w.s.records, "10 Edge 'a' -> 'b': condition result = 'down'\n") != NULL);
  tea_cursor_free(cursor);
  /* Both lead nowhere: a dead end. */
  cursor = start(&w, 0, store_new(&w.s, "s"));
  TAKE(cursor, START, TEA_ITEM_CALL, A);
  TAKE(cursor, DONE, TEA_ITEM_CONDITION, 5);
  TAKE(cursor, answer(TEA_ANSWER_TARGET, 0, 0), TEA_ITEM_CONDITION, 6);
  tea_item item = TAKE(cursor, answer(TEA_ANSWER_TARGET, 0, 0), TEA_ITEM_ERROR, 0);
  CHECK(item.node == A && same(item.text, "No valid next node found from node 'a'") && item.reference == 0);
  TAKE(cursor, DONE, TEA_ITEM_DONE, 0);
  tea_cursor_free(cursor);
  end(&w);
}

/* SG-63 */
static void failures_by_hand(void) {
  world w;
  begin(&w, WORDS(LOOP));
  tea_cursor *cursor = start(&w, 0, store_new(&w.s, "s"));
  TAKE(cursor, START, TEA_ITEM_CALL, A);
  OK(tea_cursor_fail(cursor, 42, str("ValueError"), bytes("it\0broke", 8), 0, &err));
  tea_item item = TAKE(cursor, answer(TEA_ANSWER_FAILED, 0, 0), TEA_ITEM_ERROR, 0);
  CHECK(item.node == A && item.text.len == 8 && item.reference == 42 && item.result == 0);
  CHECK(item.raised.len == strlen("Error in node 'a': ") + 8);
  CHECK(strstr(w.s.records, "40 Error in node 'a': it") != NULL);
  TAKE(cursor, DONE, TEA_ITEM_DONE, 0);
  tea_cursor_free(cursor);
  /* SG-47: a condition's error is raised unchanged. */
  cursor = start(&w, 0, store_new(&w.s, "s"));
  TAKE(cursor, START, TEA_ITEM_CALL, A);
  TAKE(cursor, DONE, TEA_ITEM_CONDITION, 5);
  OK(tea_cursor_fail(cursor, 43, str("KeyError"), str("x"), 0, &err));
  CHECK(TAKE(cursor, answer(TEA_ANSWER_FAILED, 0, 0), TEA_ITEM_RAISE, 0).reference == 43);
  TAKE(cursor, DONE, TEA_ITEM_DONE, 0);
  EXPECT(tea_cursor_fail(cursor, 0, BROKEN, NOTHING, 0, &err), TEA_ERR_UTF8, "error_class");
  EXPECT(tea_cursor_fail(cursor, 0, NOTHING, BROKEN, 0, &err), TEA_ERR_UTF8, "message");
  EXPECT(tea_cursor_note(cursor, BROKEN, &err), TEA_ERR_UTF8, "text");
  tea_cursor_free(cursor);
  /* A response, and the record of its status. */
  cursor = start(&w, 0, store_new(&w.s, "s"));
  TAKE(cursor, START, TEA_ITEM_CALL, A);
  OK(tea_cursor_note(cursor, str("404"), &err));
  CHECK(TAKE(cursor, answer(TEA_ANSWER_RESPOND, TEA_FLAG_INFO, 0), TEA_ITEM_RESPONSE, 0).node == A);
  CHECK(strstr(w.s.records, "20 HTTP response from node 'a': status=404\n") != NULL);
  TAKE(cursor, DONE, TEA_ITEM_DONE, 0);
  tea_cursor_free(cursor);
  end(&w);
}

static void a_name_that_is_not_in_the_graph(void) {
  /* The edge of a leads to c, which has a number and is not in the graph. */
  static const int64_t words[] = {0, NONE, 1, 2, NONE, NONE, 1, NONE, 0, 2, 0, 1, 4, NONE, NONE};
  world w;
  begin(&w, WORDS(words));
  tea_cursor *cursor = start(&w, 0, store_new(&w.s, "s"));
  TAKE(cursor, START, TEA_ITEM_CALL, A);
  CHECK(TAKE(cursor, DONE, TEA_ITEM_UNKNOWN_NODE, 0).node == C);
  TAKE(cursor, DONE, TEA_ITEM_DONE, 0);
  tea_cursor_free(cursor);
  end(&w);
}

/* CP-14, CP-18, CP-27 */
static void interrupts_by_hand(void) {
  world w;
  begin(&w, WORDS(CHAIN));
  uint64_t state = store_new(&w.s, "s");
  w.s.stops[A] = 2;
  w.s.stops[B] = 1;
  tea_cursor *cursor = start(&w, 0, state);
  TAKE(cursor, answer(TEA_ANSWER_START, TEA_FLAG_STOPS, 0), TEA_ITEM_CALL, A);
  tea_item item = TAKE(cursor, answer(TEA_ANSWER_DONE, TEA_FLAG_STOPS, 0), TEA_ITEM_STORE, 0);
  CHECK(item.node == A && item.flag == 1 && w.s.run == 77);
  item = TAKE(cursor, answer(TEA_ANSWER_STORED, 0, 0), TEA_ITEM_INTERRUPT, 0);
  CHECK(item.node == A && item.flag == 1);
  TAKE(cursor, DONE, TEA_ITEM_DONE, 0);
  tea_cursor_free(cursor);
  /* On from there: a was interrupted after it, so it does not run again; b stops before. */
  OK(tea_cursor_new(w.graph, 0, state, 78, A, 2, &cursor, &err));
  item = TAKE(cursor, answer(TEA_ANSWER_START, TEA_FLAG_STOPS, 0), TEA_ITEM_STORE, 0);
  CHECK(item.node == B && item.flag == 0 && w.s.run == 78);
  TAKE(cursor, answer(TEA_ANSWER_STORED, TEA_FLAG_STOPS, 0), TEA_ITEM_INTERRUPT, 0);
  tea_cursor_free(cursor);
  OK(tea_cursor_new(w.graph, 0, state, 79, B, 1, &cursor, &err));
  TAKE(cursor, answer(TEA_ANSWER_START, TEA_FLAG_STOPS, 0), TEA_ITEM_CALL, B);
  CHECK(TAKE(cursor, answer(TEA_ANSWER_DONE, TEA_FLAG_STOPS, 0), TEA_ITEM_FINAL, 0).flag == 0);
  tea_cursor_free(cursor);
  end(&w);
}

/* SG-81 to SG-84 */
static void scopes_by_hand(void) {
  world w;
  begin(&w, WORDS(CHAIN));
  uint64_t state = store_new(&w.s, "s");
  tea_cursor *cursor = NULL;
  EXPECT(tea_cursor_new_scoped(w.graph, state, C, B, &cursor, &err), TEA_ERR_BUILD, "Entry point 'c' not found");
  EXPECT(tea_cursor_new_scoped(w.graph, state, A, 99, &cursor, &err), TEA_ERR_BUILD, "Exit point '?' not found");
  EXPECT(tea_cursor_new_scoped(w.graph, state, A, A, &cursor, &err), TEA_ERR_BUILD, "cannot be the same");
  EXPECT(tea_cursor_new_scoped(w.graph, 0, A, B, &cursor, &err), TEA_ERR_UNKNOWN_ID, "0 is not the id");
  CHECK(cursor == NULL);
  OK(tea_cursor_new_scoped(w.graph, state, A, B, &cursor, &err));
  TAKE(cursor, START, TEA_ITEM_CALL, A);
  TAKE(cursor, DONE, TEA_ITEM_DONE, 0);
  tea_cursor_free(cursor);
  end(&w);
}

/* The answer is refused, and the right one still fits. */
static void wrong_answers(void) {
  world w;
  begin(&w, WORDS(LOOP));
  tea_item item;
  tea_cursor *cursor = start(&w, 0, store_new(&w.s, "s")), *none = NULL;
  EXPECT(tea_cursor_step(cursor, DONE, &item, &err), TEA_ERR_ANSWER, "DONE does not fit: the start is expected");
  EXPECT(tea_cursor_step(cursor, answer(200, 0, 0), &item, &err), TEA_ERR_ARGUMENT, "200 is no kind of answer");
  EXPECT(tea_cursor_step(cursor, -1, &item, &err), TEA_ERR_ARGUMENT, "no kind of answer");
  EXPECT(tea_cursor_branch(cursor, 1, &none, &err), TEA_ERR_ANSWER, "a LAUNCH item");
  TAKE(cursor, START, TEA_ITEM_CALL, A);
  EXPECT(tea_cursor_step(cursor, answer(TEA_ANSWER_TARGET, 0, 0), &item, &err), TEA_ERR_ANSWER, "TARGET does not fit: the result of the node");
  EXPECT(tea_cursor_step(cursor, answer(TEA_ANSWER_STORED, 0, 0), &item, &err), TEA_ERR_ANSWER, "STORED");
  EXPECT(tea_cursor_step(cursor, START, &item, &err), TEA_ERR_ANSWER, "START");
  EXPECT(tea_cursor_step(cursor, KEPT(0), &item, &err), TEA_ERR_UNKNOWN_ID, "0 is not the id");
  EXPECT(tea_cursor_step(cursor, KEPT(-1), &item, &err), TEA_ERR_UNKNOWN_ID, "is not the id");
  TAKE(cursor, DONE, TEA_ITEM_CONDITION, 5);
  EXPECT(tea_cursor_step(cursor, DONE, &item, &err), TEA_ERR_ANSWER, "DONE");
  EXPECT(tea_cursor_step(cursor, answer(TEA_ANSWER_TARGET, 0, 1000), &item, &err), TEA_ERR_UNKNOWN_ID, "999 is not the number of a node");
  EXPECT(tea_cursor_step(cursor, answer(TEA_ANSWER_TARGET, 0, -1), &item, &err), TEA_ERR_UNKNOWN_ID, "-1 is not the number of a node");
  TAKE(cursor, answer(TEA_ANSWER_TARGET, 0, B + 1), TEA_ITEM_FINAL, 0);
  tea_cursor_free(cursor);
  w.s.stops[A] = 1;
  cursor = start(&w, 0, store_new(&w.s, "s"));
  TAKE(cursor, answer(TEA_ANSWER_START, TEA_FLAG_STOPS, 0), TEA_ITEM_STORE, 0);
  EXPECT(tea_cursor_step(cursor, DONE, &item, &err), TEA_ERR_ANSWER, "DONE does not fit: the id of the checkpoint");
  TAKE(cursor, answer(TEA_ANSWER_STORED, 0, 0), TEA_ITEM_INTERRUPT, 0);
  tea_cursor_free(cursor);
  end(&w);
}

/* Several calls in one step, for a host that asks for it. */
static void several_calls_in_one_step(void) {
  /* a -> b -> c, then condition 9 leads to the end or back to a. */
  static const int64_t words[] = {0, NONE, 1, 2, NONE, NONE, 1, NONE, 0, 2, 0, 1, 3, NONE, NONE,
                                  3, 0, 1, 4, NONE, NONE, 4, 0, 2, 1, 9, NONE, 2, 9, NONE};
  world w;
  begin(&w, WORDS(words));
  tea_cursor *cursor = start(&w, TEA_MODE_RUNS, store_new(&w.s, "s"));
  int64_t nodes[8] = {0}, first = 0;
  EXPECT(tea_cursor_nodes(cursor, nodes, 8, &err), TEA_ERR_ANSWER, "asked for no calls");
  int64_t got = tea_cursor_step(cursor, START, NULL, NULL);
  CHECK((got & 0xff) == TEA_ITEM_CALLS);
  first = got >> 8;
  EXPECT(tea_cursor_nodes(NULL, nodes, 8, &err), TEA_ERR_NULL, "cursor");
  EXPECT(tea_cursor_nodes(cursor, NULL, 8, &err), TEA_ERR_NULL, "nodes");
  EXPECT(tea_cursor_nodes(cursor, nodes, 1, &err), 5, NULL);
  CHECK(nodes[0] == A && nodes[1] == 0);
  EXPECT(tea_cursor_nodes(cursor, nodes, 8, &err), 5, NULL);
  CHECK(nodes[0] == A && nodes[1] == B && nodes[2] == C && nodes[3] == -1 - 9 && nodes[4] == 1);
  EXPECT(tea_cursor_step(cursor, DONE, NULL, &err), TEA_ERR_ANSWER, "how many functions were called");
  EXPECT(tea_cursor_step(cursor, answer(TEA_ANSWER_RAN, 0, 4), NULL, &err), TEA_ERR_ANSWER, "RAN");
  EXPECT(tea_cursor_step(cursor, answer(TEA_ANSWER_RAN, 0, 0), NULL, &err), TEA_ERR_ANSWER, "RAN");
  EXPECT(tea_cursor_step(cursor, answer(TEA_ANSWER_RAN, 0, -1), NULL, &err), TEA_ERR_ANSWER, NULL);
  /* All went well, and the condition leads back: the same nodes have the same number. */
  TAKE(cursor, answer(TEA_ANSWER_RAN_TO, 0, A + 1), TEA_ITEM_CALLS, first);
  /* The same when it was all done three times. */
  TAKE(cursor, answer(TEA_ANSWER_RAN_TO, 0, (A + 1) | 2 << 25), TEA_ITEM_CALLS, first);
  /* Something changed after the first one: on from there. */
  got = tea_cursor_step(cursor, answer(TEA_ANSWER_RAN, 0, 1), NULL, NULL);
  CHECK((got & 0xff) == TEA_ITEM_CALLS && got >> 8 != first);
  EXPECT(tea_cursor_nodes(cursor, nodes, 8, &err), 4, NULL);
  CHECK(nodes[0] == B && nodes[1] == C && nodes[2] == -1 - 9);
  OK(tea_cursor_fail(cursor, 6, str("ValueError"), str("no"), 0, &err));
  tea_item item = TAKE(cursor, answer(TEA_ANSWER_FAILED, 0, 1), TEA_ITEM_ERROR, 0);
  CHECK(item.node == C && item.reference == 6 && same(item.text, "no"));
  TAKE(cursor, DONE, TEA_ITEM_DONE, 0);
  tea_cursor_free(cursor);
  end(&w);
}

/* A cycle of nodes without functions gives the host a look at its signals now and then. */
static void an_endless_cycle_pauses(void) {
  static const int64_t words[] = {0, NONE, 1, 2, NONE, NONE, 1, NONE, 0, 2, NONE, 1, 2, NONE, NONE};
  world w;
  begin(&w, WORDS(words));
  tea_cursor *cursor = start(&w, 0, store_new(&w.s, "s"));
  TAKE(cursor, START, TEA_ITEM_PAUSE, 0);
  TAKE(cursor, DONE, TEA_ITEM_PAUSE, 0);
  OK(tea_graph_configure(w.graph, str("{\"step_limit\":10}"), &err));
  CHECK(same(TAKE(cursor, DONE, TEA_ITEM_ERROR, 0).text, "Step limit of 10 reached"));
  tea_cursor_free(cursor);
  end(&w);
}

static void results_are_checked(void) {
  world w;
  begin(&w, WORDS(CHAIN));
  tea_cursor *cursor = start(&w, 0, store_new(&w.s, "s"));
  EXPECT(tea_cursor_result(NULL, str("1"), &err), TEA_ERR_NULL, "cursor");
  EXPECT(tea_cursor_result(cursor, str("{"), &err), TEA_ERR_JSON, "line 1");
  EXPECT(tea_cursor_result(cursor, WILD, &err), TEA_ERR_NULL, "json");
  TAKE(cursor, START, TEA_ITEM_CALL, A);
  char json[64];
  snprintf(json, sizeof json, "{\"o\":{\"$tea\":[\"host\",%d]}}", (int)store_new(&w.s, "object"));
  OK(tea_cursor_result(cursor, str(json), &err));
  TAKE(cursor, answer(TEA_ANSWER_RESULT, 0, 0), TEA_ITEM_CALL, B);
  CHECK(strstr(store_text(&w.s, 1), "s|{\"o\":{\"$tea\":[\"host\",2]}}") != NULL);
  tea_cursor_free(cursor);
  CHECK(w.s.released == 1 && store_live(&w.s) == 1);
  end(&w);
}

/* --- branches --------------------------------------------------------------------------------------------- */

/* __start__ -> a, which starts branches at b and c; both join at d. */
static const uint32_t D = 5;
static const int64_t FORK[] = {0, NONE, 1, 2, NONE, NONE, 1, NONE, 0, 2, 0, 2, 3, NONE, 5, 4, NONE, 5,
                               3, 0, 1, 5, NONE, NONE, 4, 0, 1, 5, NONE, NONE, 5, 0, 1, 1, NONE, NONE};

static tea_cursor *launch(world *w, tea_cursor *cursor, int64_t given, uint32_t first) {
  tea_item item = TAKE(cursor, given, TEA_ITEM_LAUNCH, 0);
  CHECK(item.node == first && item.other == A);
  tea_cursor *branch = NULL;
  EXPECT(tea_cursor_branch(cursor, 0, &branch, &err), TEA_ERR_UNKNOWN_ID, "0 is not the id");
  EXPECT(tea_cursor_branch(cursor, 1, NULL, &err), TEA_ERR_NULL, "branch");
  OK(tea_cursor_branch(cursor, store_new(&w->s, "copy"), &branch, &err));
  return branch;
}

/* Drives a branch of one node to its end; the result is kept as an object of this text. */
static void drive(world *w, tea_cursor *branch, uint32_t node, const char *result) {
  TAKE(branch, START, TEA_ITEM_CALL, node);
  tea_item item = TAKE(branch, DONE, TEA_ITEM_OUTCOME, 0);
  CHECK(item.node == node && item.text.len == 0 && item.flag == 0 && item.milliseconds >= 0.0);
  EXPECT(tea_cursor_step(branch, DONE, &item, &err), TEA_ERR_ANSWER, "DONE does not fit: what the host keeps of the outcome");
  TAKE(branch, KEPT(store_new(&w->s, result)), TEA_ITEM_DONE, 0);
  tea_cursor_free(branch);
}

/* SG-68 to SG-79, in `invoke` */
static void branches_by_hand(void) {
  world w;
  begin(&w, WORDS(FORK));
  uint64_t state = store_new(&w.s, "state");
  tea_cursor *cursor = start(&w, 0, state);
  TAKE(cursor, START, TEA_ITEM_CALL, A);
  tea_cursor *b = launch(&w, cursor, DONE, B), *c = launch(&w, cursor, DONE, C);
  TAKE(cursor, DONE, TEA_ITEM_WAIT, 0);
  EXPECT(tea_cursor_wait(cursor, 0, &err), TEA_PENDING, NULL);
  drive(&w, c, C, "result of c");
  OK(tea_cursor_wait(cursor, 1000, &err));
  TAKE(cursor, DONE, TEA_ITEM_WAIT, 0);
  drive(&w, b, B, "result of b");
  /* The state gets the results in the order of the launches. */
  TAKE(cursor, DONE, TEA_ITEM_CALL, D);
  CHECK(strcmp(store_text(&w.s, state),
               "state|{\"parallel_results\":[{\"$tea\":[\"host\",5]},{\"$tea\":[\"host\",4]}]}") == 0);
  TAKE(cursor, DONE, TEA_ITEM_FINAL, 0);
  tea_cursor_free(cursor);
  /* The library has given its references back, the host's own three states remain. */
  CHECK(w.s.released == 2 && store_live(&w.s) == 3);
  end(&w);
}

/* In `stream`: the events of branches are kept by the host and come out of the main flow. */
static void branch_events_by_hand(void) {
  world w;
  begin(&w, WORDS(FORK));
  tea_item item;
  tea_cursor *cursor = start(&w, 1, store_new(&w.s, "state"));
  TAKE(cursor, START, TEA_ITEM_CALL, A);
  TAKE(cursor, DONE, TEA_ITEM_STATE, A);
  tea_cursor *b = launch(&w, cursor, DONE, B), *c = launch(&w, cursor, DONE, C);
  TAKE(b, START, TEA_ITEM_CALL, B);
  item = TAKE(b, DONE, TEA_ITEM_STATE, B);
  CHECK(item.node == B && item.other == B);
  EXPECT(tea_cursor_step(b, DONE, &item, &err), TEA_ERR_ANSWER, "DONE does not fit: what the host keeps of the event");
  uint64_t event = store_new(&w.s, "event of b");
  CHECK(TAKE(b, KEPT(event), TEA_ITEM_OUTCOME, 0).flag == 2);
  TAKE(b, KEPT(store_new(&w.s, "result of b")), TEA_ITEM_DONE, 0);
  /* The other branch fails. */
  TAKE(c, START, TEA_ITEM_CALL, C);
  OK(tea_cursor_fail(c, 9, str("ValueError"), str("no luck"), 0, &err));
  item = TAKE(c, answer(TEA_ANSWER_FAILED, 0, 0), TEA_ITEM_BRANCH_ERROR, 0);
  CHECK(item.node == C && same(item.text, "no luck"));
  uint64_t failure = store_new(&w.s, "failure of c");
  item = TAKE(c, KEPT(failure), TEA_ITEM_OUTCOME, 0);
  CHECK(same(item.text, "no luck") && item.raised.len > 0 && item.reference == 9);
  TAKE(c, KEPT(store_new(&w.s, "result of c")), TEA_ITEM_DONE, 0);
  CHECK(TAKE(cursor, DONE, TEA_ITEM_KEPT, 0).reference == event);
  CHECK(TAKE(cursor, DONE, TEA_ITEM_KEPT, 0).reference == failure);
  TAKE(cursor, DONE, TEA_ITEM_CALL, D);
  tea_cursor_free(b);
  tea_cursor_free(c);
  tea_cursor_free(cursor);
  end(&w);
}

/* A wrong answer after a failed branch must not turn it into a success. */
static void a_failed_branch_fails_an_invoked_run(void) {
  world w;
  begin(&w, WORDS(FORK));
  tea_item item;
  tea_cursor *cursor = start(&w, 0, store_new(&w.s, "state"));
  TAKE(cursor, START, TEA_ITEM_CALL, A);
  tea_cursor *b = launch(&w, cursor, DONE, B), *c = launch(&w, cursor, DONE, C);
  TAKE(b, START, TEA_ITEM_CALL, B);
  OK(tea_cursor_fail(b, 9, str("ValueError"), str("no luck"), 0, &err));
  item = TAKE(b, answer(TEA_ANSWER_FAILED, 0, 0), TEA_ITEM_OUTCOME, 0);
  CHECK(same(item.text, "no luck") && item.reference == 9);
  EXPECT(tea_cursor_step(b, DONE, &item, &err), TEA_ERR_ANSWER, "DONE");
  uint64_t result = store_new(&w.s, "result of b");
  TAKE(b, KEPT(result), TEA_ITEM_DONE, 0);
  tea_cursor_free(b);
  drive(&w, c, C, "result of c");
  item = TAKE(cursor, DONE, TEA_ITEM_ERROR, 0);
  CHECK(item.node == B && same(item.text, "no luck") && same(item.raised, "Error in node 'b': no luck"));
  CHECK(item.result == result);
  TAKE(cursor, DONE, TEA_ITEM_DONE, 0);
  tea_cursor_free(cursor);
  end(&w);
}

/* What is no ordinary error goes out of the run unchanged. */
static void a_fatal_failure_of_a_branch_is_raised(void) {
  world w;
  begin(&w, WORDS(FORK));
  tea_cursor *cursor = start(&w, 0, store_new(&w.s, "state"));
  TAKE(cursor, START, TEA_ITEM_CALL, A);
  tea_cursor *b = launch(&w, cursor, DONE, B), *c = launch(&w, cursor, DONE, C);
  TAKE(b, START, TEA_ITEM_CALL, B);
  OK(tea_cursor_fail(b, 11, str("KeyboardInterrupt"), NOTHING, 1, &err));
  TAKE(b, answer(TEA_ANSWER_FAILED, 0, 0), TEA_ITEM_DONE, 0);
  CHECK(TAKE(cursor, DONE, TEA_ITEM_RAISE, 0).reference == 11);
  tea_cursor_free(cursor);
  tea_cursor_free(b);
  tea_cursor_free(c);
  end(&w);
}

static void an_abandoned_branch_does_not_hang_the_join(void) {
  world w;
  begin(&w, WORDS(FORK));
  tea_cursor *cursor = start(&w, 0, store_new(&w.s, "state"));
  TAKE(cursor, START, TEA_ITEM_CALL, A);
  tea_cursor *b = launch(&w, cursor, DONE, B), *c = launch(&w, cursor, DONE, C);
  drive(&w, c, C, "result of c");
  TAKE(b, START, TEA_ITEM_CALL, B);
  tea_cursor_free(b);
  OK(tea_cursor_wait(cursor, 0, &err));
  tea_item item = TAKE(cursor, DONE, TEA_ITEM_ERROR, 0);
  CHECK(item.node == B && same(item.text, "the branch was abandoned before its end"));
  tea_cursor_free(cursor);
  end(&w);
}

/* Freed in any order: the branch before the run, the graph and the engine before both. */
static void branches_outlive_everything(void) {
  world w;
  begin(&w, WORDS(FORK));
  tea_cursor *cursor = start(&w, 0, store_new(&w.s, "state"));
  TAKE(cursor, START, TEA_ITEM_CALL, A);
  tea_cursor *b = launch(&w, cursor, DONE, B), *c = launch(&w, cursor, DONE, C);
  tea_cursor_free(cursor);
  tea_graph_free(w.graph);
  tea_engine_free(w.engine);
  CHECK(w.s.destroyed == 0);
  drive(&w, b, B, "result of b");
  CHECK(w.s.destroyed == 0);
  tea_cursor_free(c);
  CHECK(w.s.destroyed == 1);
}

static void *drive_on_a_thread(void *argument) {
  void **pair = argument;
  drive(pair[0], pair[1], B, "result of b");
  return NULL;
}

static void any_thread_may_drive_a_branch(void) {
  world w;
  begin(&w, WORDS(FORK));
  tea_cursor *cursor = start(&w, 0, store_new(&w.s, "state"));
  TAKE(cursor, START, TEA_ITEM_CALL, A);
  tea_cursor *b = launch(&w, cursor, DONE, B), *c = launch(&w, cursor, DONE, C);
  drive(&w, c, C, "result of c");
  TAKE(cursor, DONE, TEA_ITEM_WAIT, 0);
  void *pair[] = {&w, b};
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, drive_on_a_thread, pair) == 0);
  EXPECT(tea_cursor_wait(cursor, 60000, &err), TEA_OK, NULL);
  TAKE(cursor, DONE, TEA_ITEM_CALL, D);
  pthread_join(thread, NULL);
  tea_cursor_free(cursor);
  end(&w);
}

/* --- one thread at a time --------------------------------------------------------------------------------- */

static void *use_cursor(void *cursor) {
  tea_item item;
  tea_cursor *none = NULL;
  EXPECT(tea_cursor_step(cursor, DONE, &item, &err), TEA_ERR_BUSY, "in use");
  EXPECT(tea_cursor_note(cursor, NOTHING, &err), TEA_ERR_BUSY, "in use");
  EXPECT(tea_cursor_fail(cursor, 0, NOTHING, NOTHING, 0, &err), TEA_ERR_BUSY, "in use");
  EXPECT(tea_cursor_wait(cursor, 0, &err), TEA_ERR_BUSY, "in use");
  EXPECT(tea_cursor_branch(cursor, 1, &none, &err), TEA_ERR_BUSY, "in use");
  return NULL;
}

static void intrude(void *cursor) {
  use_cursor(cursor);
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, use_cursor, cursor) == 0);
  pthread_join(thread, NULL);
}

static void a_cursor_in_use_is_busy(void) {
  world w;
  begin(&w, WORDS(CHAIN));
  tea_cursor *cursor = start(&w, 0, store_new(&w.s, "s"));
  w.s.intrude = intrude;
  w.s.intruder = cursor;
  TAKE(cursor, answer(TEA_ANSWER_START, TEA_FLAG_STOPS, 0), TEA_ITEM_CALL, A);
  CHECK(w.s.stops_asked > 0);
  TAKE(cursor, DONE, TEA_ITEM_CALL, B);
  tea_cursor_free(cursor);
  end(&w);
}

int main(void) {
  RUN(null_is_a_status);
  RUN(a_cursor_needs_a_host);
  RUN(a_chain_by_hand);
  RUN(details_may_be_left_out);
  RUN(conditions_by_hand);
  RUN(failures_by_hand);
  RUN(a_name_that_is_not_in_the_graph);
  RUN(interrupts_by_hand);
  RUN(scopes_by_hand);
  RUN(wrong_answers);
  RUN(several_calls_in_one_step);
  RUN(an_endless_cycle_pauses);
  RUN(results_are_checked);
  RUN(branches_by_hand);
  RUN(branch_events_by_hand);
  RUN(a_failed_branch_fails_an_invoked_run);
  RUN(a_fatal_failure_of_a_branch_is_raised);
  RUN(an_abandoned_branch_does_not_hang_the_join);
  RUN(branches_outlive_everything);
  RUN(any_thread_may_drive_a_branch);
  RUN(a_cursor_in_use_is_busy);
  return finish();
}
