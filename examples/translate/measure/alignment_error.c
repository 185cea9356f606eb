/* SPDX-License-Identifier: BSD-3-Clause
 *
 * alignment_error.c: see alignment_error.h. */
#include "measure/alignment_error.h"

#include "refuse.h"

#include <math.h>
#include <stdlib.h>

void strongest_sources(const double *weights, int target_count, int source_count, int *strongest)
{
    for (int target = 0; target < target_count; target++) {
        const double *row = weights + (size_t)target * (size_t)source_count;
        int best = -1;
        for (int source = 0; source < source_count; source++) {
            if (!isnan(row[source]) && (best < 0 || row[source] > row[best])) best = source;
        }
        strongest[target] = best;
    }
}

bool alignment_error_add(alignment_error *sums, const int *sources, int target_count, const pair_link *links,
                         int link_count)
{
    if (link_count == 0) {
        sums->sentences_left_out++;
        return false;
    }
    sums->sentences++;
    for (int target = 0; target < target_count; target++) sums->found += sources[target] >= 0;
    for (int i = 0; i < link_count; i++) {
        const bool found = links[i].target < target_count && sources[links[i].target] == links[i].source;
        sums->sure += links[i].sure;
        sums->found_sure += found && links[i].sure;
        sums->found_possible += found;
    }
    return true;
}

bool alignment_error_add_weights(alignment_error *sums, const double *weights, int target_count, int source_count,
                                 const pair_link *links, int link_count)
{
    int *sources = allocate((size_t)target_count, sizeof(int));
    strongest_sources(weights, target_count, source_count, sources);
    const bool added = alignment_error_add(sums, sources, target_count, links, link_count);
    free(sources);
    return added;
}

void alignment_error_add_sums(alignment_error *sums, const alignment_error *more)
{
    sums->found += more->found;
    sums->sure += more->sure;
    sums->found_sure += more->found_sure;
    sums->found_possible += more->found_possible;
    sums->sentences += more->sentences;
    sums->sentences_left_out += more->sentences_left_out;
}

static double share(size_t part, size_t whole)
{
    return whole > 0 ? (double)part / (double)whole : (double)NAN;
}

double alignment_error_rate(const alignment_error *sums)
{
    return 1 - share(sums->found_sure + sums->found_possible, sums->found + sums->sure);
}

double alignment_precision(const alignment_error *sums)
{
    return share(sums->found_possible, sums->found);
}

double alignment_recall(const alignment_error *sums)
{
    return share(sums->found_sure, sums->sure);
}
