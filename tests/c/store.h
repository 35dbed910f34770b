/* A tiny host with live objects: texts under numbers, with counted references. */
#ifndef TEA_TESTS_STORE_H
#define TEA_TESTS_STORE_H

#include "check.h"

enum { OBJECTS = 64, NODES = 16 };

typedef struct store {
  struct {
    int references;
    char text[1024];
  } objects[OBJECTS];
  uint64_t made;
  /* Interrupts by node: bit 0 before, bit 1 after. */
  int stops[NODES];
  int stops_asked;
  /* The number of the run that `stops` was asked about. */
  uint64_t run;
  /* All records, one "LEVEL text" per line. */
  char records[4096];
  int released;
  int destroyed;
  /* What the callbacks return. */
  int32_t status;
  /* Called by `stops`, for misuse from within a callback. */
  void (*intrude)(void *data);
  void *intruder;
} store;

/* A table of the store's callbacks; `destroy` counts. */
tea_host store_table(store *s);
/* A new object with one reference. */
uint64_t store_new(store *s, const char *text);
void store_drop(store *s, uint64_t object);
const char *store_text(store *s, uint64_t object);
/* How many objects have references. */
int store_live(const store *s);

#endif
