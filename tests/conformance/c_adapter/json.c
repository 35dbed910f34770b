#include "json.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- memory --------------------------------------------------------------------------------------------- */

typedef struct block block;
struct block {
  block *next;
  size_t used;
  size_t size;
  max_align_t data[];
};

static block *blocks;

static void *must(void *memory) {
  if (memory == NULL) {
    fputs("c adapter: out of memory\n", stderr);
    exit(3);
  }
  return memory;
}

void *arena_alloc(size_t size) {
  size = (size + sizeof(max_align_t) - 1) / sizeof(max_align_t) * sizeof(max_align_t);
  if (blocks == NULL || blocks->size - blocks->used < size) {
    size_t room = size > 65536 ? size : 65536;
    block *fresh = must(malloc(sizeof(block) + room));
    fresh->next = blocks;
    fresh->used = 0;
    fresh->size = room;
    blocks = fresh;
  }
  void *memory = (char *)blocks->data + blocks->used;
  blocks->used += size;
  return memory;
}

void arena_reset(void) {
  while (blocks != NULL) {
    block *next = blocks->next;
    free(blocks);
    blocks = next;
  }
}

void text_add(text *out, const char *data, size_t len) {
  if (out->capacity - out->len < len + 1) {
    size_t capacity = out->capacity * 2 > out->len + len + 1 ? out->capacity * 2 : out->len + len + 64;
    out->data = must(realloc(out->data, capacity));
    out->capacity = capacity;
  }
  if (len > 0) {
    memcpy(out->data + out->len, data, len);
  }
  out->len += len;
  out->data[out->len] = '\0';
}

void text_puts(text *out, const char *data) {
  text_add(out, data, strlen(data));
}

/* --- making --------------------------------------------------------------------------------------------- */

static json *make(json_kind kind) {
  json *value = arena_alloc(sizeof(json));
  memset(value, 0, sizeof(json));
  value->kind = kind;
  return value;
}

static json *with_text(json_kind kind, const char *data, size_t len) {
  json *value = make(kind);
  char *copy = arena_alloc(len + 1);
  if (len > 0) {
    memcpy(copy, data, len);
  }
  copy[len] = '\0';
  value->text = copy;
  value->len = len;
  return value;
}

json *json_null(void) { return make(JSON_NULL); }

json *json_bool(bool flag) {
  json *value = make(JSON_BOOL);
  value->flag = flag;
  return value;
}

json *json_text(const char *data, size_t len) { return with_text(JSON_TEXT, data, len); }

json *json_texts(const char *data) { return json_text(data, strlen(data)); }

json *json_number(const char *data, size_t len) { return with_text(JSON_NUMBER, data, len); }

json *json_int(long long number) {
  char digits[32];
  return json_number(digits, (size_t)snprintf(digits, sizeof digits, "%lld", number));
}

json *json_list(void) { return make(JSON_LIST); }

json *json_map(void) { return make(JSON_MAP); }

static json **grown(json **old, size_t count, size_t capacity) {
  json **items = arena_alloc(capacity * sizeof(json *));
  if (count > 0) {
    memcpy(items, old, count * sizeof(json *));
  }
  return items;
}

static void add(json *into, json *key, json *value) {
  if (into->count == into->capacity) {
    into->capacity = into->capacity ? into->capacity * 2 : 4;
    into->items = grown(into->items, into->count, into->capacity);
    if (into->kind == JSON_MAP) {
      into->keys = grown(into->keys, into->count, into->capacity);
    }
  }
  if (into->kind == JSON_MAP) {
    into->keys[into->count] = key;
  }
  into->items[into->count++] = value;
}

void json_append(json *list, json *item) { add(list, NULL, item); }

static bool same_text(const json *value, const char *data, size_t len) {
  return value->len == len && memcmp(value->text, data, len) == 0;
}

void json_set(json *map, const json *key, json *value) {
  for (size_t i = 0; i < map->count; i++) {
    if (same_text(map->keys[i], key->text, key->len)) {
      map->items[i] = value;
      return;
    }
  }
  add(map, json_text(key->text, key->len), value);
}

void json_put(json *map, const char *key, json *value) { json_set(map, json_texts(key), value); }

json *json_find(const json *map, const char *key, size_t len) {
  if (map == NULL || map->kind != JSON_MAP) {
    return NULL;
  }
  for (size_t i = 0; i < map->count; i++) {
    if (same_text(map->keys[i], key, len)) {
      return map->items[i];
    }
  }
  return NULL;
}

json *json_get(const json *map, const char *key) { return json_find(map, key, strlen(key)); }

bool json_is(const json *value, const char *data) {
  return value != NULL && value->kind == JSON_TEXT && same_text(value, data, strlen(data));
}

/* --- reading -------------------------------------------------------------------------------------------- */

typedef struct reader {
  const char *at;
  const char *end;
  const char *problem;
} reader;

static json *read_value(reader *in);

static void skip_blanks(reader *in) {
  while (in->at < in->end && strchr(" \t\r\n", *in->at) != NULL && *in->at != '\0') {
    in->at++;
  }
}

static bool take(reader *in, const char *word) {
  size_t len = strlen(word);
  if ((size_t)(in->end - in->at) < len || memcmp(in->at, word, len) != 0) {
    return false;
  }
  in->at += len;
  return true;
}

static json *broken(reader *in, const char *problem) {
  in->problem = problem;
  return NULL;
}

static int hex4(reader *in) {
  if (in->end - in->at < 4) {
    return -1;
  }
  int code = 0;
  for (int i = 0; i < 4; i++) {
    char c = *in->at++;
    int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
    if (digit < 0) {
      return -1;
    }
    code = code * 16 + digit;
  }
  return code;
}

static char *put_utf8(char *out, uint32_t code) {
  if (code < 0x80) {
    *out++ = (char)code;
  } else if (code < 0x800) {
    *out++ = (char)(0xC0 | code >> 6);
    *out++ = (char)(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    *out++ = (char)(0xE0 | code >> 12);
    *out++ = (char)(0x80 | (code >> 6 & 0x3F));
    *out++ = (char)(0x80 | (code & 0x3F));
  } else {
    *out++ = (char)(0xF0 | code >> 18);
    *out++ = (char)(0x80 | (code >> 12 & 0x3F));
    *out++ = (char)(0x80 | (code >> 6 & 0x3F));
    *out++ = (char)(0x80 | (code & 0x3F));
  }
  return out;
}

static json *read_text(reader *in) {
  in->at++;
  const char *close = in->at;
  while (close < in->end && *close != '"') {
    close += *close == '\\' && close + 1 < in->end ? 2 : 1;
  }
  if (close >= in->end) {
    return broken(in, "a text without its end");
  }
  /* No escape is shorter than what it stands for. */
  char *data = arena_alloc((size_t)(close - in->at) + 1), *out = data;
  while (in->at < close) {
    char c = *in->at++;
    if (c != '\\') {
      *out++ = c;
      continue;
    }
    c = *in->at++;
    const char *from = "\"\\/bfnrt", *to = "\"\\/\b\f\n\r\t", *found = strchr(from, c);
    if (c != '\0' && found != NULL) {
      *out++ = to[found - from];
    } else if (c == 'u') {
      int code = hex4(in);
      if (code >= 0xD800 && code < 0xDC00 && take(in, "\\u")) {
        int low = hex4(in);
        if (low < 0xDC00 || low > 0xDFFF) {
          return broken(in, "half a surrogate pair");
        }
        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
      }
      if (code < 0) {
        return broken(in, "a bad escape");
      }
      out = put_utf8(out, (uint32_t)code);
    } else {
      return broken(in, "a bad escape");
    }
  }
  *out = '\0';
  in->at = close + 1;
  json *value = make(JSON_TEXT);
  value->text = data;
  value->len = (size_t)(out - data);
  return value;
}

static json *read_members(reader *in, json *into, char close) {
  in->at++;
  skip_blanks(in);
  if (in->at < in->end && *in->at == close) {
    in->at++;
    return into;
  }
  for (;;) {
    json *key = NULL;
    if (into->kind == JSON_MAP) {
      skip_blanks(in);
      if (in->at >= in->end || *in->at != '"') {
        return broken(in, "a key is expected");
      }
      key = read_text(in);
      skip_blanks(in);
      if (key == NULL || !take(in, ":")) {
        return broken(in, "a colon is expected");
      }
    }
    json *value = read_value(in);
    if (value == NULL) {
      return NULL;
    }
    if (key != NULL) {
      json_set(into, key, value);
    } else {
      json_append(into, value);
    }
    skip_blanks(in);
    if (in->at < in->end && *in->at == close) {
      in->at++;
      return into;
    }
    if (!take(in, ",")) {
      return broken(in, "a comma or the end of a list or map is expected");
    }
  }
}

static json *read_value(reader *in) {
  skip_blanks(in);
  if (in->at >= in->end) {
    return broken(in, "a value is missing");
  }
  const char *start = in->at;
  switch (*in->at) {
  case '"':
    return read_text(in);
  case '[':
    return read_members(in, json_list(), ']');
  case '{':
    return read_members(in, json_map(), '}');
  default:
    break;
  }
  if (take(in, "null")) {
    return json_null();
  }
  if (take(in, "true") || take(in, "false")) {
    return json_bool(*start == 't');
  }
  if (take(in, "NaN") || take(in, "Infinity") || take(in, "-Infinity")) {
    return json_number(start, (size_t)(in->at - start));
  }
  while (in->at < in->end && *in->at != '\0' && strchr("+-.eE0123456789", *in->at) != NULL) {
    in->at++;
  }
  return in->at > start ? json_number(start, (size_t)(in->at - start)) : broken(in, "an unknown value");
}

json *json_read(const char *data, size_t len, const char **problem) {
  reader in = {data, data + len, NULL};
  json *value = read_value(&in);
  skip_blanks(&in);
  if (value != NULL && in.at != in.end) {
    value = broken(&in, "something follows the value");
  }
  *problem = in.problem;
  return value;
}

static json *untag(json *value) {
  json *tag = value->kind == JSON_MAP && value->count == 1 ? json_get(value, "$tea") : NULL;
  if (tag == NULL) {
    for (size_t i = 0; i < value->count; i++) {
      value->items[i] = untag(value->items[i]);
    }
    return value;
  }
  const json *name = tag->items[0];
  json *body = tag->items[1];
  if (json_is(name, "esc")) {
    /* The map itself is meant, the values in it are ordinary. */
    for (size_t i = 0; i < body->count; i++) {
      body->items[i] = untag(body->items[i]);
    }
    return body;
  }
  if (json_is(name, "int")) {
    return json_number(body->text, body->len);
  }
  if (json_is(name, "f64")) {
    const char *number = json_is(body, "nan") ? "NaN" : json_is(body, "inf") ? "Infinity" : "-Infinity";
    return json_number(number, strlen(number));
  }
  json *tagged = with_text(JSON_TAGGED, name->text, name->len);
  add(tagged, NULL, untag(body));
  return tagged;
}

json *json_read_tea(const char *data, size_t len, const char **problem) {
  json *value = json_read(data, len, problem);
  return value == NULL ? NULL : untag(value);
}

/* --- writing -------------------------------------------------------------------------------------------- */

static void write_text(text *out, const json *value) {
  text_puts(out, "\"");
  for (size_t i = 0; i < value->len; i++) {
    unsigned char c = (unsigned char)value->text[i];
    if (c == '"' || c == '\\') {
      text_puts(out, "\\");
    }
    if (c < 0x20) {
      char escape[8];
      text_add(out, escape, (size_t)snprintf(escape, sizeof escape, "\\u%04x", c));
    } else {
      text_add(out, &value->text[i], 1);
    }
  }
  text_puts(out, "\"");
}

/* What differs between the two forms: values without a JSON form. */
static void write_value(text *out, const json *value, bool wire);

static void write_members(text *out, const json *value, bool wire) {
  bool map = value->kind == JSON_MAP;
  text_puts(out, map ? "{" : "[");
  for (size_t i = 0; i < value->count; i++) {
    text_puts(out, i > 0 ? "," : "");
    if (map) {
      write_text(out, value->keys[i]);
      text_puts(out, ":");
    }
    write_value(out, value->items[i], wire);
  }
  text_puts(out, map ? "}" : "]");
}

static void write_number(text *out, const json *value, bool wire) {
  const char *name = strchr(value->text, 'N') ? "nan" : *value->text == 'I' ? "inf" : "-inf";
  if (strchr("NI", *value->text) == NULL && strchr(value->text, 'I') == NULL) {
    text_add(out, value->text, value->len);
    return;
  }
  text_puts(out, wire ? "{\"$float\":\"" : "{\"$tea\":[\"f64\",\"");
  text_puts(out, name);
  text_puts(out, wire ? "\"}" : "\"]}");
}

static void write_tagged(text *out, const json *value, bool wire) {
  if (wire && strcmp(value->text, "tuple") == 0) {
    write_members(out, value->items[0], wire);
    return;
  }
  text_puts(out, wire ? "{\"$" : "{\"$tea\":[\"");
  text_add(out, value->text, value->len);
  text_puts(out, wire ? "\":" : "\",");
  write_value(out, value->items[0], wire);
  text_puts(out, wire ? "}" : "]}");
}

static void write_value(text *out, const json *value, bool wire) {
  bool escape = !wire && value->kind == JSON_MAP && value->count == 1 && json_get(value, "$tea") != NULL;
  text_puts(out, escape ? "{\"$tea\":[\"esc\"," : "");
  switch (value->kind) {
  case JSON_NULL:
    text_puts(out, "null");
    break;
  case JSON_BOOL:
    text_puts(out, value->flag ? "true" : "false");
    break;
  case JSON_NUMBER:
    write_number(out, value, wire);
    break;
  case JSON_TEXT:
    write_text(out, value);
    break;
  case JSON_LIST:
  case JSON_MAP:
    write_members(out, value, wire);
    break;
  case JSON_TAGGED:
    write_tagged(out, value, wire);
    break;
  }
  text_puts(out, escape ? "]}" : "");
}

void json_write_tea(text *out, const json *value) { write_value(out, value, false); }

void json_write_wire(text *out, const json *value) { write_value(out, value, true); }
