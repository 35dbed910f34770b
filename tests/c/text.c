/* Texts and buffers (tea_str, tea_buffer): ownership, U+0000, what is no UTF-8, what is no JSON. */
#include <stdlib.h>

#include "check.h"

static tea_engine *engine;

/* Runs one node over an input and hands out the event. */
static tea_status echo(tea_str options, tea_buffer *event, tea_error **err) {
  tea_graph *graph = new_graph(engine, NULL);
  const char *names[] = {"a", NULL};
  add_chain(graph, names, NULL);
  tea_run *run = NULL;
  tea_status status = tea_run_new(graph, options, &run, err);
  if (status == TEA_OK) {
    status = tea_run_next(run, event, err);
  }
  tea_run_free(run);
  tea_graph_free(graph);
  return status;
}

static void buffers_can_be_freed_twice(void) {
  tea_buffer buffer = {0};
  tea_buffer_free(NULL);
  tea_buffer_free(&buffer);
  OK(echo(str("{\"input\":{\"a\":1}}"), &buffer, &err));
  CHECK(buffer.ptr != NULL && buffer.len > 0 && buffer.cap > buffer.len);
  tea_buffer_free(&buffer);
  CHECK(buffer.ptr == NULL && buffer.len == 0 && buffer.cap == 0);
  tea_buffer_free(&buffer);
}

static void buffers_can_be_filled_again(void) {
  tea_buffer buffer = {0};
  OK(echo(str("{\"input\":{\"long\":\"0123456789012345678901234567890123456789\"}}"), &buffer, &err));
  OK(echo(str("{\"input\":{}}"), &buffer, &err));
  EXPECT_TEXT(&buffer, "{\"type\":\"final\",\"state\":{},\"output\":null}");
}

static void buffers_end_with_nul(void) {
  tea_buffer buffer = {0};
  OK(echo(NOTHING, &buffer, &err));
  CHECK(strlen((const char *)buffer.ptr) == buffer.len);
  tea_buffer_free(&buffer);
}

static void an_error_leaves_the_buffer_alone(void) {
  tea_buffer buffer = {0};
  OK(echo(NOTHING, &buffer, &err));
  const uint8_t *before = buffer.ptr;
  EXPECT(echo(str("{"), &buffer, &err), TEA_ERR_JSON, "line 1 column");
  CHECK(buffer.ptr == before);
  tea_buffer_free(&buffer);
}

static void an_empty_text_may_be_null(void) {
  tea_buffer buffer = {0};
  OK(echo((tea_str){NULL, 0}, &buffer, &err));
  OK(echo((tea_str){(const uint8_t *)"x", 0}, &buffer, &err));
  tea_buffer_free(&buffer);
  EXPECT(echo(WILD, &buffer, &err), TEA_ERR_NULL, "options is NULL");
}

static void nul_is_text(void) {
  tea_buffer buffer = {0};
  tea_graph *graph = new_graph(engine, NULL);
  OK(tea_graph_add_node(graph, bytes("a\0b", 3), NULL, NULL, NULL, &err));
  EXPECT(tea_graph_set_entry_point(graph, str("a"), &err), TEA_ERR_BUILD, "Node 'a' does not exist");
  OK(tea_graph_set_entry_point(graph, bytes("a\0b", 3), &err));
  OK(tea_graph_shape(graph, &buffer, &err));
  CHECK(strstr((const char *)buffer.ptr, "\"a\\u0000b\"") != NULL);
  tea_graph_free(graph);
  OK(echo(str("{\"input\":{\"k\\u0000\":\"\\u0000\"}}"), &buffer, &err));
  EXPECT_TEXT(&buffer, "{\"type\":\"final\",\"state\":{\"k\\u0000\":\"\\u0000\"},\"output\":null}");
}

static void what_is_not_utf8_is_refused(void) {
  tea_graph *graph = new_graph(engine, NULL);
  tally data = {0};
  EXPECT(tea_graph_add_node(graph, BROKEN, NULL, NULL, NULL, &err), TEA_ERR_UTF8, "name is not UTF-8: invalid byte at offset 0");
  EXPECT(tea_graph_add_node(graph, bytes("ab\xff", 3), tally_call, &data, tally_destroy, &err), TEA_ERR_UTF8, "offset 2");
  CHECK(data.destroyed == 1);
  EXPECT(tea_graph_add_node(graph, bytes("\xed\xa0\x80", 3), NULL, NULL, NULL, &err), TEA_ERR_UTF8, "offset 0");
  EXPECT(tea_graph_add_edge(graph, BROKEN, str("a"), &err), TEA_ERR_UTF8, "from");
  EXPECT(tea_graph_add_edge(graph, str("__start__"), BROKEN, &err), TEA_ERR_UTF8, "to");
  EXPECT(tea_graph_set_entry_point(graph, BROKEN, &err), TEA_ERR_UTF8, "name");
  EXPECT(tea_graph_set_finish_point(graph, BROKEN, &err), TEA_ERR_UTF8, "name");
  EXPECT(tea_graph_add_action_node(graph, BROKEN, str("x"), &err), TEA_ERR_UTF8, "name");
  EXPECT(tea_graph_add_action_node(graph, str("x"), BROKEN, &err), TEA_ERR_UTF8, "action");
  EXPECT(tea_graph_add_parallel_edge(graph, BROKEN, BROKEN, BROKEN, NOTHING, &err), TEA_ERR_UTF8, "from");
  EXPECT(tea_graph_intern(graph, BROKEN, str("x"), &err), TEA_ERR_UTF8, "key");
  EXPECT(tea_graph_intern(graph, str("x"), BROKEN, &err), TEA_ERR_UTF8, "label");
  tea_buffer buffer = {0};
  EXPECT(echo(BROKEN, &buffer, &err), TEA_ERR_JSON, "invalid JSON");
  EXPECT(echo(bytes("{\"input\":{\"a\":\"\xff\"}}", 18), &buffer, &err), TEA_ERR_JSON, "invalid");
  tea_buffer_free(&buffer);
  tea_graph_free(graph);
}

static void what_is_not_json_is_refused(void) {
  const char *bad[] = {"{", "}", "{\"input\":}", "{\"input\":{}} x", "{'input':{}}", "{\"input\":{\"a\":01}}", "nul",
                       "{\"input\":{\"a\":\"\\ud800\"}}", "{\"input\":{\"a\" 1}}", "{\"input\":{\"a\":1,}}", " "};
  tea_buffer buffer = {0};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    EXPECT(echo(str(bad[i]), &buffer, &err), TEA_ERR_JSON, "invalid JSON");
  }
  EXPECT(echo(str("[]"), &buffer, &err), TEA_ERR_JSON, "options are a JSON map");
  EXPECT(echo(str("{\"input\":[]}"), &buffer, &err), TEA_ERR_ARGUMENT, "option 'input': a map is expected, not list");
  EXPECT(echo(str("{\"imput\":{}}"), &buffer, &err), TEA_ERR_ARGUMENT, "unknown option 'imput'");
  CHECK(buffer.ptr == NULL);
}

static void deep_json_is_refused_not_a_crash(void) {
  size_t depth = 200000;
  char *deep = malloc(2 * depth + 32);
  size_t len = (size_t)sprintf(deep, "{\"input\":{\"a\":");
  memset(deep + len, '[', depth);
  memset(deep + len + depth, ']', depth);
  strcpy(deep + len + 2 * depth, "}}");
  tea_buffer buffer = {0};
  EXPECT(echo(str(deep), &buffer, &err), TEA_ERR_JSON, "nested deeper than");
  free(deep);
}

/* Numbers keep kind and digits; what JSON lacks travels under "$tea". */
static void values_come_back_as_they_went(void) {
  const char *values[] = {"0", "-1", "9223372036854775808", "-123456789012345678901234567890", "1.0", "-0.0", "1e+300",
                          "5e-324", "\"\"", "\"\\u0001é😀\\\"\\\\\"", "[]", "{}", "{\"z\":1,\"a\":[null,true,false]}",
                          "{\"$tea\":[\"f64\",\"nan\"]}", "{\"$tea\":[\"f64\",\"-inf\"]}",
                          "{\"$tea\":[\"date\",\"2024-02-29\"]}", "{\"$tea\":[\"bytes\",\"AP8=\"]}",
                          "{\"$tea\":[\"set\",[1,2]]}", "{\"$tea\":[\"tuple\",[1,\"x\"]]}",
                          "{\"$tea\":[\"map\",[[1,2],[null,3]]]}", "{\"$tea\":[\"esc\",{\"$tea\":1}]}",
                          "{\"$tea\":1,\"b\":2}", "{\"$tea\":[\"esc\",{\"$tea\":[\"esc\",{\"x\":1}]}]}"};
  for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
    char options[256], event[256];
    snprintf(options, sizeof options, "{\"input\":{\"v\":%s}}", values[i]);
    snprintf(event, sizeof event, "{\"type\":\"final\",\"state\":{\"v\":%s},\"output\":null}", values[i]);
    tea_buffer buffer = {0};
    OK(echo(str(options), &buffer, &err));
    EXPECT_TEXT(&buffer, event);
  }
}

static void bad_tags_are_refused(void) {
  const char *bad[] = {"{\"$tea\":1}", "{\"$tea\":[]}", "{\"$tea\":[\"nope\",1]}", "{\"$tea\":[\"date\",\"2024-13-01\"]}",
                       "{\"$tea\":[\"host\",7]}", "{\"$tea\":[\"set\",[[]]]}", "{\"$tea\":[\"map\",[[1]]]}",
                       "{\"$tea\":[\"bytes\",\"?\"]}", "{\"$tea\":[\"esc\",1]}", "{\"$tea\":[\"f64\",\"1\"]}"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    char options[256];
    snprintf(options, sizeof options, "{\"input\":{\"v\":%s}}", bad[i]);
    tea_buffer buffer = {0};
    EXPECT(echo(str(options), &buffer, &err), TEA_ERR_JSON, "$tea");
  }
}

int main(void) {
  engine = new_engine();
  RUN(buffers_can_be_freed_twice);
  RUN(buffers_can_be_filled_again);
  RUN(buffers_end_with_nul);
  RUN(an_error_leaves_the_buffer_alone);
  RUN(an_empty_text_may_be_null);
  RUN(nul_is_text);
  RUN(what_is_not_utf8_is_refused);
  RUN(what_is_not_json_is_refused);
  RUN(deep_json_is_refused_not_a_crash);
  RUN(values_come_back_as_they_went);
  RUN(bad_tags_are_refused);
  tea_engine_free(engine);
  return finish();
}
