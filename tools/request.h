/* SPDX-License-Identifier: BSD-3-Clause
 *
 * request.h: the command line of attn run: which of the library's calls it asks for, and what its options say. Options
 * are looked up by their names; what an option takes is said once, where it is looked up.
 */
#ifndef ATTN_TOOLS_REQUEST_H
#define ATTN_TOOLS_REQUEST_H

#include "options.h"
#include "parameters.h"

#include <attn/attn.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct request request;

/* An option that is given once at most. Lists of them end with one without a name. */
typedef struct request_option {
    const char *name;
    const char *needs; /* another option, without which it means nothing; or NULL */
    bool flag;         /* it has no value */
} request_option;

/* A call of the library that attn run can make. A new one is a file that defines one of these. */
typedef struct run_call {
    const char *selector;                 /* the option that asks for it; NULL: it is meant without any */
    const request_option *const *options; /* lists, up to a NULL. "param" is the option that may be repeated */
    void (*run)(request *r, attn_engine *engine);
} run_call;

typedef struct request_given {
    const char *value;  /* NULL: not given; "" for a flag */
    attn_tensor tensor; /* what request_tensor has read; dtype 0 before */
} request_given;

struct request {
    const run_call *call;
    struct option *options; /* of all calls, as getopt wants them */
    request_given *given;   /* as many */
    parameters params;
    attn_dtype u2; /* what arrays of u2 hold the bits of; 0: they are refused */
};

/* Reads the command line, and what --param names. The first of the calls is the one without a selector; a NULL
 * ends them. */
request request_parse(int argc, char **argv, const run_call *const *calls);

void request_free(request *r);

/* The value of an option; NULL where it was not given. */
const char *request_get(const request *r, const char *option);

/* Which option asked for the call, for sentences: "--heads"; "attn run" where none did. */
const char *request_subject(const request *r);

/* The value of an option that the call cannot do without. */
const char *request_need(const request *r, const char *option, const char *form);

/* Whether any of the options was given; the list ends with a NULL. */
bool request_any(const request *r, const char *const *options);

/* The value of an option in *value, which stays what it was where the option was not given; whether it was. */
bool request_number(const request *r, const char *option, double *value);
bool request_integer(const request *r, const char *option, int64_t *value);
bool request_unsigned(const request *r, const char *option, uint64_t *value);
bool request_word(const request *r, const char *option, const option_word *words, int32_t *value);

/* Likewise for WORD=FILE, which form spells out; the option's value is the file alone from then on. */
bool request_tagged(request *r, const char *option, const char *form, const option_word *words, int32_t *value);

/* The tensor in the file that an option names, read once; NULL where it was not given. */
const attn_tensor *request_tensor(request *r, const char *option);

/* Lets an output that was not asked for go to standard output, which must be no terminal. */
void request_to_standard_output(request *r, const char *option);

#endif
