/* SPDX-License-Identifier: BSD-3-Clause
 *
 * runtime/slots.h: scratch that tasks of one job share, a piece for each thread there is. */
#ifndef ATTN_I_RUNTIME_SLOTS_H
#define ATTN_I_RUNTIME_SLOTS_H

#include "runtime/memory.h"

#include <stdatomic.h>

typedef struct attn_i_slots {
    atomic_flag *taken;
    int64_t count;
} attn_i_slots;

attn_i_slots attn_i_slots_layout(attn_i_arena *arena, int64_t count);

/* The number of a slot that nobody else has now. An application's executor that brings more threads than there are
 * slots has them take turns. */
int64_t attn_i_slot_take(const attn_i_slots *slots);
void attn_i_slot_release(const attn_i_slots *slots, int64_t slot);

#endif
