/* SPDX-License-Identifier: BSD-3-Clause
 *
 * twin_parts.h: what the twin and its gradient share: memory, compensated sums, and the parts that a score is made of.
 */
#ifndef ATTN_TESTS_TWIN_PARTS_H
#define ATTN_TESTS_TWIN_PARTS_H

#include "reference/twin.h"

/* Zeros, or the end of the program. */
double *twin_numbers(int64_t count);

/* A sum that keeps what each addition rounds off (Knuth's two-sum). */
struct twin_sum {
    double value, rest;
};

static inline void twin_sum_add(struct twin_sum *sum, double term)
{
    double next = sum->value + term;
    double added = next - sum->value;
    sum->rest += (sum->value - (next - added)) + (term - added);
    sum->value = next;
}

double twin_sum_total(struct twin_sum sum);

/* Rows of what stands on one side of a score, after its projection, and the magnitude of each number. */
struct twin_side {
    double *value, *magnitude;
    int64_t width;
};

/* The two sides of one head's scores. There is no right one for location. */
void twin_sides(const struct twin_problem *p, const double *query, const double *key, struct twin_side *left,
                struct twin_side *right);
void twin_side_free(struct twin_side *side);

/* The effective v of additive and concat: v, or g v / |v|. The caller frees it. */
double *twin_score_vector(const struct twin_problem *p);

double twin_scale(const struct twin_problem *p);

/* The place in the table of what is added to the score of key j and query i of head h, sequence b. */
int64_t twin_table_place(const struct twin_problem *p, int64_t b, int64_t h, int64_t i, int64_t j);

/* The aligned position of query i of head h (row `row` of all), sequence b, for local attention. */
double twin_centre(const struct twin_problem *p, int64_t b, int64_t i, int64_t row);

/* The magnitude of that, where it is predicted. */
double twin_centre_bound(const struct twin_problem *p, int64_t b, int64_t row);

/* exp(-(j - centre)^2 / (2 sigma^2)), or 1 where attention does not predict. */
double twin_gaussian(const struct twin_problem *p, double centre, int64_t j);

/* What dropout multiplies weight j of row `row` (of all batch x query_heads x queries) by: 0 where it drops it. */
double twin_keep(const struct twin_problem *p, int64_t row, int64_t j);

/* Where query i of sequence b stands among the keys. */
int64_t twin_position(const struct twin_problem *p, int64_t b, int64_t i, enum twin_align align);

#endif
