/* SPDX-License-Identifier: BSD-3-Clause
 *
 * json.h: JSON (RFC 8259), strictly: nothing that the standard does not have, no name twice in an object, numbers that
 * a double holds, text that is UTF-8.
 */
#ifndef ATTN_TOOLS_JSON_H
#define ATTN_TOOLS_JSON_H

#include <stdbool.h>
#include <stddef.h>

typedef enum json_kind {
    JSON_NULL,
    JSON_FALSE,
    JSON_TRUE,
    JSON_NUMBER,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT
} json_kind;

typedef struct json json;

struct json {
    json_kind kind;
    double number;
    char *text;    /* of a string: terminated, and without U+0000 within */
    char *name;    /* of a member of an object */
    json *members; /* [count], of an array or an object, in the order of the text */
    size_t count;
};

/* Reads text, length bytes, which has to be one value; name is for the sentence that says where it is not. The caller
 * frees the value. */
json *json_read(const char *name, const char *text, size_t length);
void json_free(json *value);

/* The member of an object by that name, or NULL. */
const json *json_member(const json *object, const char *name);

/* What a value is, for sentences: "a number". */
const char *json_kind_name(const json *value);

#endif
