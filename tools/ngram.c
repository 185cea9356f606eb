/* SPDX-License-Identifier: BSD-3-Clause
 *
 * ngram.c: hashed character n-grams. A word is lower-cased, loses its accents and gets boundary marks, "économique" is
 * "<economique>"; each of its runs of 2, 3 and 4 characters, and the whole, adds 1 or -1 to one of dim components,
 * both chosen by a hash (feature hashing: Weinberger et al. 2009, eq. 2; the sign keeps collisions from adding up).
 */
#include "ngram.h"

#include "fail.h"

#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unicase.h>
#include <unictype.h>
#include <uninorm.h>
#include <unistr.h>

enum { SHORTEST = 2, LONGEST = 4 };

/* "<word>" lower-cased and without accents, one element for each character. */
static uint32_t *fold(const char *word, size_t *count)
{
    size_t bytes, characters;
    uint8_t *lower = u8_tolower((const uint8_t *)word, strlen(word), NULL, UNINORM_NFD, NULL, &bytes);
    uint32_t *folded = lower == NULL ? NULL : u8_to_u32(lower, bytes, NULL, &characters);
    if (folded == NULL) fail("cannot fold the word '%s': %s", word, strerror(errno));
    free(lower);
    folded = reallocate(folded, characters + 2, sizeof *folded);
    memmove(folded + 1, folded, characters * sizeof *folded);
    size_t kept = 0;
    folded[kept++] = '<';
    for (size_t i = 1; i <= characters; ++i) {
        if (!uc_is_general_category_withtable(folded[i], UC_CATEGORY_MASK_Mn)) folded[kept++] = folded[i];
    }
    folded[kept++] = '>';
    *count = kept;
    return folded;
}

/* FNV-1a over the code points, byte by byte so that the value is the same on every machine; kind tells equal
 * characters of different meaning apart. */
static uint64_t hash(const uint32_t *characters, size_t count, unsigned char kind)
{
    const uint64_t prime = UINT64_C(0x100000001b3);
    uint64_t h = (UINT64_C(0xcbf29ce484222325) ^ kind) * prime;
    for (size_t i = 0; i < count; ++i) {
        for (int shift = 0; shift < 32; shift += 8) h = (h ^ (characters[i] >> shift & 0xff)) * prime;
    }
    /* FNV's high bits are the better mixed; fold them onto the low ones that choose the component. */
    return h ^ h >> 32;
}

static void count_in(uint64_t h, float *vector, size_t dim)
{
    size_t component = (h & UINT32_MAX) % dim; /* NOLINT(clang-analyzer-core.DivideZero): dim is at least 1 */
    vector[component] += (h >> 63) != 0 ? 1.0F : -1.0F;
}

void ngram_embed(const char *word, float *vector, size_t dim)
{
    enum { PART, WHOLE };
    size_t count;
    uint32_t *characters = fold(word, &count);
    for (size_t i = 0; i < dim; ++i) vector[i] = 0;
    for (size_t n = SHORTEST; n <= LONGEST; ++n) {
        for (size_t i = 0; i + n <= count; ++i) count_in(hash(characters + i, n, PART), vector, dim);
    }
    count_in(hash(characters, count, WHOLE), vector, dim);
    free(characters);

    double squares = 0;
    for (size_t i = 0; i < dim; ++i) squares += (double)vector[i] * (double)vector[i];
    if (squares == 0) return; /* every component cancelled: the word is like no other */
    float inverse = (float)(1 / sqrt(squares));
    for (size_t i = 0; i < dim; ++i) vector[i] *= inverse;
}
