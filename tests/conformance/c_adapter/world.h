/* The graphs, counters and checkpoints of one case, and the functions that stand in its nodes. */
#ifndef ADAPTER_WORLD_H
#define ADAPTER_WORLD_H

#include "json.h"
#include "tea.h"

typedef struct world {
  tea_engine *engine;
  /* Graphs by name, in the order in which they were built. */
  struct {
    const json *name;
    tea_graph *graph;
  } graphs[64];
  size_t graph_count;
  json *counts;
  /* The latest checkpoint, and what it was after each step; JSON null for none. */
  json *last;
  json *paths;
  /* What the case asks for and this host cannot do, or NULL. */
  const char *unsupported;
  /* What is wrong with the case or the adapter, or NULL. */
  const char *fault;
} world;

/* An error of the library or of a function. */
typedef struct failure {
  json *type;
  json *message;
} failure;

tea_str str_of(const json *value);
tea_str str_of_text(const text *value);
/* What the library handed out, as a value; frees the buffer. */
json *take_buffer(world *w, tea_buffer *buffer);
/* Takes over an error. */
void take_error(tea_error *error, failure *out);

tea_graph *world_graph(world *w, const json *name);
/* Makes building calls; false if one was refused. */
bool world_build(world *w, const tea_graph *graph, json *const *calls, size_t count, failure *failed);
/* Starts a run; NULL if it was refused. */
tea_run *world_start(world *w, const tea_graph *graph, const json *options, failure *failed);

/* A function of the library's signature; `user_data` is a `function`. */
typedef struct function {
  world *w;
  const json *body;
} function;

int32_t function_call(void *user_data, tea_call *call);

/* Answers a request. */
json *answer_graph(const json *request);

#endif
