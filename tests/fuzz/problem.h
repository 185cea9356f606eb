/* SPDX-License-Identifier: BSD-3-Clause
 *
 * problem.h: a mechanism and its inputs from bytes, as the twin sees them and as the library does: any score, any
 * modifiers, any layout, numbers of any kind. The parts are those of a scene (twin_scene.h), so that what is told of
 * gradients there (backward_scene.h) holds here.
 */
#ifndef ATTN_TESTS_FUZZ_PROBLEM_H
#define ATTN_TESTS_FUZZ_PROBLEM_H

#include "fuzz.h"
#include "twin_scene.h"

/* What the numbers are like. Up to IN_REACH - 1 the twin's bounds hold; past that, only what is promised of any. */
enum numbers {
    NUMBERS_NORMAL,
    NUMBERS_INTEGERS, /* -2 .. 2: ties, and exact sums */
    NUMBERS_SPARSE,   /* mostly 0 */
    NUMBERS_SMALL,    /* queries, keys and parameters of one power of ten, down to 1e-8 */
    NUMBERS_PEAKED,   /* scores so great that a few keys have all the weight */
    NUMBERS_IN_REACH,
    NUMBERS_FAR_BIAS = NUMBERS_IN_REACH, /* biases up to the end of float32 */
    NUMBERS_FAR_VALUES,                  /* values likewise */
    NUMBERS_SUBNORMAL,
    NUMBERS_SPECIAL, /* infinities and NaNs among them */
    NUMBERS_KINDS
};

struct problem {
    struct scene scene;
    enum numbers numbers;
    unsigned additive_flags;
    int64_t location_rows;
    int64_t shape[4], context_shape[4]; /* of the scores and of the context */
    bool is_stored;                     /* numbers are of types that are not computed in (store.h) */
    bool has_integers;                  /* keys and values are: of 8 bits, with scales */
    struct array key_scales, value_scales;
    attn_precision precision; /* of its mechanisms */
    attn_mechanism *mechanisms[FUZZ_ENGINES];
};

void problem_create(struct problem *problem, struct bytes *bytes);

/* The mechanism alone, for inputs of this shape, keys being the most that there will be; no mask, bias or lengths; with
 * numbers that the twin reaches. */
void problem_create_rule(struct problem *problem, struct bytes *bytes, const struct twin_problem *shape);

/* One number of an input whose like are `deviation` great, times `small` where the problem's are small. */
double problem_number(struct problem *problem, double deviation, double small);
void problem_destroy(struct problem *problem);

/* The mechanism on an engine, made when it is first asked for. */
attn_mechanism *problem_mechanism(struct problem *problem, enum fuzz_engine which);

/* The same problem, by mechanisms of fast precision from now on, in layouts that these are for. */
void problem_make_fast(struct problem *problem);

/* What broadcasts to the scores, in their shape; the caller frees it. */
double *problem_expand(const struct array *array, const int64_t *full);

/* Has the block freed with the problem. */
void *problem_own(struct problem *problem, void *block);

/* Runs the twin, into scene.want, once. */
void problem_run_twin(struct problem *problem);

/* True if the twin's bounds on rounding hold. */
bool problem_in_reach(const struct problem *problem);

/* True if no input holds an infinity or a NaN. */
bool problem_is_finite(const struct problem *problem);

#endif
