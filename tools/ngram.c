/* SPDX-License-Identifier: BSD-3-Clause
 *
 * ngram.c: sets of character n-grams. A word is lower-cased, loses its accents and gets boundary marks, "économique" is
 * "<economique>"; its set has each of its runs of 1 to 4 characters, and the whole. The cosine between two sets is what
 * they share over the geometric mean of their sizes.
 *
 * Every n-gram that both sentences have is a component of its own: nothing collides. One that only one of them has
 * would meet nothing but zeros; it counts in the length of its word's vector, and needs no component.
 */
#include "ngram.h"

#include "fail.h"
#include "npy.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unicase.h>
#include <unictype.h>
#include <uninorm.h>
#include <unistr.h>

enum { LONGEST = 4, MOST_COMPONENTS = 65536 };

/* Beyond what Unicode has, so that no word can contain them. */
enum { FIRST_MARK = 0x110000, LAST_MARK = 0x110001 };

/* A word with its marks, one element for each character. */
typedef struct spelling {
    uint32_t *characters;
    size_t count;
    size_t grams; /* different ones */
} spelling;

/* One n-gram of one word. */
typedef struct gram {
    const uint32_t *characters;
    size_t count;
    bool whole; /* a word and its mark at both ends, which is no run of its characters even where it is as short */
    size_t word;
} gram;

/* The words of both sentences, those of the first one first, and their n-grams. */
typedef struct dictionary {
    spelling *words;
    size_t word_count, first_count;
    gram *grams;
    size_t count, room;
} dictionary;

static spelling fold(const char *word)
{
    size_t bytes, characters;
    uint8_t *lower = u8_tolower((const uint8_t *)word, strlen(word), NULL, UNINORM_NFD, NULL, &bytes);
    uint32_t *folded = lower == NULL ? NULL : u8_to_u32(lower, bytes, NULL, &characters);
    if (folded == NULL) fail("cannot fold the word '%s': %s", word, strerror(errno));
    free(lower);
    folded = reallocate(folded, characters + 2, sizeof *folded);
    memmove(folded + 1, folded, characters * sizeof *folded);
    size_t kept = 0;
    folded[kept++] = FIRST_MARK;
    for (size_t i = 1; i <= characters; ++i) {
        if (!uc_is_general_category_withtable(folded[i], UC_CATEGORY_MASK_Mn)) folded[kept++] = folded[i];
    }
    folded[kept++] = LAST_MARK;
    return (spelling){.characters = folded, .count = kept};
}

static void add_gram(dictionary *d, size_t word, size_t start, size_t count, bool whole)
{
    if (d->count == d->room) {
        d->room = d->room == 0 ? 1024 : d->room * 2;
        d->grams = reallocate(d->grams, d->room, sizeof *d->grams);
    }
    d->grams[d->count++] = (gram){d->words[word].characters + start, count, whole, word};
}

static void add_word(dictionary *d, const char *text)
{
    size_t word = d->word_count++;
    d->words[word] = fold(text);
    size_t count = d->words[word].count;
    for (size_t i = 1; i + 1 < count; ++i) add_gram(d, word, i, 1, false); /* a mark alone says nothing */
    for (size_t n = 2; n <= LONGEST; ++n) {
        for (size_t i = 0; i + n <= count; ++i) add_gram(d, word, i, n, false);
    }
    add_gram(d, word, 0, count, true);
}

static int compare_grams(const gram *a, const gram *b)
{
    if (a->whole != b->whole) return a->whole ? 1 : -1;
    if (a->count != b->count) return a->count < b->count ? -1 : 1;
    return memcmp(a->characters, b->characters, a->count * sizeof *a->characters);
}

/* Equal n-grams beside each other, and those of a word too. */
static int compare(const void *left, const void *right)
{
    const gram *a = left, *b = right;
    int order = compare_grams(a, b);
    return order != 0 ? order : a->word < b->word ? -1 : a->word > b->word;
}

static dictionary create(const tokens *first, const tokens *second)
{
    dictionary d = {.words = allocate(first->count + second->count, sizeof *d.words), .first_count = first->count};
    for (size_t i = 0; i < first->count; ++i) add_word(&d, first->items[i]);
    for (size_t i = 0; i < second->count; ++i) add_word(&d, second->items[i]);
    if (d.count > 0) qsort(d.grams, d.count, sizeof *d.grams, compare);
    size_t kept = 0;
    for (size_t i = 0; i < d.count; ++i) {
        if (kept > 0 && compare(&d.grams[i], &d.grams[kept - 1]) == 0) continue;
        ++d.words[d.grams[i].word].grams;
        d.grams[kept++] = d.grams[i];
    }
    d.count = kept;
    return d;
}

/* The place after the last n-gram that equals the one at start. */
static size_t end_of_run(const dictionary *d, size_t start)
{
    size_t end = start + 1;
    while (end < d->count && compare_grams(&d->grams[start], &d->grams[end]) == 0) ++end;
    return end;
}

/* Whether words of both sentences are in a run of equal n-grams. */
static bool is_shared(const dictionary *d, size_t start, size_t end)
{
    return d->grams[start].word < d->first_count && d->grams[end - 1].word >= d->first_count;
}

static attn_tensor zeros(size_t rows, size_t columns)
{
    attn_tensor tensor = npy_create(ATTN_F32, 2, (const int64_t[]){(int64_t)rows, (int64_t)columns});
    memset(tensor.data, 0, rows * columns * sizeof(float));
    return tensor;
}

static void fill(const dictionary *d, size_t dim, float *first, float *second)
{
    size_t component = 0;
    for (size_t start = 0, end; start < d->count; start = end) {
        end = end_of_run(d, start);
        if (!is_shared(d, start, end)) continue;
        for (size_t i = start; i < end; ++i) {
            size_t word = d->grams[i].word;
            float *row = word < d->first_count ? first + word * dim : second + (word - d->first_count) * dim;
            row[component] = (float)(1 / sqrt((double)d->words[word].grams));
        }
        ++component;
    }
}

void ngram_embed(const tokens *first_words, const tokens *second_words, attn_tensor *first, attn_tensor *second)
{
    dictionary d = create(first_words, second_words);
    size_t dim = 0;
    for (size_t start = 0, end; start < d.count; start = end) {
        end = end_of_run(&d, start);
        if (is_shared(&d, start, end)) ++dim;
    }
    if (dim > MOST_COMPONENTS) {
        fail("the sentences share %zu n-grams; attn align takes at most %d", dim, MOST_COMPONENTS);
    }
    if (dim == 0) dim = 1; /* a column of zeros: everything is equally far from everything */
    *first = zeros(first_words->count, dim);
    *second = zeros(second_words->count, dim);
    fill(&d, dim, first->data, second->data);
    for (size_t i = 0; i < d.word_count; ++i) free(d.words[i].characters);
    free(d.words);
    free(d.grams);
}
