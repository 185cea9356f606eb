/* SPDX-License-Identifier: BSD-3-Clause
 *
 * multihead.h: attention of several heads with its projections (Vaswani 2017, section 3.2.2), by libattn. All is
 * batch-major: [rows, length, states]. */
#ifndef TRANSLATE_MULTIHEAD_H
#define TRANSLATE_MULTIHEAD_H

#include "model/pass.h"

#include <stdbool.h>

enum { MULTIHEAD_PARAMETERS_MOST = 8 };

typedef struct multihead {
    attn_multihead *layer; /* NULL: there is none */
    const attn_mechanism *mechanism;
    int states, heads;
    int count; /* of the layer's parameters, in its order */
    const parameter *of[MULTIHEAD_PARAMETERS_MOST];
} multihead;

/* A layer around a mechanism, whose parameters are "name.W_o" and so on: of self-attention, the projections packed as
 * one, or of attention to something else. */
multihead multihead_create(parameter_set *set, const attn_mechanism *mechanism, int states, int heads, bool self,
                           const char *name);

/* Binds the parameters, once they have values. */
void multihead_bind(multihead *a, const parameter_set *set);
void multihead_free(multihead *a);

/* What a call is about, and what is kept for the way back. All is borrowed. */
typedef struct multihead_walk {
    int rows, queries, keys; /* keys: their length, with those that a memory has already */
    const real *query;       /* [rows, queries, states] */
    const real *key;         /* [rows, keys, states]; NULL: the queries, or what the memory has */
    const int *lengths;      /* [rows], of the keys; NULL: none is padding */
    attn_memory *memory;     /* takes the projected keys in, or NULL */
    bool recalls;            /* the memory has all of the keys, and takes in nothing */
    real *weights;           /* out [rows, heads, queries, keys], or NULL */
    unsigned char *saved;
    size_t saved_size;
} multihead_walk;

/* output [rows, queries, states]. */
void multihead_forward(pass *p, const multihead *a, multihead_walk *walk, real *output);

/* d_query += , d_key += (NULL where there is no key), and the parameters' gradients; without a memory. */
void multihead_backward(pass *p, const multihead *a, const multihead_walk *walk, const real *d_output, real *d_query,
                        real *d_key);

/* An empty memory of the projected keys and values of so many rows. Fixed: it will not have more than the capacity. */
attn_memory *multihead_memory(const multihead *a, int rows, int capacity, bool fixed);

#endif
