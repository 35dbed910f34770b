/* Python's arithmetic on JSON values, as far as the functions of the cases need it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"

static bool is_number(const json *value) { return value->kind == JSON_NUMBER || value->kind == JSON_BOOL; }

/* Digits of an integer, or NULL for a float. */
static const char *digits_of(const json *value) {
  if (value->kind == JSON_BOOL) {
    return value->flag ? "1" : "0";
  }
  return strpbrk(value->text, ".eENI") != NULL ? NULL : value->text;
}

static double float_of(const json *value) {
  return value->kind == JSON_BOOL ? (value->flag ? 1.0 : 0.0) : strtod(value->text, NULL);
}

/* Compares two rows of digits without sign and leading zeros. */
static int compare_digits(const char *a, const char *b) {
  size_t left = strlen(a), right = strlen(b);
  return left != right ? (left < right ? -1 : 1) : strcmp(a, b);
}

static const char *magnitude(const char *digits) {
  digits += *digits == '-';
  while (digits[0] == '0' && digits[1] != '\0') {
    digits++;
  }
  return digits;
}

static int compare(const json *a, const json *b) {
  const char *x = digits_of(a), *y = digits_of(b);
  if (x == NULL || y == NULL) {
    double left = float_of(a), right = float_of(b);
    return (left > right) - (left < right);
  }
  bool below = *x == '-' && strcmp(magnitude(x), "0") != 0, other = *y == '-' && strcmp(magnitude(y), "0") != 0;
  if (below != other) {
    return below ? -1 : 1;
  }
  int order = compare_digits(magnitude(x), magnitude(y));
  return below ? -order : order;
}

/* Adds, or takes the second from the first (which is not smaller), digit by digit from the end. */
static json *combine(const char *a, const char *b, bool subtract, bool below) {
  size_t left = strlen(a), right = strlen(b), size = (left > right ? left : right) + 2;
  char *out = arena_alloc(size + 1), *at = out + size;
  *at = '\0';
  int carry = 0;
  for (size_t i = 0; i < size - 1; i++) {
    int x = i < left ? a[left - 1 - i] - '0' : 0, y = i < right ? b[right - 1 - i] - '0' : 0;
    int digit = subtract ? x - y - carry : x + y + carry;
    carry = subtract ? digit < 0 : digit > 9;
    *--at = (char)('0' + (digit + 10) % 10);
  }
  while (at[0] == '0' && at[1] != '\0') {
    at++;
  }
  if (below && strcmp(at, "0") != 0) {
    *--at = '-';
  }
  return json_number(at, strlen(at));
}

static json *add_integers(const char *a, const char *b) {
  bool below = *a == '-', other = *b == '-';
  a = magnitude(a);
  b = magnitude(b);
  if (below == other) {
    return combine(a, b, false, below);
  }
  return compare_digits(a, b) < 0 ? combine(b, a, true, other) : combine(a, b, true, below);
}

/* The shortest text that reads back as the same float. */
static json *of_float(double number) {
  if (isnan(number) || isinf(number)) {
    const char *name = isnan(number) ? "NaN" : number > 0 ? "Infinity" : "-Infinity";
    return json_number(name, strlen(name));
  }
  char digits[40];
  for (int places = 15; places <= 17; places++) {
    snprintf(digits, sizeof digits - 3, "%.*g", places, number);
    if (strtod(digits, NULL) == number) {
      break;
    }
  }
  if (strpbrk(digits, ".e") == NULL) {
    strcat(digits, ".0");
  }
  return json_number(digits, strlen(digits));
}

bool json_truth(const json *value) {
  switch (value->kind) {
  case JSON_NULL:
    return false;
  case JSON_BOOL:
    return value->flag;
  case JSON_NUMBER:
    return float_of(value) != 0.0;
  case JSON_TEXT:
    return value->len > 0;
  case JSON_LIST:
  case JSON_MAP:
    return value->count > 0;
  case JSON_TAGGED:
    break;
  }
  return true;
}

bool json_equal(const json *a, const json *b) {
  if (is_number(a) && is_number(b)) {
    return compare(a, b) == 0 && !isnan(float_of(a)) && !isnan(float_of(b));
  }
  if (a->kind != b->kind || a->count != b->count) {
    return false;
  }
  if (a->kind == JSON_TEXT || a->kind == JSON_TAGGED) {
    if (a->len != b->len || memcmp(a->text, b->text, a->len) != 0) {
      return false;
    }
  }
  for (size_t i = 0; i < a->count; i++) {
    const json *other = a->kind == JSON_MAP ? json_find(b, a->keys[i]->text, a->keys[i]->len) : b->items[i];
    if (other == NULL || !json_equal(a->items[i], other)) {
      return false;
    }
  }
  return true;
}

int json_less(const json *a, const json *b) {
  if (is_number(a) && is_number(b)) {
    return compare(a, b) < 0;
  }
  if (a->kind == JSON_TEXT && b->kind == JSON_TEXT) {
    int order = memcmp(a->text, b->text, a->len < b->len ? a->len : b->len);
    return order != 0 ? order < 0 : a->len < b->len;
  }
  return -1;
}

json *json_plus(const json *a, const json *b) {
  if (is_number(a) && is_number(b)) {
    const char *x = digits_of(a), *y = digits_of(b);
    return x != NULL && y != NULL ? add_integers(x, y) : of_float(float_of(a) + float_of(b));
  }
  if (a->kind == JSON_TEXT && b->kind == JSON_TEXT) {
    text both = {0};
    text_add(&both, a->text, a->len);
    text_add(&both, b->text, b->len);
    json *sum = json_text(both.data, both.len);
    free(both.data);
    return sum;
  }
  if (a->kind == JSON_LIST && b->kind == JSON_LIST) {
    json *sum = json_list();
    for (size_t i = 0; i < a->count; i++) {
      json_append(sum, a->items[i]);
    }
    for (size_t i = 0; i < b->count; i++) {
      json_append(sum, b->items[i]);
    }
    return sum;
  }
  return NULL;
}

json *json_repeat(const json *value, long long times) {
  if (value->kind == JSON_TEXT) {
    text all = {0};
    text_add(&all, "", 0);
    for (long long i = 0; i < times; i++) {
      text_add(&all, value->text, value->len);
    }
    json *row = json_text(all.data, all.len);
    free(all.data);
    return row;
  }
  if (value->kind != JSON_LIST) {
    return NULL;
  }
  json *row = json_list();
  for (long long i = 0; i < times; i++) {
    for (size_t j = 0; j < value->count; j++) {
      json_append(row, value->items[j]);
    }
  }
  return row;
}
