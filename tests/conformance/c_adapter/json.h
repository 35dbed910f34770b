/* JSON values of the adapter: a tree that keeps numbers as text, so that integers keep their digits and floats
 * their point. Everything lives in one arena, which is emptied after each request.
 */
#ifndef ADAPTER_JSON_H
#define ADAPTER_JSON_H

#include <stdbool.h>
#include <stddef.h>

typedef enum json_kind {
  JSON_NULL,
  JSON_BOOL,
  /* `text` as in the JSON; also NaN, Infinity and -Infinity. */
  JSON_NUMBER,
  JSON_TEXT,
  JSON_LIST,
  JSON_MAP,
  /* A value of the library without a JSON form: `text` is its tag, `items[0]` its content. */
  JSON_TAGGED,
} json_kind;

typedef struct json json;
struct json {
  json_kind kind;
  bool flag;
  /* Text, number or tag; a NUL follows, and there may be others inside. */
  const char *text;
  size_t len;
  /* Elements of a list, or values of a map, whose keys are in `keys`. */
  json **items;
  json **keys;
  size_t count;
  size_t capacity;
};

/* A growing text on the heap; start with zeros, free `data`. */
typedef struct text {
  char *data;
  size_t len;
  size_t capacity;
} text;

/* Memory that lives until arena_reset; never NULL (the process ends when there is none). */
void *arena_alloc(size_t size);
void arena_reset(void);

void text_add(text *out, const char *data, size_t len);
void text_puts(text *out, const char *data);

json *json_null(void);
json *json_bool(bool flag);
/* Copies. */
json *json_text(const char *data, size_t len);
json *json_texts(const char *data);
json *json_number(const char *data, size_t len);
json *json_int(long long number);
json *json_list(void);
json *json_map(void);

void json_append(json *list, json *item);
/* Puts a value under a key; a key that is there keeps its place. */
void json_set(json *map, const json *key, json *value);
void json_put(json *map, const char *key, json *value);
/* NULL if there is none, or if it is no map. */
json *json_find(const json *map, const char *key, size_t len);
json *json_get(const json *map, const char *key);
bool json_is(const json *value, const char *data);

/* NULL if the text is not JSON; `*problem` says why. */
json *json_read(const char *data, size_t len, const char **problem);
/* The library's JSON: maps with the lone key "$tea" have their meaning. */
json *json_read_tea(const char *data, size_t len, const char **problem);

/* As JSON for the library. */
void json_write_tea(text *out, const json *value);
/* As JSON for the runner. */
void json_write_wire(text *out, const json *value);

/* Python's truth, equality and sum; json_plus and json_less fail with NULL and -1 for what does not go together. */
bool json_truth(const json *value);
bool json_equal(const json *a, const json *b);
int json_less(const json *a, const json *b);
json *json_plus(const json *a, const json *b);
json *json_repeat(const json *value, long long times);

#endif
