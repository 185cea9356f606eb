/* SPDX-License-Identifier: BSD-3-Clause
 *
 * verbs/cascade.h: sequences in pages that begin with the same ones, which are then read once for all of them: a
 * prefix, whose queries are those of all, and of each sequence the rest of its keys, to be joined with it. */
#ifndef ATTN_I_VERBS_CASCADE_H
#define ATTN_I_VERBS_CASCADE_H

#include "call/problem.h"

/* Sequences first .. first + count - 1, whose first `pages` pages are the same; count 0: there is no such group. */
typedef struct attn_i_cascade_group {
    int64_t first, count, pages;
    int64_t queries, first_query; /* of all of its sequences; and so many are those of the groups before */
} attn_i_cascade_group;

/* Groups are found among so many sequences at a time, from each multiple of that on. */
enum { ATTN_I_CASCADE_WINDOW = 64 };

typedef struct attn_i_cascade_window {
    int64_t first; /* sequence */
    int count;     /* of its groups, in order, */
    attn_i_cascade_group group[ATTN_I_CASCADE_WINDOW / 2];
} attn_i_cascade_window;

typedef struct attn_i_cascade {
    const attn_i_problem *p;
    attn_i_modifiers modifiers;   /* of prefixes */
    int64_t groups, queries;      /* how many there are, and the queries of all of them */
    attn_i_cascade_window window; /* the one that was looked at last, while there is no scratch */

    /* Scratch. */
    attn_i_cascade_group *of; /* each sequence's */
    char *contexts;           /* of the queries over their prefixes, [queries][Hq][Dv], of what is computed with */
    double *logsumexps;       /* [queries][Hq] */
} attn_i_cascade;

/* The groups that begin from this sequence on, in its window: by tables, lengths and shapes alone. */
void attn_i_cascade_find(const attn_i_problem *problem, int64_t first, attn_i_cascade_window *window);

/* Looks through all of a batch. */
void attn_i_cascade_begin(attn_i_cascade *cascade, const attn_i_problem *problem);

/* The scratch of all groups, if there are any; and fills in which they are. */
void attn_i_cascade_layout(attn_i_cascade *cascade, attn_i_arena *arena);
void attn_i_cascade_load(attn_i_cascade *cascade);

/* The group of sequence b. */
attn_i_cascade_group attn_i_cascade_of(attn_i_cascade *cascade, int64_t b);

/* Cuts of the call as it is computed: the prefix of the group that begins with sequence b, */
void attn_i_cascade_prefix(attn_i_cascade *cascade, const attn_i_problem *computed, int64_t b, int alone,
                           attn_i_problem *slice);
/* and the rest of sequence b, whose results go to scratch that is carved here. */
void attn_i_cascade_rest(attn_i_cascade *cascade, const attn_i_problem *computed, int64_t b, int alone,
                         attn_i_arena *arena, attn_i_problem *slice);

/* Once both are computed: joins them, into the outputs of the call. */
void attn_i_cascade_join(attn_i_cascade *cascade, const attn_i_problem *computed, int64_t b,
                         const attn_i_problem *rest);

/* What they take, as attn_i_parallel counts work. */
double attn_i_cascade_prefix_work(attn_i_cascade *cascade, int64_t b);
double attn_i_cascade_rest_work(attn_i_cascade *cascade, int64_t b);

#endif
