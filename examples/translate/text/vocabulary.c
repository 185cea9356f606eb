/* SPDX-License-Identifier: BSD-3-Clause
 *
 * vocabulary.c: see vocabulary.h. Open addressing, at most half full. */
#include "text/vocabulary.h"

#include "refuse.h"
#include "text/hash.h"

#include <stdlib.h>
#include <string.h>

static const char *const special[WORDS_SPECIAL] = {"<padding>", "<unknown>", "<begin>", "<end>"};

/* The slot where the word is, or where it belongs. */
static size_t slot_of(const vocabulary *v, const char *word)
{
    size_t slot = (size_t)hash_text(HASH_BEGIN, word) & (v->slot_count - 1);
    while (v->slots[slot] >= 0 && strcmp(v->words[v->slots[slot]], word) != 0) slot = (slot + 1) & (v->slot_count - 1);
    return slot;
}

static void fill_slots(vocabulary *v, size_t count)
{
    free(v->slots);
    v->slot_count = count;
    v->slots = allocate(count, sizeof *v->slots);
    for (size_t i = 0; i < count; i++) v->slots[i] = -1;
    for (int i = 0; i < v->count; i++) v->slots[slot_of(v, v->words[i])] = i;
}

/* The word's number; a new one for a new word, whose copy is kept. */
static int take(vocabulary *v, const char *word, int *capacity)
{
    size_t slot = slot_of(v, word);
    if (v->slots[slot] >= 0) return v->slots[slot];
    if (v->count == *capacity) {
        *capacity *= 2;
        v->words = reallocate(v->words, (size_t)*capacity, sizeof *v->words);
        fill_slots(v, 4 * (size_t)*capacity);
        slot = slot_of(v, word);
    }
    v->words[v->count] = copy_text(word);
    return v->slots[slot] = v->count++;
}

typedef struct counted {
    char *word;
    long times;
} counted;

static int commoner(const void *a, const void *b)
{
    const counted *x = a, *y = b;
    return x->times != y->times ? (x->times < y->times ? 1 : -1) : strcmp(x->word, y->word);
}

vocabulary vocabulary_of(const pair_list *pairs, bool source, int most, int least)
{
    int capacity = 1024;
    vocabulary all = {.words = allocate((size_t)capacity, sizeof *all.words)};
    fill_slots(&all, 4 * (size_t)capacity);
    long *times = allocate((size_t)capacity, sizeof *times);
    int known = 0;
    for (size_t i = 0; i < pairs->count; i++) {
        const sentence_pair *pair = &pairs->pairs[i];
        const int count = source ? pair->source_count : pair->target_count;
        for (int k = 0; k < count; k++) {
            const int number = take(&all, source ? pair->source[k] : pair->target[k], &capacity);
            if (number >= known) {
                times = reallocate(times, (size_t)capacity, sizeof *times);
                while (known <= number) times[known++] = 0;
            }
            times[number]++;
        }
    }
    counted *order = allocate((size_t)all.count, sizeof *order);
    for (int i = 0; i < all.count; i++) order[i] = (counted){all.words[i], times[i]};
    qsort(order, (size_t)all.count, sizeof *order, commoner);
    char **words = allocate((size_t)all.count + WORDS_SPECIAL, sizeof *words);
    int count = 0;
    for (; count < WORDS_SPECIAL; count++) words[count] = copy_text(special[count]);
    for (int i = 0; i < all.count; i++) {
        bool named = false; /* as one of the special ones: it stays unknown */
        for (int k = 0; k < WORDS_SPECIAL; k++) named |= strcmp(order[i].word, special[k]) == 0;
        if (!named && i < most && order[i].times >= least) words[count++] = copy_text(order[i].word);
    }
    free(order);
    free(times);
    vocabulary_free(&all);
    return vocabulary_from_words(words, count);
}

vocabulary vocabulary_from_words(char **words, int count)
{
    vocabulary v = {.words = words, .count = count};
    size_t slots = 16;
    while (slots < 2 * (size_t)count) slots *= 2;
    fill_slots(&v, slots);
    return v;
}

int vocabulary_number(const vocabulary *v, const char *word)
{
    const int number = v->slots[slot_of(v, word)];
    return number < WORDS_SPECIAL ? WORD_UNKNOWN : number;
}

void vocabulary_free(vocabulary *v)
{
    for (int i = 0; i < v->count; i++) free(v->words[i]);
    free(v->words);
    free(v->slots);
    *v = (vocabulary){0};
}
