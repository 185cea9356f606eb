/* SPDX-License-Identifier: BSD-3-Clause
 *
 * drafts.h: guesses of what a conversation says next, from what was said before, in this one or another. */
#ifndef SERVE_DRAFTS_H
#define SERVE_DRAFTS_H

#include "batch.h"

/* The two tokens that were the last to follow a token, the latest first; 0: there is none, else the token + 1. */
typedef struct drafts {
    int followers[VOCABULARY][2];
} drafts;

void drafts_learn(drafts *d, int token, int follower);

/* A tree of guesses of what follows a token: a branch for each of its followers, that goes on with the latest follower
 * of each guess; at most `most` guesses to a branch. Returns how many there are. */
int drafts_make(const drafts *d, int token, int most, guess guesses[GUESSES]);

#endif
