/* What the C tests share: checks, short names for the library's types, functions that count their calls. */
#ifndef TEA_TESTS_CHECK_H
#define TEA_TESTS_CHECK_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "tea.h"

/* Counts a check; a failed one is printed and fails the test that runs. */
bool check_that(bool holds, const char *file, int line, const char *what);
#define CHECK(condition) check_that((condition), __FILE__, __LINE__, #condition)

/* The call, which mentions `err`, must return the status; a negative one with an error whose message holds `part`. */
#define EXPECT(call, status, part)                                                                                    \
  do {                                                                                                                \
    tea_error *err = NULL;                                                                                            \
    int64_t got = (call);                                                                                             \
    check_status(got, (status), err, (part), __FILE__, __LINE__, #call);                                              \
  } while (0)
#define OK(call) EXPECT(call, TEA_OK, NULL)
void check_status(int64_t got, int64_t want, tea_error *err, const char *part, const char *file, int line,
                  const char *what);

/* The buffer must hold the text; frees it. */
#define EXPECT_TEXT(buffer, text) check_text((buffer), (text), __FILE__, __LINE__)
void check_text(tea_buffer *buffer, const char *text, const char *file, int line);

/* Runs a test, or the tests' end: prints "N passed, N failed"; what main returns. */
#define RUN(test) run_test(#test, test)
void run_test(const char *name, void (*test)(void));
int finish(void);

tea_str str(const char *text);
/* Text with its length, for NUL inside and for what is not UTF-8. */
tea_str bytes(const char *data, size_t len);
extern const tea_str NOTHING;
/* A length without a text. */
extern const tea_str WILD;
/* Two bytes that are not UTF-8. */
extern const tea_str BROKEN;

/* A function's data: counts, and what it does. */
typedef struct tally {
  int calls;
  int destroyed;
  /* JSON to return; NULL for nothing. */
  const char *result;
  /* The text of a failure, or NULL. */
  const char *failure;
  /* The state as JSON at the last call. */
  char state[512];
} tally;
int32_t tally_call(void *user_data, tea_call *call);
void tally_destroy(void *user_data);

tea_engine *new_engine(void);
/* A graph with these options (NULL: none). */
tea_graph *new_graph(tea_engine *engine, const char *options);
void add_node(tea_graph *graph, const char *name, tally *data);
/* A chain of nodes from entry to finish; the names end with NULL. */
void add_chain(tea_graph *graph, const char *const *names, tally *data);
tea_run *new_run(const tea_graph *graph, const char *options);
/* The next event must be this JSON (NULL: the end). */
#define EXPECT_EVENT(run, json) check_event((run), (json), __FILE__, __LINE__)
void check_event(tea_run *run, const char *json, const char *file, int line);
/* Runs to the end and checks that the last event is this one. */
#define EXPECT_LAST(graph, options, json) check_last((graph), (options), (json), __FILE__, __LINE__)
void check_last(const tea_graph *graph, const char *options, const char *json, const char *file, int line);

#endif
