/* SPDX-License-Identifier: BSD-3-Clause
 *
 * batch.h: the rows of one step: of each conversation a piece of its prompt, its last token, that and guesses of what
 * follows, or nothing. What attention has to be told of them is made here: offsets, positions, and what a guess sees.
 */
#ifndef SERVE_BATCH_H
#define SERVE_BATCH_H

#include "model.h"

enum {
    CONVERSATIONS = 6, /* at once, at most */
    BUDGET = 40,       /* rows of a step, at most */
    BRANCH = 3,        /* guesses of a branch, at most */
    GUESSES = 2 * BRANCH
};

/* A guess, and the index of the one that it follows; -1: it follows what is certain. */
typedef struct guess {
    int token, after;
} guess;

typedef struct batch {
    int rows, conversations;
    int first[CONVERSATIONS + 1]; /* conversation c has the rows from first[c] on, before first[c + 1] */
    int certain[CONVERSATIONS];   /* so many of them are no guesses, and come first */
    int kept[CONVERSATIONS];      /* tokens that the memory has of it already */
    int guesses;                  /* the most that one conversation has */
    int tokens[BUDGET];
    int after[BUDGET]; /* the row that a row follows; -1: the last one that the memory has */
    int64_t positions[BUDGET];
} batch;

/* Adds the next conversation, with so many tokens and so many guesses of what follows them. */
void batch_add(batch *b, int kept, const int *tokens, int certain, const guess *guesses, int count);

/* Computes the logits after each row, and appends all of them to the memory, guesses too. */
void batch_forward(const batch *b, const model *m, attn_memory *memory, float *logits);

/* The guess of `token` that follows a row, or -1. */
int batch_guess(const batch *b, int conversation, int row, int token);

#endif
