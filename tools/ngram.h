/* SPDX-License-Identifier: BSD-3-Clause
 *
 * ngram.h: a vector that stands for how a word is spelled. Words that share letters in the same order have vectors
 * that point the same way; what the words mean plays no part, and nothing is trained.
 */
#ifndef ATTN_TOOLS_NGRAM_H
#define ATTN_TOOLS_NGRAM_H

#include <stddef.h>

/* Fills vector [dim], dim at least 1, with the hashed character n-grams of word, scaled to length 1. */
void ngram_embed(const char *word, float *vector, size_t dim);

#endif
