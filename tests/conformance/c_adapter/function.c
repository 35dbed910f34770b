/* The language of the functions of a case (README of the conformance suite, "Functions"). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "world.h"

/* One call of a function. */
typedef struct call {
  world *w;
  tea_call *tea;
  json *update;
  /* The whole state, once it was asked for. */
  json *state;
  json *config;
  /* Set when the function failed. */
  failure failed;
  bool answered;
} call;

static json *value_of(call *c, const json *item);
static json *perform(call *c, const json *ops, size_t from);

static json *fail(call *c, const char *type, const char *message) {
  if (c->failed.type == NULL) {
    c->failed.type = json_texts(type);
    c->failed.message = json_texts(message);
  }
  return NULL;
}

static json *fault(call *c, const char *message) {
  c->w->fault = message;
  return fail(c, "RuntimeError", message);
}

/* One step of a path. */
static json *step_into(const json *place, const json *step) {
  if (step->kind == JSON_TEXT) {
    return json_find(place, step->text, step->len);
  }
  if (step->kind != JSON_NUMBER || place->kind != JSON_LIST) {
    return NULL;
  }
  long long index = strtoll(step->text, NULL, 10);
  index += index < 0 ? (long long)place->count : 0;
  return index >= 0 && index < (long long)place->count ? place->items[index] : NULL;
}

static json *look(const json *path, size_t from, json *place) {
  for (size_t i = from; i < path->count && place != NULL; i++) {
    place = step_into(place, path->items[i]);
  }
  return place;
}

/* A path is a key or a list of steps. */
static const json *as_path(const json *path) {
  if (path->kind == JSON_LIST) {
    return path;
  }
  json *list = json_list();
  json_append(list, (json *)path);
  return list;
}

/* The value at a path of the update, or else of the state; NULL if there is none. */
static json *find(call *c, const json *path) {
  path = as_path(path);
  if (path->count == 0 || path->items[0]->kind != JSON_TEXT) {
    return NULL;
  }
  const json *key = path->items[0];
  json *place = json_find(c->update, key->text, key->len);
  if (place == NULL) {
    tea_buffer buffer = {0};
    if (tea_call_get(c->tea, str_of(key), &buffer, NULL) != TEA_OK) {
      return NULL;
    }
    place = take_buffer(c->w, &buffer);
  }
  return look(path, 1, place);
}

static json *whole_state(call *c) {
  if (c->state == NULL) {
    tea_buffer buffer = {0};
    tea_call_state(c->tea, &buffer, NULL);
    c->state = take_buffer(c->w, &buffer);
  }
  return c->state;
}

static json *config_of(call *c) {
  if (c->config == NULL) {
    tea_buffer buffer = {0};
    tea_call_config(c->tea, &buffer, NULL);
    c->config = take_buffer(c->w, &buffer);
  }
  return c->config;
}

static json *or_null(json *found) { return found != NULL ? found : json_null(); }

static json *count(world *w, const json *name) {
  const json *old = json_find(w->counts, name->text, name->len);
  json *now = json_int(1 + (old != NULL ? strtoll(old->text, NULL, 10) : 0));
  json_set(w->counts, name, now);
  return now;
}

static json *collect(call *c, const json *path) {
  json *states = json_list();
  const json *results = json_get(whole_state(c), "parallel_results");
  path = as_path(path);
  for (size_t i = 0; results != NULL && i < results->count; i++) {
    json *result = results->items[i];
    bool is_result = json_get(result, "branch") != NULL && json_get(result, "success") != NULL;
    json_append(states, or_null(look(path, 0, is_result ? json_get(result, "state") : result)));
  }
  return states;
}

/* Runs a graph to its end; the state of its last event. */
static json *run_graph(call *c, const json *name, const json *input) {
  const tea_graph *graph = world_graph(c->w, name);
  if (graph == NULL) {
    return fault(c, "unknown graph");
  }
  json *options = json_map();
  json_put(options, "input", (json *)input);
  tea_run *run = world_start(c->w, graph, options, &c->failed);
  if (run == NULL) {
    return NULL;
  }
  json *last = NULL;
  tea_buffer event = {0};
  tea_error *error = NULL;
  tea_status status;
  while ((status = tea_run_next(run, &event, &error)) == TEA_OK) {
    last = take_buffer(c->w, &event);
  }
  tea_run_free(run);
  if (status < 0) {
    take_error(error, &c->failed);
    return NULL;
  }
  return or_null(json_get(last, "state"));
}

static json *pair(call *c, const json *arguments, size_t at) {
  return arguments->kind == JSON_LIST && at < arguments->count ? value_of(c, arguments->items[at])
                                                               : fault(c, "an argument is missing");
}

static json *expression(call *c, const json *name, const json *argument) {
  if (json_is(name, "$get")) {
    return or_null(find(c, argument));
  }
  if (json_is(name, "$has")) {
    return json_bool(find(c, argument) != NULL);
  }
  if (json_is(name, "$config")) {
    return or_null(look(as_path(argument), 0, config_of(c)));
  }
  if (json_is(name, "$node")) {
    tea_str node = tea_call_node(c->tea);
    return json_text((const char *)node.ptr, node.len);
  }
  if (json_is(name, "$count")) {
    return count(c->w, argument);
  }
  if (json_is(name, "$collect")) {
    return collect(c, argument);
  }
  bool less = json_is(name, "$less");
  if (less || json_is(name, "$equal")) {
    json *a = pair(c, argument, 0), *b = a != NULL ? pair(c, argument, 1) : NULL;
    if (b == NULL) {
      return NULL;
    }
    int answer = less ? json_less(a, b) : json_equal(a, b);
    return answer < 0 ? fail(c, "TypeError", "these values have no order") : json_bool(answer);
  }
  if (json_is(name, "$repeat")) {
    json *value = pair(c, argument, 0), *times = value != NULL ? pair(c, argument, 1) : NULL;
    if (times == NULL) {
      return NULL;
    }
    json *row = json_repeat(value, strtoll(times->text != NULL ? times->text : "", NULL, 10));
    return row != NULL ? row : fail(c, "TypeError", "only texts and lists can be repeated");
  }
  json *input = pair(c, argument, 1);
  return input != NULL ? run_graph(c, argument->items[0], input) : NULL;
}

static bool is_expression(const json *name) {
  const char *names[] = {"$get", "$has", "$config", "$node", "$less", "$equal", "$repeat", "$count", "$collect", "$run"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    if (json_is(name, names[i])) {
      return true;
    }
  }
  return false;
}

/* A literal in which one-key maps with a known name are expressions. NULL: the function failed. */
static json *value_of(call *c, const json *item) {
  if (item->kind == JSON_MAP && item->count == 1 && is_expression(item->keys[0])) {
    return expression(c, item->keys[0], item->items[0]);
  }
  if (item->kind != JSON_LIST && item->kind != JSON_MAP) {
    return (json *)item;
  }
  json *copy = item->kind == JSON_LIST ? json_list() : json_map();
  for (size_t i = 0; i < item->count; i++) {
    json *value = value_of(c, item->items[i]);
    if (value == NULL) {
      return NULL;
    }
    if (item->kind == JSON_LIST) {
      json_append(copy, value);
    } else {
      json_set(copy, item->keys[i], value);
    }
  }
  return copy;
}

static void nap(const json *milliseconds) {
  double seconds = strtod(milliseconds->text != NULL ? milliseconds->text : "0", NULL) / 1000.0;
  struct timespec time = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
  nanosleep(&time, NULL);
}

static void respond(call *c, const json *answer) {
  text data = {0};
  json_write_tea(&data, answer);
  tea_error *error = NULL;
  if (tea_call_respond(c->tea, str_of_text(&data), &error) < 0) {
    take_error(error, &c->failed);
  }
  free(data.data);
  c->answered = true;
}

/* One operation. The value to return, or NULL to go on (or for a failure). */
static json *operation(call *c, const json *op) {
  const json *name = op->count > 0 ? op->items[0] : NULL;
  if (json_is(name, "return")) {
    return op->count > 1 ? value_of(c, op->items[1]) : json_null();
  }
  if (json_is(name, "build")) {
    world_build(c->w, tea_call_graph(c->tea), op->items + 1, op->count - 1, &c->failed);
    return NULL;
  }
  if (json_is(name, "live")) {
    c->w->unsupported = "live-state";
    return fail(c, "RuntimeError", "the state is no live object");
  }
  if (op->count < 2) {
    return fault(c, "an operation without its arguments");
  }
  if (json_is(name, "if")) {
    json *chosen = value_of(c, op->items[1]);
    if (chosen == NULL) {
      return NULL;
    }
    size_t at = json_truth(chosen) ? 2 : 3;
    return at < op->count ? perform(c, op->items[at], 0) : NULL;
  }
  json *value = value_of(c, op->items[op->count == 3 && !json_is(name, "raise") ? 2 : 1]);
  if (value == NULL) {
    return NULL;
  }
  if (json_is(name, "set")) {
    json_set(c->update, op->items[1], value);
  } else if (json_is(name, "add")) {
    const json *old = find(c, op->items[1]);
    json *sum = old != NULL ? json_plus(old, value) : value;
    if (sum == NULL) {
      return fail(c, "TypeError", "these values have no sum");
    }
    json_set(c->update, op->items[1], sum);
  } else if (json_is(name, "raise")) {
    c->failed.type = op->count > 2 ? op->items[2] : json_texts("ValueError");
    c->failed.message = value;
  } else if (json_is(name, "respond")) {
    respond(c, value);
  } else if (json_is(name, "sleep")) {
    nap(value);
  } else {
    return fault(c, "unknown operation");
  }
  return NULL;
}

static json *perform(call *c, const json *ops, size_t from) {
  for (size_t i = from; i < ops->count; i++) {
    json *done = operation(c, ops->items[i]);
    if (done != NULL || c->failed.type != NULL || c->answered) {
      return done;
    }
  }
  return NULL;
}

int32_t function_call(void *user_data, tea_call *tea) {
  const function *f = user_data;
  call c = {.w = f->w, .tea = tea, .update = json_map()};
  json *result = f->body->kind == JSON_LIST ? perform(&c, f->body, 0) : value_of(&c, f->body);
  if (c.failed.type != NULL) {
    tea_call_fail(tea, str_of(c.failed.type), str_of(c.failed.message), NULL);
    return TEA_ERR_HOST;
  }
  if (c.answered) {
    return TEA_OK;
  }
  text data = {0};
  json_write_tea(&data, result != NULL ? result : c.update);
  tea_error *error = NULL;
  tea_status status = tea_call_return(tea, str_of_text(&data), &error);
  free(data.data);
  if (status < 0) {
    take_error(error, &c.failed);
    tea_call_fail(tea, str_of(c.failed.type), str_of(c.failed.message), NULL);
  }
  return status;
}
