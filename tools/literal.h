/* SPDX-License-Identifier: BSD-3-Clause
 *
 * literal.h: the literals of Python, which are what the header of a .npy file is made of: strings, numbers, True and
 * False, tuples, lists, dictionaries, with comments, line ends and whatever else Python takes between them.
 */
#ifndef ATTN_TOOLS_LITERAL_H
#define ATTN_TOOLS_LITERAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum literal_kind {
    LITERAL_STRING,
    LITERAL_INTEGER,
    LITERAL_BOOL,
    LITERAL_TUPLE,
    LITERAL_LIST,
    LITERAL_DICTIONARY,
    LITERAL_OTHER /* floats, complex numbers, bytes, sets, None, ...: read over, their values not kept */
} literal_kind;

typedef struct literal literal;

struct literal {
    literal_kind kind;
    char *text;       /* of a string: what is not ASCII, and zeros, are bytes 0xff */
    bool huge;        /* the integer does not fit */
    int64_t number;   /* of an integer or a bool */
    literal *members; /* the first one; in a dictionary key, value, key, value */
    literal *next;    /* the next member of what this is a member of */
    bool is_signed;   /* a number with a sign, which takes no second one */
    bool imaginary;   /* a number that can be added to a real one */
};

/* Reads text, length bytes, which has to be one literal. long_suffix: integers may end in L, as Python 2 wrote them.
 * name is for the sentence that says where something else is. The caller frees the literal. */
literal *literal_read(const char *name, const char *text, size_t length, bool long_suffix);
void literal_free(literal *value);

/* Whether a literal is that string. */
bool literal_is(const literal *value, const char *text);

#endif
