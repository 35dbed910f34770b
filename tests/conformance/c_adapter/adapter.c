/* Adapter of the conformance runner in C, over the C ABI alone.
 *
 * Reads one JSON request per line on stdin, writes one JSON answer per line on stdout. It can do the ops `hello` and
 * `graph`: graphs built by calls, with C functions as nodes and conditions.
 *
 *     json.c        values that keep the digits of their numbers
 *     arithmetic.c  sums and comparisons of them
 *     function.c    the language of the functions of a case
 *     world.c       the steps of a case as calls of the library
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "json.h"
#include "tea.h"
#include "world.h"

static json *hello(void) {
  /* Not among them: `live-state` (the state is JSON), `error-types` (Python's classes and their texts), `callbacks`. */
  const char *features[] = {"bigint", "files", "live-graph", "respond", "scoped", "typed-keys"};
  json *list = json_list();
  for (size_t i = 0; i < sizeof features / sizeof *features; i++) {
    json_append(list, json_texts(features[i]));
  }
  json *answer = json_map();
  json_put(answer, "name", json_texts("c"));
  json_put(answer, "features", list);
  json_put(answer, "env", json_bool(false));
  json_put(answer, "loose_numbers", json_bool(false));
  return answer;
}

static json *refuse(const char *key, const char *why) {
  json *answer = json_map();
  json_put(answer, key, json_texts(why));
  return answer;
}

static json *serve(const char *line, size_t len) {
  const char *problem = NULL;
  const json *request = json_read(line, len, &problem);
  if (request == NULL) {
    return refuse("fault", problem);
  }
  const json *op = json_get(request, "op"), *cwd = json_get(request, "cwd");
  if (json_is(op, "hello")) {
    return hello();
  }
  if (!json_is(op, "graph")) {
    return refuse("unsupported", op != NULL && op->kind == JSON_TEXT ? op->text : "a request without op");
  }
  char back[4096];
  if (getcwd(back, sizeof back) == NULL || (cwd != NULL && cwd->len > 0 && chdir(cwd->text) != 0)) {
    return refuse("fault", "cannot change the working directory");
  }
  json *answer = answer_graph(request);
  return chdir(back) == 0 ? answer : refuse("fault", "cannot change the working directory back");
}

int main(void) {
  if (tea_abi_version() < TEA_ABI_VERSION) {
    fputs("the library is older than its header\n", stderr);
    return 2;
  }
  char *line = NULL;
  size_t room = 0;
  ssize_t len;
  while ((len = getline(&line, &room, stdin)) > 0) {
    if (strspn(line, " \t\r\n") == (size_t)len) {
      continue;
    }
    text out = {0};
    json_write_wire(&out, serve(line, (size_t)len));
    text_puts(&out, "\n");
    fwrite(out.data, 1, out.len, stdout);
    fflush(stdout);
    free(out.data);
    arena_reset();
  }
  free(line);
  return 0;
}
