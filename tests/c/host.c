/* Host tables (tea_host): what the engine asks a host with live objects, and what a host may leave out. */
#include "store.h"

static store s;
static tea_engine *engine;
static tea_graph *graph;

static const int64_t CHAIN[] = {0, -1, 1, 2, -1, -1, 1, -1, 0, 2, 0, 1, 1, -1, -1};
/* a starts a branch at b (3), which joins at the end. */
static const int64_t FORK[] = {0, -1, 1, 2, -1, -1, 1, -1, 0, 2, 0, 1, 3, -1, 1, 3, 0, 1, 1, -1, -1};

static void begin(const tea_host *table, const int64_t *words, size_t n) {
  engine = new_engine();
  OK(tea_engine_set_host(engine, table, &err));
  graph = new_graph(engine, NULL);
  EXPECT(tea_graph_intern(graph, str("a"), str("a"), &err), 2, NULL);
  EXPECT(tea_graph_intern(graph, str("b"), str("b"), &err), 3, NULL);
  OK(tea_graph_describe(graph, words, n, &err));
}

static void end(void) {
  tea_graph_free(graph);
  tea_engine_free(engine);
}

static tea_host fresh(void) {
  memset(&s, 0, sizeof s);
  return store_table(&s);
}

static tea_cursor *start(void) {
  tea_cursor *cursor = NULL;
  OK(tea_cursor_new(graph, 0, store_new(&s, "state"), 5, -1, 0, &cursor, &err));
  return cursor;
}

static int64_t step(tea_cursor *cursor, int kind, int flags, uint64_t payload) {
  int64_t answer = (int64_t)kind | (int64_t)flags << 8 | (int64_t)payload * 65536;
  return tea_cursor_step(cursor, answer, NULL, NULL) & 0xff;
}

/* SG-91: records of a run, if their level is wanted. */
static void records(void) {
  tea_host table = fresh();
  begin(&table, CHAIN, 15);
  tea_cursor *cursor = start();
  int all = TEA_FLAG_INFO | TEA_FLAG_DEBUG | TEA_FLAG_VALUES;
  CHECK(step(cursor, TEA_ANSWER_START, all, 0) == TEA_ITEM_CALL);
  CHECK(step(cursor, TEA_ANSWER_DONE, all, 0) == TEA_ITEM_FINAL);
  tea_cursor_free(cursor);
  const char *wanted[] = {"10 Starting execution with state keys: ['k']\n", "10 Initial state: state\n", "10 Entering node: a\n",
                          "20 Node 'a' completed successfully\n", "20 Execution completed successfully\n",
                          "10 Final state: state\n"};
  for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
    CHECK(strstr(s.records, wanted[i]) != NULL);
  }
  s.records[0] = '\0';
  cursor = start();
  CHECK(step(cursor, TEA_ANSWER_START, TEA_FLAG_INFO, 0) == TEA_ITEM_CALL);
  CHECK(step(cursor, TEA_ANSWER_DONE, TEA_FLAG_INFO, 0) == TEA_ITEM_FINAL);
  CHECK(strstr(s.records, "10 ") == NULL && strstr(s.records, "state: ") == NULL);
  CHECK(strstr(s.records, "20 Node 'a' completed successfully\n") != NULL);
  tea_cursor_free(cursor);
  /* Payload 1 of the start: the records of the start, and nothing else. */
  s.records[0] = '\0';
  cursor = start();
  CHECK(step(cursor, TEA_ANSWER_START, all, 1) == TEA_ITEM_DONE);
  CHECK(strstr(s.records, "Starting execution") != NULL && strstr(s.records, "Entering") == NULL);
  tea_cursor_free(cursor);
  end();
}

static void a_table_may_be_empty(void) {
  tea_host table = {.size = sizeof table};
  begin(&table, CHAIN, 15);
  tea_cursor *cursor = start();
  int flags = TEA_FLAG_STOPS | TEA_FLAG_INFO;
  CHECK(step(cursor, TEA_ANSWER_START, flags, 0) == TEA_ITEM_CALL);
  CHECK(step(cursor, TEA_ANSWER_DONE, flags, 0) == TEA_ITEM_FINAL);
  tea_cursor_free(cursor);
  /* A question without an answer is an error. */
  cursor = start();
  EXPECT(tea_cursor_step(cursor, TEA_ANSWER_START | TEA_FLAG_DEBUG << 8, NULL, &err), TEA_ERR_HOST, "the host failed to answer: query");
  tea_cursor_free(cursor);
  end();
}

static void a_failing_callback_is_an_error(void) {
  tea_host table = fresh();
  begin(&table, CHAIN, 15);
  s.status = -1;
  tea_cursor *cursor = start();
  EXPECT(tea_cursor_step(cursor, TEA_ANSWER_START | TEA_FLAG_STOPS << 8, NULL, &err), TEA_ERR_HOST, "the host failed to answer: stops");
  s.status = 0;
  tea_cursor_free(cursor);
  end();
}

static int32_t nonsense(void *user_data, uint64_t object, uint32_t what, const tea_value *argument, tea_value *out) {
  (void)object;
  (void)what;
  (void)argument;
  *out = *(tea_value *)user_data;
  return TEA_OK;
}

/* What a callback writes is checked. */
static void bad_values_are_refused(void) {
  const tea_value bad[] = {{.tag = 99},
                           {.tag = TEA_VALUE_TEXT, .ptr = (const uint8_t *)"\xff", .len = 1},
                           {.tag = TEA_VALUE_TEXT, .ptr = NULL, .len = 1},
                           {.tag = TEA_VALUE_JSON, .ptr = (const uint8_t *)"{", .len = 1},
                           {.tag = TEA_VALUE_HOST, .bits = 0},
                           {.tag = TEA_VALUE_MISSING}};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    tea_value value = bad[i];
    tea_host table = {.size = sizeof table, .user_data = &value, .query = nonsense};
    begin(&table, CHAIN, 15);
    tea_cursor *cursor = start();
    EXPECT(tea_cursor_step(cursor, TEA_ANSWER_START | TEA_FLAG_DEBUG << 8, NULL, &err), TEA_ERR_HOST, NULL);
    tea_cursor_free(cursor);
    end();
  }
}

/* References that a run holds go back at the latest when it is freed. */
static void references_go_back(void) {
  tea_host table = fresh();
  begin(&table, FORK, 21);
  for (int i = 0; i < 3; i++) {
    tea_cursor *cursor = start(), *branch = NULL;
    uint64_t state = s.made;
    CHECK(step(cursor, TEA_ANSWER_START, 0, 0) == TEA_ITEM_CALL);
    CHECK(step(cursor, TEA_ANSWER_DONE, 0, 0) == TEA_ITEM_LAUNCH);
    uint64_t copy = store_new(&s, "copy");
    OK(tea_cursor_branch(cursor, copy, &branch, &err));
    CHECK(step(branch, TEA_ANSWER_START, 0, 0) == TEA_ITEM_CALL);
    CHECK(step(branch, TEA_ANSWER_DONE, 0, 0) == TEA_ITEM_OUTCOME);
    CHECK(step(branch, TEA_ANSWER_KEPT, 0, store_new(&s, "result")) == TEA_ITEM_DONE);
    tea_cursor_free(branch);
    if (i == 0) {
      CHECK(step(cursor, TEA_ANSWER_DONE, 0, 0) == TEA_ITEM_FINAL);
    } else if (i == 1) {
      /* The join fails for want of the host. */
      s.status = -1;
      EXPECT(tea_cursor_step(cursor, TEA_ANSWER_DONE, NULL, &err), TEA_ERR_HOST, "apply");
      s.status = 0;
    }
    tea_cursor_free(cursor);
    CHECK(s.released == i + 1);
    store_drop(&s, state);
    store_drop(&s, copy);
    CHECK(store_live(&s) == 0);
  }
  end();
  CHECK(s.destroyed == 1);
}

/* A replaced table serves the runs that began with it. */
static void tables_are_replaced_for_later_runs(void) {
  tea_host table = fresh();
  begin(&table, CHAIN, 15);
  tea_cursor *cursor = start();
  tea_host empty = {.size = sizeof empty};
  OK(tea_engine_set_host(engine, &empty, &err));
  CHECK(s.destroyed == 0);
  CHECK(step(cursor, TEA_ANSWER_START, TEA_FLAG_STOPS, 0) == TEA_ITEM_CALL);
  CHECK(s.stops_asked > 0);
  tea_cursor_free(cursor);
  CHECK(s.destroyed == 1);
  end();
}

int main(void) {
  RUN(records);
  RUN(a_table_may_be_empty);
  RUN(a_failing_callback_is_an_error);
  RUN(bad_values_are_refused);
  RUN(references_go_back);
  RUN(tables_are_replaced_for_later_runs);
  return finish();
}
