/* Building, running and asking: the steps of a case as calls of the library. */
#include "world.h"

#include <stdlib.h>
#include <string.h>

tea_str str_of(const json *value) {
  tea_str text = {(const uint8_t *)value->text, value->text != NULL ? value->len : 0};
  return text;
}

tea_str str_of_text(const text *value) {
  tea_str text = {(const uint8_t *)value->data, value->len};
  return text;
}

static tea_str write_options(text *out, const json *options) {
  json_write_tea(out, options);
  return str_of_text(out);
}

json *take_buffer(world *w, tea_buffer *buffer) {
  const char *problem = NULL;
  json *value = json_read_tea((const char *)buffer->ptr, buffer->len, &problem);
  tea_buffer_free(buffer);
  if (value == NULL) {
    w->fault = problem;
    value = json_null();
  }
  return value;
}

void take_error(tea_error *error, failure *out) {
  tea_str type = tea_error_class(error), message = tea_error_message(error);
  out->type = json_text((const char *)type.ptr, type.len);
  out->message = json_text((const char *)message.ptr, message.len);
  tea_error_free(error);
}

static json *failure_value(const failure *failed) {
  if (failed->type == NULL) {
    return json_null();
  }
  json *value = json_map();
  json_put(value, "type", failed->type);
  json_put(value, "message", failed->message);
  return value;
}

tea_graph *world_graph(world *w, const json *name) {
  for (size_t i = 0; i < w->graph_count; i++) {
    if (name == NULL ? json_is(w->graphs[i].name, "main") : json_equal(w->graphs[i].name, name)) {
      return w->graphs[i].graph;
    }
  }
  return NULL;
}

/* --- building ------------------------------------------------------------------------------------------- */

static function *make_function(world *w, const json *body) {
  function *made = arena_alloc(sizeof(function));
  made->w = w;
  made->body = body;
  return made;
}

static tea_status compile(world *w, const tea_graph *graph, const json *given, tea_error **error) {
  json *options = json_map();
  for (size_t i = 0; i < given->count; i++) {
    bool empty = given->items[i]->kind == JSON_NULL;
    if (json_is(given->keys[i], "parallel_config") || json_is(given->keys[i], "callbacks")) {
      w->unsupported = empty || !json_truth(given->items[i]) ? w->unsupported : given->keys[i]->text;
    } else {
      json_set(options, given->keys[i], given->items[i]);
    }
  }
  text data = {0};
  tea_status status = tea_graph_compile(graph, write_options(&data, options), error);
  free(data.data);
  return status;
}

static tea_status build_one(world *w, const tea_graph *graph, const json *call, tea_error **error) {
  const json *name, *with;
  if ((name = json_get(call, "node")) != NULL) {
    with = json_get(call, "do");
    return with == NULL ? tea_graph_add_node(graph, str_of(name), NULL, NULL, NULL, error)
                        : tea_graph_add_node(graph, str_of(name), function_call, make_function(w, with), NULL, error);
  }
  if ((with = json_get(call, "edge")) != NULL) {
    return tea_graph_add_edge(graph, str_of(with->items[0]), str_of(with->items[1]), error);
  }
  if ((name = json_get(call, "route")) != NULL) {
    text targets = {0};
    tea_str pairs = write_options(&targets, json_get(call, "to"));
    function *by = make_function(w, json_get(call, "by"));
    tea_status status =
        tea_graph_add_conditional_edges(graph, str_of(name), function_call, by, NULL, pairs, error);
    free(targets.data);
    return status;
  }
  if ((with = json_get(call, "branch")) != NULL) {
    const json *config = json_get(call, "config");
    if (config != NULL && config->kind != JSON_NULL) {
      w->unsupported = "reliability settings";
    }
    return tea_graph_add_parallel_edge(graph, str_of(with->items[0]), str_of(with->items[1]),
                                       str_of(with->items[2]), (tea_str){0}, error);
  }
  if ((name = json_get(call, "entry")) != NULL) {
    return tea_graph_set_entry_point(graph, str_of(name), error);
  }
  if ((name = json_get(call, "finish")) != NULL) {
    return tea_graph_set_finish_point(graph, str_of(name), error);
  }
  if ((with = json_get(call, "compile")) != NULL) {
    return compile(w, graph, with, error);
  }
  if (json_get(call, "options") == NULL) {
    w->fault = "unknown building call";
  }
  return TEA_OK;
}

bool world_build(world *w, const tea_graph *graph, json *const *calls, size_t count, failure *failed) {
  for (size_t i = 0; i < count; i++) {
    tea_error *error = NULL;
    if (build_one(w, graph, calls[i], &error) < 0) {
      take_error(error, failed);
      return false;
    }
  }
  return true;
}

static bool add_graph(world *w, const json *name, const json *calls, failure *failed) {
  if (w->graph_count == sizeof w->graphs / sizeof *w->graphs) {
    w->fault = "too many graphs";
    return false;
  }
  json *options = json_map();
  const json *given = calls->count > 0 ? json_get(calls->items[0], "options") : NULL;
  for (size_t i = 0; given != NULL && i < given->count; i++) {
    /* A run's branches take turns on the caller's thread, which every limit of workers allows. */
    if (!json_is(given->keys[i], "max_workers")) {
      json_set(options, given->keys[i], given->items[i]);
    }
  }
  text data = {0};
  tea_graph *graph = NULL;
  tea_error *error = NULL;
  tea_status status = tea_graph_new(w->engine, write_options(&data, options), &graph, &error);
  free(data.data);
  if (status < 0) {
    take_error(error, failed);
    return false;
  }
  w->graphs[w->graph_count].name = name;
  w->graphs[w->graph_count++].graph = graph;
  return world_build(w, graph, calls->items, calls->count, failed);
}

/* --- running -------------------------------------------------------------------------------------------- */

tea_run *world_start(world *w, const tea_graph *graph, const json *options, failure *failed) {
  (void)w;
  text data = {0};
  tea_run *run = NULL;
  tea_error *error = NULL;
  tea_status status = tea_run_new(graph, write_options(&data, options), &run, &error);
  free(data.data);
  if (status < 0) {
    take_error(error, failed);
    return NULL;
  }
  return run;
}

/* A run with what it has yielded. */
typedef struct running {
  tea_run *run;
  json *events;
  failure failed;
} running;

static void start(world *w, const json *step, running *r) {
  r->events = json_list();
  const tea_graph *graph = world_graph(w, json_get(step, "graph"));
  if (graph == NULL) {
    w->fault = "unknown graph";
    return;
  }
  json *options = json_map();
  const char *passed[] = {"input", "config"};
  for (size_t i = 0; i < 2; i++) {
    json *value = json_get(step, passed[i]);
    if (value != NULL) {
      json_put(options, passed[i], value);
    }
  }
  json_put(options, "method", json_get(step, "call"));
  const json *resume = json_get(step, "resume"), *of = json_get(step, "of_step");
  const json *input = json_get(options, "input");
  if (resume == NULL || !json_truth(resume)) {
    if (input == NULL || input->kind == JSON_NULL) {
      json_put(options, "input", json_map());
    }
  } else {
    json *checkpoint = json_get(step, "checkpoint");
    size_t index = of != NULL ? strtoul(of->text, NULL, 10) : 0;
    if (of != NULL && index < w->paths->count) {
      checkpoint = w->paths->items[index];
    }
    json_put(options, "checkpoint", checkpoint != NULL ? checkpoint : w->last);
  }
  r->run = world_start(w, graph, options, &r->failed);
}

/* Takes one event; false when the run is over. */
static bool advance(world *w, running *r) {
  tea_buffer buffer = {0};
  tea_error *error = NULL;
  if (r->run == NULL) {
    return false;
  }
  tea_status status = tea_run_next(r->run, &buffer, &error);
  if (status < 0) {
    take_error(error, &r->failed);
  }
  if (status != TEA_OK) {
    return false;
  }
  json *event = take_buffer(w, &buffer);
  json *path = json_get(event, "checkpoint_path");
  if (path != NULL && json_truth(path)) {
    w->last = path;
  }
  json_append(r->events, event);
  return true;
}

static void run_step(world *w, const json *step, json *result, failure *failed) {
  running r = {0};
  const json *take = json_get(step, "take"), *after = json_get(step, "after");
  size_t limit = take != NULL && take->kind == JSON_NUMBER ? strtoul(take->text, NULL, 10) : (size_t)-1;
  start(w, step, &r);
  while (r.events->count < limit && advance(w, &r)) {
    for (size_t i = 0; after != NULL && i < after->count; i++) {
      const json *when = after->items[i]->items[0], *calls = after->items[i]->items[1];
      if (strtoul(when->text, NULL, 10) == r.events->count) {
        world_build(w, world_graph(w, json_get(step, "graph")), calls->items, calls->count, failed);
      }
    }
    if (failed->type != NULL) {
      break;
    }
  }
  tea_run_free(r.run);
  json_put(result, "events", r.events);
  if (failed->type == NULL) {
    *failed = r.failed;
  }
}

static void run_turns(world *w, const json *runs, json *result) {
  running *all = arena_alloc(runs->count * sizeof(running));
  bool *over = arena_alloc(runs->count);
  memset(all, 0, runs->count * sizeof(running));
  memset(over, 0, runs->count);
  for (size_t i = 0; i < runs->count; i++) {
    start(w, runs->items[i], &all[i]);
  }
  for (size_t left = runs->count; left > 0;) {
    for (size_t i = 0; i < runs->count; i++) {
      if (!over[i] && !advance(w, &all[i])) {
        over[i] = true;
        left--;
      }
    }
  }
  json *list = json_list();
  for (size_t i = 0; i < runs->count; i++) {
    json *one = json_map();
    json_put(one, "events", all[i].events);
    json_put(one, "raised", failure_value(&all[i].failed));
    json_append(list, one);
    tea_run_free(all[i].run);
  }
  json_put(result, "runs", list);
}

static void run_scoped(world *w, const tea_graph *graph, const json *step, json *result, failure *failed) {
  json *options = json_map();
  const char *passed[] = {"entry", "exit", "input", "config"};
  for (size_t i = 0; i < 4; i++) {
    json *value = json_get(step, passed[i]);
    if (value != NULL) {
      json_put(options, passed[i], value);
    }
  }
  text data = {0};
  tea_buffer state = {0};
  tea_error *error = NULL;
  if (tea_graph_run_scoped(graph, write_options(&data, options), &state, &error) < 0) {
    take_error(error, failed);
  } else {
    json_put(result, "value", take_buffer(w, &state));
  }
  free(data.data);
}

static json *run_one(world *w, const json *step) {
  json *result = json_map();
  json_put(result, "events", json_list());
  failure failed = {0};
  const json *call = json_get(step, "call");
  const tea_graph *graph = world_graph(w, json_get(step, "graph"));
  if (graph == NULL) {
    w->fault = "unknown graph";
  } else if (json_is(call, "invoke") || json_is(call, "stream")) {
    run_step(w, step, result, &failed);
  } else if (json_is(call, "turns")) {
    run_turns(w, json_get(step, "runs"), result);
  } else if (json_is(call, "build")) {
    const json *calls = json_get(step, "build");
    world_build(w, graph, calls->items, calls->count, &failed);
  } else if (json_is(call, "shape")) {
    tea_buffer shape = {0};
    tea_error *error = NULL;
    if (tea_graph_shape(graph, &shape, &error) < 0) {
      take_error(error, &failed);
    } else {
      json_put(result, "value", take_buffer(w, &shape));
    }
  } else if (json_is(call, "scoped")) {
    run_scoped(w, graph, step, result, &failed);
  } else {
    w->unsupported = call != NULL ? call->text : "a step without call";
  }
  json_put(result, "raised", failure_value(&failed));
  json_append(w->paths, w->last);
  return result;
}

json *answer_graph(const json *request) {
  world w = {.counts = json_map(), .last = json_null(), .paths = json_list()};
  json *answer = json_map();
  failure failed = {0};
  tea_error *error = NULL;
  if (tea_engine_new(&w.engine, &error) < 0) {
    take_error(error, &failed);
  }
  const json *graphs = json_get(request, "graphs"), *steps = json_get(request, "steps");
  bool built = failed.type == NULL;
  for (size_t i = 0; built && graphs != NULL && i < graphs->count; i++) {
    built = add_graph(&w, graphs->keys[i], graphs->items[i], &failed);
  }
  const json *main_calls = json_get(request, "graph");
  built = built && add_graph(&w, json_texts("main"), main_calls != NULL ? main_calls : json_list(), &failed);
  if (built) {
    json *results = json_list();
    for (size_t i = 0; steps != NULL && i < steps->count; i++) {
      json_append(results, run_one(&w, steps->items[i]));
    }
    json_put(answer, "steps", results);
    json_put(answer, "counts", w.counts);
    json_put(answer, "callbacks", json_list());
  } else {
    json_put(answer, "load_error", failure_value(&failed));
  }
  for (size_t i = 0; i < w.graph_count; i++) {
    tea_graph_free(w.graphs[i].graph);
  }
  tea_engine_free(w.engine);
  if (w.fault != NULL || w.unsupported != NULL) {
    answer = json_map();
    json_put(answer, w.fault != NULL ? "fault" : "unsupported", json_texts(w.fault != NULL ? w.fault : w.unsupported));
  }
  return answer;
}
