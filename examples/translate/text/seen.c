/* SPDX-License-Identifier: BSD-3-Clause
 *
 * seen.c: see seen.h. Open addressing, at most half full. */
#include "text/seen.h"

#include "refuse.h"

#include <stdlib.h>

seen seen_begin(size_t most)
{
    seen s = {.mask = 1023};
    while (s.mask < 2 * most) s.mask = 2 * s.mask + 1;
    s.hashes = allocate_zeros(s.mask + 1, sizeof *s.hashes);
    return s;
}

bool seen_add(seen *s, uint64_t hash)
{
    if (hash == 0) hash = 1;
    size_t slot = (size_t)(hash ^ (hash >> 32)) & s->mask;
    while (s->hashes[slot] != 0 && s->hashes[slot] != hash) slot = (slot + 1) & s->mask;
    if (s->hashes[slot] == hash) return false;
    s->hashes[slot] = hash;
    return true;
}

void seen_free(seen *s)
{
    free(s->hashes);
    *s = (seen){0};
}
