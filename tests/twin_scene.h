/* SPDX-License-Identifier: BSD-3-Clause
 *
 * twin_scene.h: one random problem as the twin sees it and as the library does, for the tests that compare the two: any
 * score, any modifiers, any layouts.
 */
#ifndef ATTN_TESTS_TWIN_SCENE_H
#define ATTN_TESTS_TWIN_SCENE_H

#include "reference/twin.h"
#include "support.h"

/* Modifiers, one bit each. */
enum {
    HAS_SCALE = 1,
    HAS_SOFTCAP = 2,
    HAS_BIAS = 4,
    HAS_ALIBI = 8,
    HAS_MASK = 16,
    HAS_LENGTHS = 32,
    HAS_CAUSAL = 64,
    HAS_WINDOW = 128,
    HAS_TEMPERATURE = 256,
    HAS_DROPOUT = 512,
    HAS_LOCAL = 1024,
    HAS_RELATIVE = 2048,
    HAS_HARDMAX = 4096,
    HAS_SINKS = 8192, /* not by hardmax */
    HAS_MODIFIERS = 14
};

/* What a result may be off by, in units of epsilon times its magnitude; twin.c derives it. */
enum { SCENE_FACTOR = 16, SCENE_PARAMS = 7 };

struct scene_shape {
    int64_t batch, query_heads, key_heads, queries, keys, dim;
};

struct scene {
    /* Set before scene_create. */
    enum twin_score score;
    attn_dtype dtype;
    struct rng rng; /* what is random below follows from it */
    unsigned modifiers, layout;
    bool may_be_fast;  /* the precision is drawn, and what fast may change is in the magnitudes of want */
    bool without_twin; /* want is left empty: for problems that nobody compares with it */

    struct twin_problem twin;
    struct twin_result want;
    struct array query, key, value, mask, bias, lengths, slopes, sinks, table;
    struct array params[SCENE_PARAMS];
    const char *param_names[SCENE_PARAMS];
    int param_count;
    attn_mechanism *mechanism; /* of the engine of the test program */
    attn_forward_args args;    /* without outputs */
    void *owned[48];
    int owned_count;
};

/* Draws whatever the shape leaves open, builds the problem, runs the twin. */
void scene_create(struct scene *scene, const struct scene_shape *shape);
void scene_destroy(struct scene *scene);

/* The type of a parameter or of its gradient: drawn where there is a choice. */
attn_dtype scene_param_dtype(struct scene *scene);

/* The sum over keys of a weight times how far its value lies from the context, in element d of row `row`. */
double scene_spread(const struct twin_problem *twin, const struct twin_result *want, int64_t row, int64_t d);

/* Adds to the magnitudes of contexts what fast precision may change of them where all is bfloat16: a weight by 2^-8 of
 * itself, and so the sum that all are divided by. */
void scene_allow_rounded_weights(const struct twin_problem *twin, struct twin_result *want);

/* A small shape. */
struct scene_shape scene_any_shape(struct rng *rng);

extern const char *const scene_score_names[];

#endif
