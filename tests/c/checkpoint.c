/* Checkpoints: the portable format, and interrupts with files and memory (CP-14 to CP-31, CQ-6). */
#include <dirent.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"

static tea_engine *engine;
static char folder[] = "/tmp/tea-c-XXXXXX";

/* Removes the files of the folder; how many there were. */
static int clear_folder(void) {
  int count = 0;
  DIR *dir = opendir(folder);
  for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
    if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
      char path[512];
      snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
      unlink(path);
      count++;
    }
  }
  if (dir != NULL) {
    closedir(dir);
  }
  return count;
}

static void write_text(const char *path, const char *text) {
  FILE *file = fopen(path, "wb");
  CHECK(file != NULL && fputs(text, file) >= 0 && fclose(file) == 0);
}

static const char *GOOD = "{\"node\":\"a\",\"state\":{\"n\":1},\"config\":{},\"timestamp\":1.5,\"interrupt\":\"after\"}";

static void what_is_encoded_decodes(void) {
  tea_buffer json = {0}, out = {0};
  OK(tea_checkpoint_encode(str(GOOD), &json, &err));
  OK(tea_checkpoint_decode(bytes((const char *)json.ptr, json.len), &out, &err));
  EXPECT_TEXT(&out, "{\"state\":{\"n\":1},\"node\":\"a\",\"config\":{},\"timestamp\":1.5,\"version\":\"2.0\",\"interrupt\":\"after\"}");
  EXPECT_TEXT(&json, "{\"version\":\"2.0\",\"node\":\"a\",\"interrupt\":\"after\",\"state\":{\"n\":1},\"config\":{},\"timestamp\":1.5}");
}

static void bad_checkpoints_are_refused(void) {
  tea_buffer out = {0};
  EXPECT(tea_checkpoint_encode(str("[]"), &out, &err), TEA_ERR_JSON, "a checkpoint is a JSON map");
  EXPECT(tea_checkpoint_encode(str("{"), &out, &err), TEA_ERR_JSON, "line 1");
  EXPECT(tea_checkpoint_encode(str("{\"node\":\"a\"}"), &out, &err), TEA_ERR_CORRUPT, "is missing");
  EXPECT(tea_checkpoint_encode(WILD, &out, &err), TEA_ERR_NULL, "checkpoint");
  EXPECT(tea_checkpoint_encode(NOTHING, &out, &err), TEA_ERR_JSON, "value");
  EXPECT(tea_checkpoint_encode(str(GOOD), NULL, &err), TEA_ERR_NULL, "buffer");
  EXPECT(tea_checkpoint_decode(str(GOOD), &out, &err), TEA_ERR_CORRUPT, "the key \"version\" is missing");
  EXPECT(tea_checkpoint_decode(str("{\"version\":\"2.0\",\"nod"), &out, &err), TEA_ERR_CORRUPT, "line 1 column");
  EXPECT(tea_checkpoint_decode(str("\x80\x04pickle"), &out, &err), TEA_ERR_CORRUPT, "invalid JSON");
  EXPECT(tea_checkpoint_decode(WILD, &out, &err), TEA_ERR_NULL, "json");
  EXPECT(tea_checkpoint_decode(str("{\"version\":\"2.0\",\"node\":\"a\",\"state\":{},\"config\":{},\"timestamp\":1}"), NULL, &err),
         TEA_ERR_NULL, "buffer");
  CHECK(out.ptr == NULL);
}

/* a -> b -> c with an interrupt before b and files in the folder. */
static tea_graph *stopping(tally *data, const char *options) {
  const char *names[] = {"a", "b", "c", NULL};
  tea_graph *graph = new_graph(engine, NULL);
  add_chain(graph, names, data);
  OK(tea_graph_compile(graph, str(options), &err));
  return graph;
}

static tea_graph *filing(tally *data) {
  char options[256];
  snprintf(options, sizeof options, "{\"interrupt_before\":[\"b\"],\"checkpoint_dir\":\"%s\"}", folder);
  return stopping(data, options);
}

/* Runs until the interrupt; the path or id of its checkpoint. */
static bool interrupted_at(const tea_graph *graph, const char *options, char *path, size_t size) {
  tea_run *run = new_run(graph, options);
  tea_buffer event = {0};
  const char *key = "\"checkpoint_path\":\"";
  OK(tea_run_next(run, &event, &err));
  char *start = event.ptr != NULL ? strstr((char *)event.ptr, key) : NULL;
  bool found = start != NULL && strstr((char *)event.ptr, "\"type\":\"interrupt\"") != NULL;
  if (CHECK(found)) {
    start += strlen(key);
    snprintf(path, size, "%.*s", (int)strcspn(start, "\""), start);
  }
  tea_buffer_free(&event);
  EXPECT_EVENT(run, NULL);
  tea_run_free(run);
  return found;
}

/* CP-14, CP-21, CP-25, CP-27 */
static void a_run_is_resumed_from_a_file(void) {
  tally data[3] = {{.result = "{\"a\":1}"}, {.result = "{\"b\":2}"}, {.result = "{\"c\":3}"}};
  tea_graph *graph = filing(data);
  char path[256] = "", options[512];
  interrupted_at(graph, "{\"input\":{\"k\":0},\"config\":{\"user\":\"x\"}}", path, sizeof path);
  tea_graph_free(graph);
  CHECK(data[0].calls == 1 && data[1].calls == 0 && data[0].destroyed == 1);
  CHECK(access(path, R_OK) == 0);
  /* Nothing but the file goes on. */
  graph = filing(data);
  snprintf(options, sizeof options, "{\"checkpoint\":\"%s\",\"input\":{\"k\":5}}", path);
  EXPECT_LAST(graph, options, "{\"type\":\"final\",\"state\":{\"k\":5,\"a\":1,\"b\":2,\"c\":3}}");
  CHECK(data[0].calls == 1 && data[1].calls == 1);
  snprintf(options, sizeof options, "{\"checkpoint\":\"%s\",\"input\":null,\"method\":\"stream\"}", path);
  tea_run *run = new_run(graph, options);
  EXPECT_EVENT(run, "{\"type\":\"state\",\"node\":\"b\",\"state\":{\"k\":0,\"a\":1,\"b\":2}}");
  tea_run_free(run);
  tea_graph_free(graph);
  CHECK(clear_folder() == 1);
}

/* CQ-6 */
static void a_node_name_cannot_leave_the_folder(void) {
  tally data[1] = {{0}};
  const char *names[] = {"../../up", NULL};
  tea_graph *graph = new_graph(engine, NULL);
  add_chain(graph, names, data);
  char options[256], path[256] = "";
  snprintf(options, sizeof options, "{\"interrupt_after\":[\"../../up\"],\"checkpoint_dir\":\"%s\"}", folder);
  OK(tea_graph_compile(graph, str(options), &err));
  interrupted_at(graph, "{}", path, sizeof path);
  CHECK(strncmp(path, folder, strlen(folder)) == 0 && strchr(path + strlen(folder) + 1, '/') == NULL);
  struct stat status;
  CHECK(stat(path, &status) == 0 && (status.st_mode & 0777) == 0600);
  tea_graph_free(graph);
  CHECK(clear_folder() == 1);
}

/* CP-22 */
static void a_run_is_resumed_from_memory(void) {
  tally data[3] = {{.result = "{\"a\":1}"}, {.result = "{\"b\":2}"}, {.result = "{\"c\":3}"}};
  tea_graph *graph = stopping(data, "{\"interrupt_after\":[\"a\"],\"checkpointer\":\"memory\"}");
  char id[256] = "", options[512];
  interrupted_at(graph, "{}", id, sizeof id);
  snprintf(options, sizeof options, "{\"checkpoint\":\"%s\"}", id);
  EXPECT_LAST(graph, options, "{\"type\":\"final\",\"state\":{\"a\":1,\"b\":2,\"c\":3}}");
  CHECK(data[0].calls == 1);
  tea_run *run = NULL;
  EXPECT(tea_run_new(graph, str("{\"checkpoint\":\"nowhere\"}"), &run, &err), TEA_ERR_NOT_FOUND, "Checkpoint not found: nowhere");
  EXPECT(tea_run_new(graph, str("{\"checkpoint\":1}"), &run, &err), TEA_ERR_ARGUMENT, "a path or an id");
  EXPECT(tea_run_new(graph, str("{\"input\":null}"), &run, &err), TEA_ERR_ARGUMENT, "a checkpoint is required");
  CHECK(run == NULL);
  tea_graph_free(graph);
}

static void damaged_and_foreign_files_are_named(void) {
  tally data[3] = {{0}};
  tea_graph *graph = filing(data);
  tea_run *run = NULL;
  char path[256], options[512];
  snprintf(path, sizeof path, "%s/file.json", folder);
  snprintf(options, sizeof options, "{\"checkpoint\":\"%s\"}", path);
  EXPECT(tea_run_new(graph, str(options), &run, &err), TEA_ERR_NOT_FOUND, path);
  write_text(path, "");
  EXPECT(tea_run_new(graph, str(options), &run, &err), TEA_ERR_CORRUPT, path);
  write_text(path, "{\"version\":\"2.0\",\"node\":\"b\",\"state\":{\"a\":");
  EXPECT(tea_run_new(graph, str(options), &run, &err), TEA_ERR_CORRUPT, "line 1 column");
  write_text(path, "{\"version\":\"9.0\",\"node\":\"b\",\"state\":{},\"config\":{},\"timestamp\":1}");
  EXPECT(tea_run_new(graph, str(options), &run, &err), TEA_ERR_CORRUPT, "version 9.0 is not supported");
  write_text(path, "{\"version\":\"2.0\",\"node\":\"zz\",\"state\":{},\"config\":{},\"timestamp\":1}");
  EXPECT(tea_run_new(graph, str(options), &run, &err), TEA_ERR_CORRUPT, "node 'zz' does not exist");
  EXPECT(tea_run_new(graph, str("{\"checkpoint\":\"/tmp\"}"), &run, &err), TEA_ERR_IO, "Failed to read checkpoint file '/tmp'");
  CHECK(run == NULL && data[0].calls == 0);
  tea_graph_free(graph);
  CHECK(clear_folder() == 1);
}

/* The user sees an error, not an event that names a file which is not there (CQ-5). */
static void a_failed_write_is_an_error(void) {
  tally data[3] = {{.result = "{\"a\":1}"}, {0}, {0}};
  tea_graph *graph = stopping(data, "{\"interrupt_before\":[\"b\"],\"checkpoint_dir\":\"/dev/null/x\"}");
  tea_run *run = new_run(graph, NULL);
  tea_buffer event = {0};
  EXPECT(tea_run_next(run, &event, &err), TEA_ERR_IO, "Failed to save checkpoint to '/dev/null/x/b_");
  EXPECT_EVENT(run, NULL);
  CHECK(data[0].calls == 1 && data[1].calls == 0);
  tea_run_free(run);
  tea_graph_free(graph);
}

int main(void) {
  engine = new_engine();
  if (mkdtemp(folder) == NULL) {
    perror("mkdtemp");
    return 1;
  }
  RUN(what_is_encoded_decodes);
  RUN(bad_checkpoints_are_refused);
  RUN(a_run_is_resumed_from_a_file);
  RUN(a_node_name_cannot_leave_the_folder);
  RUN(a_run_is_resumed_from_memory);
  RUN(damaged_and_foreign_files_are_named);
  RUN(a_failed_write_is_an_error);
  rmdir(folder);
  tea_engine_free(engine);
  return finish();
}
