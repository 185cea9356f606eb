/* SPDX-License-Identifier: BSD-3-Clause
 *
 * json.h: writes JSON (RFC 8259), indented, as it is said:
 *
 *     json out = json_begin(file);
 *     json_object(&out);
 *     json_key(&out, "bleu"), json_number(&out, 31.5);
 *     json_key(&out, "losses"), json_row(&out), json_number(&out, 2), json_number(&out, 1), json_close(&out);
 *     json_close(&out);
 *
 * Objects hold keys, each followed by its value; arrays and rows hold values. That it is so is asserted. */
#ifndef TRANSLATE_JSON_H
#define TRANSLATE_JSON_H

#include <stdbool.h>
#include <stdio.h>

enum { JSON_DEPTH = 32 };

typedef struct json {
    FILE *file;
    int depth;
    bool after_key;
    struct json_level {
        char close; /* '}' or ']' */
        bool on_one_line, has_some;
    } levels[JSON_DEPTH];
} json;

json json_begin(FILE *file);
void json_object(json *out);
void json_array(json *out);
void json_row(json *out); /* an array on one line, as for numbers; what is within it is on this line too */

/* Ends the last that is open; behind the last of all a newline is written. */
void json_close(json *out);

/* Text is UTF-8; bytes that are not become U+FFFD. */
void json_key(json *out, const char *key);
void json_string(json *out, const char *text);

/* As few digits, from 15 on, as give the same number again; null for what is not finite, which JSON cannot say. */
void json_number(json *out, double number);
void json_integer(json *out, long long number);
void json_boolean(json *out, bool truth);
void json_null(json *out);

/* A key with a row of strings, or with an array of rows of numbers [rows, columns]. */
void json_strings(json *out, const char *key, char *const *texts, int count);
void json_matrix(json *out, const char *key, const double *numbers, int rows, int columns);

#endif
