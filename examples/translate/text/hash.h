/* SPDX-License-Identifier: BSD-3-Clause
 *
 * hash.h: FNV-1a (Fowler, Noll and Vo), of bytes and of whole numbers, begun with HASH_BEGIN or any other number. */
#ifndef TRANSLATE_HASH_H
#define TRANSLATE_HASH_H

#include <stdint.h>

#define HASH_BEGIN UINT64_C(0xcbf29ce484222325)

static inline uint64_t hash_number(uint64_t hash, uint64_t number)
{
    return (hash ^ number) * UINT64_C(0x100000001b3);
}

static inline uint64_t hash_text(uint64_t hash, const char *text)
{
    for (; *text != '\0'; text++) hash = hash_number(hash, (unsigned char)*text);
    return hash;
}

/* Words, each with a space behind it. */
static inline uint64_t hash_words(uint64_t hash, char *const *words, int count)
{
    for (int i = 0; i < count; i++) hash = hash_number(hash_text(hash, words[i]), ' ');
    return hash;
}

#endif
