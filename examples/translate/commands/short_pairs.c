/* SPDX-License-Identifier: BSD-3-Clause
 *
 * short_pairs.c: see short_pairs.h. */
#include "commands/short_pairs.h"

#include "refuse.h"

pair_list short_pairs_read(const char *path, int most, bool quiet)
{
    pair_list all = {0}, kept = {0};
    pair_list_read(&all, path);
    for (size_t i = 0; i < all.count; i++) {
        sentence_pair *pair = &all.pairs[i];
        if (pair->source_count <= most && pair->target_count <= most) pair_list_take(&kept, pair);
    }
    if (kept.count < all.count && !quiet) {
        fprintf(stderr, "%zu of %zu sentences of %s are longer than %d words and left out\n", all.count - kept.count,
                all.count, path, most);
    }
    if (kept.count == 0) refuse("%s has no sentence of at most %d words", path, most);
    pair_list_free(&all);
    return kept;
}
