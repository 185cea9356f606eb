/* SPDX-License-Identifier: BSD-3-Clause
 *
 * handles/mechanism.h: what a mechanism is made of: a score function, its parameters, the modifiers. */
#ifndef ATTN_I_HANDLES_MECHANISM_H
#define ATTN_I_HANDLES_MECHANISM_H

#include "attn/attn.h"
#include "handles/param.h"

#include <stdatomic.h>

typedef struct attn_i_modifiers {
    int has_scale; /* 0: the score function's own */
    double scale;
    double softcap; /* 0: none */
    double temperature;
    attn_normaliser normaliser;
    attn_precision precision;
    attn_align causal, window, alibi;
    attn_relative relative;
    attn_align relative_align;
    int64_t max_distance;
    attn_dtype table_dtype;
    attn_i_view table; /* of relative biases, [1, 1, Hq or 1, n] */
    attn_local local;
    int64_t half_width;  /* of local attention */
    int64_t left, right; /* of the window; ATTN_I_UNBOUNDED at most */
    attn_dtype slopes_dtype;
    attn_i_view slopes;
    attn_i_view sinks; /* [1, 1, 1, Hq]; data NULL: none */
} attn_i_modifiers;

/* No sequence is longer and no position farther from 0; past twice that, a window has no end. Sums stay in an int64. */
#define ATTN_I_MOST_POSITIONS (INT64_C(1) << 60)
#define ATTN_I_UNBOUNDED      (INT64_C(1) << 62)

/* What a score function's mechanism is checked by; score/score.h has what it computes. */
typedef struct attn_i_rule {
    const char *name;
    int reads_keys;
    /* Whether a call's dimensions suit, beyond those that the mechanism was made for. key_dim 0: there is no key. */
    attn_status (*check)(const attn_mechanism *mechanism, int64_t query_dim, int64_t key_dim, int64_t keys);
    /* The scale when none was set. */
    double (*default_scale)(int64_t key_dim);
} attn_i_rule;

struct attn_mechanism {
    attn_engine *engine;
    atomic_int references;      /* the caller's, and one for each memory, layer and plan */
    uint64_t changes;           /* of what is below, since it was made: plans look at it */
    const attn_i_rule *rule;    /* of the score function */
    int64_t query_dim, key_dim; /* 0: any */
    int64_t hidden_dim;         /* A; for location the most keys */
    uint32_t flags;             /* ATTN_ADDITIVE_ */
    int32_t param_count;
    attn_i_param params[ATTN_I_MOST_PARAMS];
    attn_i_modifiers modifiers;
};

/* For whatever uses a mechanism beyond a call: it is there from take to drop, const or not. */
void attn_i_mechanism_take(const attn_mechanism *mechanism);
void attn_i_mechanism_drop(const attn_mechanism *mechanism);

/* For the score functions' create functions. `start` checks the arguments that all have in common and fills *m, which
 * is not yet a handle; `add` gives it a parameter of `rows` x `columns`, or of `rows` alone when columns is 0;
 * `finish` makes the handle. The first failure is kept in `status` and the rest does nothing. */
typedef struct attn_i_mechanism_maker {
    attn_mechanism mechanism;
    attn_status status;
    const char *where;
} attn_i_mechanism_maker;

attn_i_mechanism_maker attn_i_mechanism_start(const char *where, attn_engine *engine, const attn_i_rule *rule,
                                              attn_mechanism **mechanism);
void attn_i_mechanism_dim(attn_i_mechanism_maker *maker, const char *name, int64_t dim);
void attn_i_mechanism_add(attn_i_mechanism_maker *maker, const char *name, int64_t rows, int64_t columns);
attn_status attn_i_mechanism_finish(attn_i_mechanism_maker *maker, attn_mechanism **mechanism);

/* The parameter of that name, or NULL. */
const attn_i_param *attn_i_mechanism_param(const attn_mechanism *mechanism, const char *name);

#endif
