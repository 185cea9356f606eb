/* SPDX-License-Identifier: BSD-3-Clause
 *
 * verbs/sequences.h: the sequences of a ragged batch, each a call of its own. Short ones are dealt out to threads,
 * whole; long ones have all threads, one after the other. */
#ifndef ATTN_I_VERBS_SEQUENCES_H
#define ATTN_I_VERBS_SEQUENCES_H

#include "call/problem.h"

typedef struct attn_i_sequences {
    const attn_i_problem *p;
    void *call;
    /* The work of sequence b, as attn_i_parallel counts it. What it needs of scratch, by shape, for one thread alone or
     * for all; and computing it there, with those. */
    double (*work)(void *call, int64_t b);
    attn_status (*measure)(void *call, int64_t b, int alone, int64_t *bytes);
    void (*compute)(void *call, int64_t b, int alone, void *scratch);

    int64_t slots;             /* how many are computed at once; 1: none are dealt out */
    int64_t slot_bytes, bytes; /* of scratch: of each slot; of what all threads compute together */
    double all, least;         /* the work of all; and of one from which on it has all threads */
} attn_i_sequences;

/* Of p, call and the functions, the rest. in_order: one after the other, since they add to the same sums. */
attn_status attn_i_sequences_plan(attn_i_sequences *sequences, int in_order, int64_t *bytes);

/* Computes all. Cannot fail. */
void attn_i_sequences_run(const attn_i_sequences *sequences, void *scratch);

#endif
