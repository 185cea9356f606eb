/* SPDX-License-Identifier: BSD-3-Clause
 *
 * bleu.c: see bleu.h. Every n-gram of a sentence pair gets a number of its own: that of the pair (number of its first n
 * - 1 tokens, number of its last token). So n-grams are compared by two numbers, exactly and whatever their length. */
#include "measure/bleu.h"

#include "refuse.h"
#include "text/hash.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* A place of an open-addressed table; a token's has the text, an n-gram's the two numbers. */
typedef struct place {
    const char *token;
    int prefix, last;
    int number; /* 0: the place is empty */
    int left;   /* how often the reference still has it to give */
} place;

typedef struct table {
    place *places;
    size_t mask;
    int numbers;
} table;

static table table_for(size_t entries)
{
    size_t size = 16;
    while (size < 2 * entries) size *= 2;
    return (table){.places = allocate_zeros(size, sizeof(place)), .mask = size - 1};
}

static void table_clear(table *numbers)
{
    memset(numbers->places, 0, (numbers->mask + 1) * sizeof(place));
    numbers->numbers = 0;
}

static uint64_t mix(uint64_t hash)
{
    hash *= 0x9e3779b97f4a7c15u;
    return hash ^ (hash >> 32);
}

static int token_number(table *tokens, const char *token)
{
    for (size_t at = (size_t)mix(hash_text(HASH_BEGIN, token));; at++) {
        place *here = &tokens->places[at & tokens->mask];
        if (here->number == 0) {
            *here = (place){.token = token, .number = ++tokens->numbers};
            return here->number;
        }
        if (strcmp(here->token, token) == 0) return here->number;
    }
}

static place *gram_place(table *grams, int prefix, int last)
{
    const uint64_t hash = mix(((uint64_t)(uint32_t)prefix << 32 | (uint32_t)last) + 1);
    for (size_t at = (size_t)hash;; at++) {
        place *here = &grams->places[at & grams->mask];
        if (here->number == 0) {
            *here = (place){.prefix = prefix, .last = last, .number = ++grams->numbers};
            return here;
        }
        if (here->prefix == prefix && here->last == last) return here;
    }
}

static int *token_numbers(table *tokens, char *const *words, size_t count)
{
    int *numbers = allocate(count, sizeof(int));
    for (size_t i = 0; i < count; i++) numbers[i] = token_number(tokens, words[i]);
    return numbers;
}

void bleu_add(bleu *sums, char *const *hypothesis, int hypothesis_count, char *const *reference, int reference_count)
{
    const size_t guessed = (size_t)hypothesis_count, given = (size_t)reference_count;
    sums->hypothesis_tokens += guessed;
    sums->reference_tokens += given;
    table grams = table_for(guessed + given);
    int *last_guessed = token_numbers(&grams, hypothesis, guessed),
        *last_given = token_numbers(&grams, reference, given);
    int *prefix_guessed = allocate_zeros(guessed, sizeof(int)), *prefix_given = allocate_zeros(given, sizeof(int));
    for (size_t n = 1; n <= BLEU_ORDER && n <= guessed; n++) {
        table_clear(&grams);
        for (size_t i = 0; i + n <= given; i++) {
            place *gram = gram_place(&grams, prefix_given[i], last_given[i + n - 1]);
            prefix_given[i] = gram->number;
            gram->left++;
        }
        for (size_t i = 0; i + n <= guessed; i++) {
            place *gram = gram_place(&grams, prefix_guessed[i], last_guessed[i + n - 1]);
            prefix_guessed[i] = gram->number;
            if (gram->left > 0) {
                gram->left--;
                sums->matches[n - 1]++;
            }
        }
        sums->grams[n - 1] += guessed + 1 - n;
    }
    free(prefix_given);
    free(prefix_guessed);
    free(last_given);
    free(last_guessed);
    free(grams.places);
}

void bleu_add_sums(bleu *sums, const bleu *more)
{
    for (int n = 0; n < BLEU_ORDER; n++) {
        sums->matches[n] += more->matches[n];
        sums->grams[n] += more->grams[n];
    }
    sums->hypothesis_tokens += more->hypothesis_tokens;
    sums->reference_tokens += more->reference_tokens;
}

double bleu_brevity_penalty(const bleu *sums)
{
    if (sums->hypothesis_tokens >= sums->reference_tokens) return 1;
    if (sums->hypothesis_tokens == 0) return 0;
    return exp(1 - (double)sums->reference_tokens / (double)sums->hypothesis_tokens);
}

double bleu_score(const bleu *sums)
{
    if (sums->matches[0] == 0) return 0; /* and so no longer n-gram matches */
    double logarithms = 0, without_match = 1;
    for (int n = 0; n < BLEU_ORDER; n++) {
        if (sums->grams[n] == 0) return 0;
        if (sums->matches[n] == 0) without_match *= 2;
        const double matches = sums->matches[n] > 0 ? (double)sums->matches[n] : 1 / without_match;
        logarithms += log(100 * matches / (double)sums->grams[n]);
    }
    return bleu_brevity_penalty(sums) * exp(logarithms / BLEU_ORDER);
}
