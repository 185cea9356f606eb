/* SPDX-License-Identifier: BSD-3-Clause
 *
 * decoding.h: what every kind's decoding begins with; for the kinds alone. */
#ifndef TRANSLATE_DECODING_H
#define TRANSLATE_DECODING_H

#include "model/model.h"

struct decoding {
    const model *of;
    pass pass;
    int rows, length, step;
    int *lengths; /* [rows], of the sources */
};

/* Fills the head: a new pass without gradient, and the lengths. */
void decoding_head(decoding *d, const model *m, const batch *b);

/* numbers [rows of before, columns] becomes what rows name. */
void decoding_pick(real **numbers, size_t columns, const int *rows, int count);

#endif
