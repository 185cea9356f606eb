/* SPDX-License-Identifier: BSD-3-Clause
 *
 * ngram.h: vectors that stand for how words are spelled. Words that share letters in the same order have vectors that
 * point the same way; what the words mean plays no part, and nothing is trained.
 */
#ifndef ATTN_TOOLS_NGRAM_H
#define ATTN_TOOLS_NGRAM_H

#include "text.h"

#include <attn/attn.h>

/* The vectors of the words of two sentences, a row of first or second for each word, so that the product of a word of
 * one with a word of the other is the cosine between their sets of character n-grams. Their data is the caller's to
 * free. */
void ngram_embed(const tokens *first_words, const tokens *second_words, attn_tensor *first, attn_tensor *second);

#endif
