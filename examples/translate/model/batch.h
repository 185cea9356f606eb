/* SPDX-License-Identifier: BSD-3-Clause
 *
 * batch.h: sentences as numbers of words, padded to one length. */
#ifndef TRANSLATE_BATCH_H
#define TRANSLATE_BATCH_H

/* The words that every vocabulary begins with. */
enum { WORD_PADDING = 0, WORD_UNKNOWN = 1, WORD_BEGIN = 2, WORD_END = 3, WORDS_SPECIAL = 4 };

/* Borrowed views: rows apart by the lengths below. */
typedef struct batch {
    int rows;
    int source_length, target_length; /* the longest of each; a target has one more word than its sentence, the end */
    const int *source;                /* [rows, source_length]; WORD_PADDING past a row's length */
    const int *source_lengths;        /* [rows], at least 1 */
    const int *target_in;             /* [rows, target_length]: WORD_BEGIN, then the sentence */
    const int *target_out;            /* [rows, target_length]: the sentence, then WORD_END; -1 past it */
} batch;

#endif
