/* SPDX-License-Identifier: BSD-3-Clause
 *
 * embedding.h: words as rows of a matrix. */
#ifndef TRANSLATE_EMBEDDING_H
#define TRANSLATE_EMBEDDING_H

#include "model/pass.h"

/* The numbers of words [rows, length], turned round: [length, rows]. They live as the pass does. */
int *words_by_time(pass *p, int rows, int length, const int *words);

/* to[i] = factor * table[words[i]], and d_table[words[i]] += factor * d_to[i], for count words. */
void embedding_forward(const pass *p, const parameter *table, size_t count, const int *words, real factor, real *to);
void embedding_backward(const pass *p, const parameter *table, size_t count, const int *words, real factor,
                        const real *d_to);

#endif
