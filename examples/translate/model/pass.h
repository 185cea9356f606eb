/* SPDX-License-Identifier: BSD-3-Clause
 *
 * pass.h: one walk through a model, forward and maybe back, on one thread: where its numbers lie, whose parameters it
 * reads, and where gradients are summed. */
#ifndef TRANSLATE_PASS_H
#define TRANSLATE_PASS_H

#include "model/parameters.h"

typedef struct pass_block pass_block;

typedef struct pass {
    const real *value;    /* of the parameters */
    real *gradient;       /* added to; NULL: nothing goes back */
    double dropout;       /* 0: none, as when a model is used */
    random_stream chance; /* of what is dropped */
    pass_block *block;    /* memory that all of the pass's arrays are cut from, kept for the next */
    unsigned char *scratch;
    size_t scratch_size;
} pass;

/* Arrays that live until the next pass_restart, aligned to 64 bytes; zeros where the name says so. */
real *pass_reals(pass *p, size_t count);
real *pass_zeros(pass *p, size_t count);
int *pass_ints(pass *p, size_t count);
unsigned char *pass_bytes(pass *p, size_t count);

/* Bytes for a call to work in: they are another's from the next time on that this is asked. */
unsigned char *pass_scratch(pass *p, size_t count);

/* Forgets the arrays, keeps their memory; and gives the memory back. */
void pass_restart(pass *p);
void pass_free(pass *p);

static inline const real *pass_value(const pass *p, const parameter *of)
{
    return p->value + of->offset;
}

static inline real *pass_gradient(const pass *p, const parameter *of)
{
    return p->gradient + of->offset;
}

#endif
