/* SPDX-License-Identifier: BSD-3-Clause
 *
 * seen.h: what there has been already, by hashes of 64 bits: two things are taken for one by mistake once in millions
 * of sets. */
#ifndef TRANSLATE_SEEN_H
#define TRANSLATE_SEEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct seen {
    uint64_t *hashes; /* 0: free */
    size_t mask;
} seen;

/* Room for so many things. */
seen seen_begin(size_t most);

/* Whether it is new; from now on it is not. */
bool seen_add(seen *s, uint64_t hash);
void seen_free(seen *s);

#endif
