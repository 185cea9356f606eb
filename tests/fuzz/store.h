/* SPDX-License-Identifier: BSD-3-Clause
 *
 * store.h: problems of numbers that are stored in 16 bits, and of keys and values in 8.
 */
#ifndef ATTN_TESTS_FUZZ_STORE_H
#define ATTN_TESTS_FUZZ_STORE_H

#include "problem.h"

/* What the choice stands for: the type of queries, and whether keys and values are integers with scales. */
struct stored {
    attn_dtype dtype;
    bool has_integers;
};
struct stored stored_of(unsigned choice); /* 0: of dtype 0, which is none */

/* Makes the problem one of these types. Its numbers become those that the new arrays hold, for the twin too: what is
 * judged is arithmetic. What would round to an infinity becomes the greatest number; parameters are of the type, or of
 * what is computed in. */
void problem_store(struct problem *problem, struct bytes *bytes, struct stored stored);

/* One row of numbers as a memory keeps it in 8 bits: what its integers stand for, in place of it. */
void quantise_row(double *row, int64_t width);

/* Adds to magnitudes what fast precision may change: weights are rounded, or they and queries become whole numbers.
 * Nothing where there is none of this. */
void allow_fast(const struct problem *problem, const struct twin_problem *twin, struct twin_result *want);

#endif
