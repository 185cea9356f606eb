/* SPDX-License-Identifier: BSD-3-Clause
 *
 * accuracy.h: how many translations are right, and what becomes of all measures as sentences get longer, the question
 * of Bahdanau, Cho and Bengio (2014, Figure 2). */
#ifndef TRANSLATE_ACCURACY_H
#define TRANSLATE_ACCURACY_H

#include "measure/alignment_error.h"
#include "measure/bleu.h"

#include <stddef.h>

/* Sums over sentences; to begin with, all zeros. */
typedef struct accuracy {
    size_t sentences, exact;     /* exact: the hypothesis is the reference, token by token */
    size_t tokens, right_tokens; /* of the references; right: the hypothesis has the same token at the same place */
} accuracy;

void accuracy_add(accuracy *sums, char *const *hypothesis, int hypothesis_count, char *const *reference,
                  int reference_count);

/* Shares, 0 to 1; NaN of nothing. Tokens of a hypothesis behind the reference's end count only in accuracy_exact: the
 * share of tokens says how much of the reference was reproduced in place, so that one token left out spoils all behind.
 */
double accuracy_exact(const accuracy *sums);
double accuracy_tokens(const accuracy *sums);

/* Sentences of 1-10, 11-20, ..., 51-60 source tokens, and longer ones. */
enum { LENGTH_BUCKETS = 7, LENGTH_STEP = 10 };

typedef struct length_bucket {
    accuracy right;
    bleu overlap;
    alignment_error alignment; /* the caller's to add to, where there are weights and known links */
} length_bucket;

typedef struct length_table {
    length_bucket buckets[LENGTH_BUCKETS];
} length_table;

/* The bucket for sentences of so many source tokens (those of none are in the first), and its name: "11-20", "61+". */
int length_bucket_of(int source_count);
const char *length_bucket_name(int bucket);

/* Adds a sentence to its bucket, and returns this, for alignment_error_add_weights(&bucket->alignment, ...). */
length_bucket *length_table_add(length_table *table, int source_count, char *const *hypothesis, int hypothesis_count,
                                char *const *reference, int reference_count);

/* All buckets in one. BLEU is no mean of the buckets' scores: it is computed from the sums. */
length_bucket length_table_total(const length_table *table);

#endif
