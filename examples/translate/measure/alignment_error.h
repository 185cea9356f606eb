/* SPDX-License-Identifier: BSD-3-Clause
 *
 * alignment_error.h: how well links between tokens agree with those that are known (Och and Ney 2003, section 6). A are
 * the links found, S the sure and P the possible ones, each sure one being possible too:
 *
 *     precision = |A ∩ P| / |A|,    recall = |A ∩ S| / |S|,    AER = 1 - (|A ∩ S| + |A ∩ P|) / (|A| + |S|)
 *
 * the counts being sums over all sentences. A target token that has no known link counts as the definition has it: a
 * link found for it is in A, not in P, and so spoils precision. A sentence without any known link tells nothing of who
 * was right, and is left out. */
#ifndef TRANSLATE_ALIGNMENT_ERROR_H
#define TRANSLATE_ALIGNMENT_ERROR_H

#include "text/pair.h"

#include <stdbool.h>
#include <stddef.h>

/* Sums over the sentences; to begin with, all zeros. */
typedef struct alignment_error {
    size_t found, sure;                   /* |A|, |S| */
    size_t found_sure, found_possible;    /* |A ∩ S|, |A ∩ P| */
    size_t sentences, sentences_left_out; /* counted; without any known link */
} alignment_error;

/* strongest[target_count]: for each target token the source token with the greatest weight, as Luong, Pham and Manning
 * extract alignments (2015, section 5.4); the first of equal ones, -1 where there is none that is a number. weights is
 * [target_count][source_count], row after row, without the end of either sentence. */
void strongest_sources(const double *weights, int target_count, int source_count, int *strongest);

/* Adds a sentence: sources[target] is the source token that was found for it, -1 for none. False if it was left out. */
bool alignment_error_add(alignment_error *sums, const int *sources, int target_count, const pair_link *links,
                         int link_count);

/* The same of the strongest sources of these weights. */
bool alignment_error_add_weights(alignment_error *sums, const double *weights, int target_count, int source_count,
                                 const pair_link *links, int link_count);
void alignment_error_add_sums(alignment_error *sums, const alignment_error *more);

/* 0 to 1; NaN where nothing was counted that it could be a share of. */
double alignment_error_rate(const alignment_error *sums);
double alignment_precision(const alignment_error *sums);
double alignment_recall(const alignment_error *sums);

#endif
