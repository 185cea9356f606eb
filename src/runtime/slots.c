/* SPDX-License-Identifier: BSD-3-Clause
 *
 * runtime/slots.c: scratch that tasks of one job share. */
#include "runtime/slots.h"

#include <sched.h>

attn_i_slots attn_i_slots_layout(attn_i_arena *arena, int64_t count)
{
    attn_i_slots slots = {attn_i_carve(arena, count, sizeof *slots.taken), count};
    for (int64_t i = 0; i < count && arena->base != NULL; i++) atomic_flag_clear(&slots.taken[i]);
    return slots;
}

int64_t attn_i_slot_take(const attn_i_slots *slots)
{
    for (;;) {
        for (int64_t i = 0; i < slots->count; i++) {
            if (!atomic_flag_test_and_set_explicit(&slots->taken[i], memory_order_acquire)) return i;
        }
        sched_yield();
    }
}

void attn_i_slot_release(const attn_i_slots *slots, int64_t slot)
{
    atomic_flag_clear_explicit(&slots->taken[slot], memory_order_release);
}
