/* SPDX-License-Identifier: BSD-3-Clause
 *
 * support.h: what every test program shares: a seeded generator, arrays that own memory and show it through an
 * attn_tensor of any layout, the one comparator of numbers, MUST for calls that may not fail, and two
 * fixtures: a mechanism and the arguments of a call.
 */
#ifndef ATTN_TESTS_SUPPORT_H
#define ATTN_TESTS_SUPPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "attn/attn.h"

/* ------------------------------------------------------------------------------------------- generator */

/* splitmix64: any seed will do, and the same seed gives the same numbers everywhere. */
struct rng {
    uint64_t state;
};

uint64_t rng_bits(struct rng *rng);
double rng_uniform(struct rng *rng, double low, double high);
double rng_normal(struct rng *rng);
int64_t rng_integer(struct rng *rng, int64_t low, int64_t high); /* low .. high, both included */
bool rng_chance(struct rng *rng, double probability);
void rng_shuffle(struct rng *rng, int64_t *items, int64_t count);

/* ---------------------------------------------------------------------------------------------- arrays */

/* What array_create may do to the strides; each that is allowed is drawn by a coin. */
enum {
    LAYOUT_PLAIN = 0,     /* contiguous, row-major */
    LAYOUT_PERMUTED = 1,  /* dimensions in any order in memory: [B, T, H, D], transposed last two, ... */
    LAYOUT_PADDED = 2,    /* gaps between rows, and between elements */
    LAYOUT_REVERSED = 4,  /* negative strides */
    LAYOUT_BROADCAST = 8, /* strides of 0: for inputs only */
    LAYOUT_OUTPUT = 7,
    LAYOUT_INPUT = 15
};

struct array {
    attn_tensor tensor;
    unsigned char *memory; /* owned: guards and gaps, filled with a pattern, and the elements among them */
    size_t bytes;
};

/* Creates an array whose every byte holds the guard pattern. rng may be NULL for LAYOUT_PLAIN. */
void array_create(struct array *array, attn_dtype dtype, int32_t ndim, const int64_t *shape, unsigned layout,
                  struct rng *rng);
void array_destroy(struct array *array);

/* Takes away leading dimensions of 1 from the view, each by a coin, down to one dimension. */
void array_lower_rank(struct array *array, struct rng *rng);

/* Elements are numbered in row-major order of the shape, whatever the strides. */
int64_t array_count(const struct array *array);
double array_get(const struct array *array, int64_t index);
void array_set(struct array *array, int64_t index, double value);

/* The elements as doubles, in a new block that the caller frees; and back. */
double *array_read(const struct array *array);
void array_write(struct array *array, const double *values);
void array_fill(struct array *array, double value);
void array_fill_normal(struct array *array, struct rng *rng, double deviation);

/* Moves column j of the last of four dimensions, or row j of the last but one, to order[j]. */
void array_permute(struct array *array, const int64_t *order, bool by_row);

/* True if every byte outside the elements still holds the guard pattern. */
bool array_gaps_intact(const struct array *array);

/* True if two arrays of one shape and dtype hold the same bits in elements first .. first + count - 1. */
bool array_same_bits(const struct array *a, const struct array *b, int64_t first, int64_t count);

void *must_allocate(size_t bytes); /* malloc that ends the program instead of returning NULL */

/* ------------------------------------------------------------------------------------------ comparator */

/* The unit in which a dtype's errors are counted: the distance from 1 to the next number. */
double dtype_epsilon(attn_dtype dtype);

/* What numbers of a dtype are computed in; and the half step of one of 16 bits about x, which storing it may err by: 0
 * for others. */
attn_dtype dtype_computed(attn_dtype dtype);
const char *dtype_name(attn_dtype dtype); /* "f32" */
double dtype_half_step(attn_dtype dtype, double x);

struct worst {
    double ratio;  /* the largest |got - want| / (epsilon * magnitude); infinite if a NaN or an infinity differs */
    int64_t index; /* where, or -1 */
    double got, want;
};

/* Compares every element of got. magnitude holds one bound per element, in units of epsilon times the number it
 * bounds; NULL stands for 1 + |want|; an infinite one accepts any finite number. A result in the subnormal range may
 * be flushed to zero: that is not counted. NaN must meet NaN, and an infinity the same infinity. */
struct worst compare(const struct array *got, const double *want, const double *magnitude);

/* Fails the test unless compare's ratio is at most bound; returns the ratio. */
double assert_close(const struct array *got, const double *want, const double *magnitude, double bound,
                    const char *what);

/* Fails the test with attn_last_error() unless the expression is ATTN_OK. */
#define MUST(expression) must((expression), #expression, __FILE__, __LINE__)
void must(attn_status status, const char *expression, const char *file, int line);

/* -------------------------------------------------------------------------------------------- fixtures */

/* A mechanism in float64 with parameters of odd layouts, whose numbers depend on the kind alone. */
enum rule_kind { RULE_DOT, RULE_SCALED_DOT, RULE_GENERAL, RULE_ADDITIVE, RULE_CONCAT, RULE_LOCATION, RULE_KINDS };

struct rule {
    attn_mechanism *mechanism;
    struct array W, U, v; /* those that the kind has */
};

void rule_create(struct rule *rule, attn_engine *engine, enum rule_kind kind, int64_t query_dim, int64_t key_dim);
void rule_destroy(struct rule *rule);

/* Contiguous float64 tensors of one call: normal query, key and value; mask, bias and key_lengths that let everything
 * be seen, and are not among the arguments at first; all four outputs, scores at the masked stage. */
struct dims {
    int64_t batch, query_heads, key_heads, queries, keys, dim, value_dim;
};

struct fixture {
    struct dims n;
    struct array query, key, value, mask, bias, lengths, context, weights, scores, logsumexp;
    attn_forward_args args;
};

void fixture_create(struct fixture *fixture, const struct dims *n, uint64_t seed);
void fixture_destroy(struct fixture *fixture);

/* Passes a mask that lets most keys be seen, the same one every time. */
void fixture_mask_at_random(struct fixture *fixture);

/* Hides keys first .. Tk - 1 of every query, in place of what was hidden before. By window and by causal is up to the
 * test: nothing is hidden then. */
enum blocker { BY_MASK, BY_LENGTH, BY_BIAS, BY_WINDOW, BY_CAUSAL, BLOCKERS };
void fixture_hide(struct fixture *fixture, enum blocker way, int64_t first);

/* Value coordinate d of key j, as the query of this row (of B Hq Tq) sees it. */
double fixture_value(const struct fixture *fixture, int64_t row, int64_t j, int64_t d);

/* Puts a number into every dimension of key j, or of its value, of all sequences and heads. */
void array_poison(struct array *array, int64_t j, double number);

/* All four outputs have the same bits in the first rows; or are within 128 epsilon (1 + |want|), which two ways of
 * computing one thing may differ by; and the latter for one array. */
void assert_same_bits(const struct fixture *a, const struct fixture *b, int64_t rows);
void assert_alike(const struct fixture *got, const struct fixture *want);
void assert_near(const struct array *got, const struct array *want, const char *what);

/* The engine of a test program, all defaults: setup and teardown of its group of tests. */
extern attn_engine *engine;
int engine_setup(void **state);
int engine_teardown(void **state);

/* True if the environment says that the program runs under an emulator (ATTN_TEST_EMULATED): ten times slower and more,
 * and at a loss with a fork among threads. */
bool emulated(void);

/* True if the environment wants the program to have one CPU of those that it may use (ATTN_TEST_LONE_CPU): then an
 * engine of any way leaves products with parameters to a BLAS of one thread. */
bool on_a_lone_cpu(void);

/* True if a share of the cases will do: under an emulator, and where another run takes all (ATTN_TEST_FEWER). */
bool few_cases(void);

#endif
