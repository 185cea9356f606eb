/* SPDX-License-Identifier: BSD-3-Clause
 *
 * verbs/sequences.c: the sequences of a ragged batch, each a call of its own. */
#include "verbs/sequences.h"

#include "call/scratch.h"
#include "runtime/parallel.h"
#include "runtime/size.h"
#include "runtime/slots.h"

/* A sequence that is less than one part in so many of a thread's share of the work is dealt out: the last ones to end
 * leave little of the others' time unused. */
enum { PARTS_OF_SHARE = 4 };

static int is_dealt_out(const attn_i_sequences *s, int64_t b)
{
    return s->slots > 1 && s->work(s->call, b) < s->least;
}

attn_status attn_i_sequences_plan(attn_i_sequences *s, int in_order, int64_t *bytes)
{
    const attn_i_problem *p = s->p;
    attn_i_arena arena = {.base = NULL};
    s->all = 0;
    s->bytes = s->slot_bytes = 0;
    for (int64_t b = 0; b < p->batch; b++) s->all += s->work(s->call, b);
    /* Whose executor it is may not take a job from within another. */
    s->slots = in_order || p->engine->has_executor ? 1 : attn_i_clamp(p->engine->threads, 1, attn_i_max(p->batch, 1));
    s->least = s->all / (double)(PARTS_OF_SHARE * s->slots);
    for (int64_t b = 0; b < p->batch; b++) {
        const int dealt = is_dealt_out(s, b);
        int64_t one = 0;
        attn_status status = s->measure(s->call, b, dealt, &one);
        if (status != ATTN_OK) return status;
        if (dealt) s->slot_bytes = attn_i_max(s->slot_bytes, one);
        if (!dealt) s->bytes = attn_i_max(s->bytes, one);
    }
    attn_i_slots_layout(&arena, s->slots);
    attn_i_carve_matrix(&arena, s->slots, s->slot_bytes, 1);
    attn_status status = attn_i_scratch_measured(&arena, bytes);
    if (status == ATTN_OK) *bytes = attn_i_max(*bytes, s->bytes);
    return status;
}

typedef struct job {
    const attn_i_sequences *s;
    attn_i_slots slots;
    char *scratch;
} job;

static void compute(void *data, int64_t b)
{
    const job *j = data;
    if (!is_dealt_out(j->s, b)) return;
    const int64_t slot = attn_i_slot_take(&j->slots);
    j->s->compute(j->s->call, b, 1, j->scratch + slot * j->s->slot_bytes);
    attn_i_slot_release(&j->slots, slot);
}

void attn_i_sequences_run(const attn_i_sequences *s, void *scratch)
{
    const attn_i_problem *p = s->p;
    for (int64_t b = 0; b < p->batch; b++) {
        if (!is_dealt_out(s, b)) s->compute(s->call, b, 0, scratch);
    }
    if (s->slots == 1) return;
    attn_i_arena arena = {.base = scratch};
    job j = {.s = s, .slots = attn_i_slots_layout(&arena, s->slots)};
    j.scratch = attn_i_carve_matrix(&arena, s->slots, s->slot_bytes, 1);
    attn_i_parallel(p->engine->pool, p->batch, s->all < 0x1p62 ? (int64_t)s->all : INT64_MAX, compute, &j);
}
