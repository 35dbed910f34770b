#include "store.h"

uint64_t store_new(store *s, const char *text) {
  uint64_t object = ++s->made;
  CHECK(object < OBJECTS);
  s->objects[object].references = 1;
  snprintf(s->objects[object].text, sizeof s->objects[object].text, "%s", text);
  return object;
}

void store_drop(store *s, uint64_t object) {
  if (CHECK(object > 0 && object < OBJECTS && s->objects[object].references > 0)) {
    s->objects[object].references--;
  }
}

const char *store_text(store *s, uint64_t object) {
  return CHECK(object > 0 && object < OBJECTS) ? s->objects[object].text : "";
}

int store_live(const store *s) {
  int live = 0;
  for (int i = 0; i < OBJECTS; i++) {
    live += s->objects[i].references > 0;
  }
  return live;
}

static void store_destroy(void *user_data) { ((store *)user_data)->destroyed++; }

static int32_t store_query(void *user_data, uint64_t object, uint32_t what, const tea_value *argument, tea_value *out) {
  store *s = user_data;
  CHECK(argument == NULL);
  const char *text = what == TEA_QUERY_KEYS_REPR ? "['k']" : what == TEA_QUERY_REPR ? store_text(s, object) : "Fake";
  out->tag = TEA_VALUE_TEXT;
  out->ptr = (const uint8_t *)text;
  out->len = strlen(text);
  return s->status;
}

static int32_t store_apply(void *user_data, uint64_t state, tea_str delta) {
  store *s = user_data;
  CHECK(s->objects[state].references > 0);
  char *text = s->objects[state].text;
  size_t len = strlen(text);
  snprintf(text + len, sizeof s->objects[state].text - len, "|%.*s", (int)delta.len, (const char *)delta.ptr);
  return s->status;
}

static int32_t store_stops(void *user_data, uint64_t run, uint32_t node, uint32_t after, uint32_t *out) {
  store *s = user_data;
  s->stops_asked++;
  s->run = run;
  if (s->intrude != NULL) {
    s->intrude(s->intruder);
  }
  *out = CHECK(node < NODES) ? (uint32_t)(s->stops[node] >> after & 1) : 0;
  return s->status;
}

static void store_log(void *user_data, int32_t level, tea_str target, tea_str text) {
  store *s = user_data;
  CHECK(target.len == strlen("the_edge_agent.stategraph"));
  size_t len = strlen(s->records);
  snprintf(s->records + len, sizeof s->records - len, "%d %.*s\n", (int)level, (int)text.len, (const char *)text.ptr);
}

static void store_release(void *user_data, const uint64_t *objects, size_t n) {
  store *s = user_data;
  for (size_t i = 0; i < n; i++) {
    s->released++;
    store_drop(s, objects[i]);
  }
}

tea_host store_table(store *s) {
  tea_host table = {.size = sizeof table,
                    .user_data = s,
                    .destroy = store_destroy,
                    .query = store_query,
                    .apply = store_apply,
                    .stops = store_stops,
                    .log = store_log,
                    .release = store_release};
  return table;
}
