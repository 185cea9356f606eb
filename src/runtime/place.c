/* SPDX-License-Identifier: BSD-3-Clause
 *
 * runtime/place.c: which CPU a sleeping worker wakes on. */
#define _GNU_SOURCE
#include "runtime/place.h"

#if defined(__linux__)
#include <sched.h>
#include <string.h>

void attn_i_place_note(attn_i_place *place)
{
    place->cpu = sched_getcpu() + 1;
}

void attn_i_place_send(attn_i_place *place, pthread_t worker, int created)
{
    const int here = sched_getcpu();
    cpu_set_t allowed;
    if (here < 0 || place->sent || (!created && place->cpu != here + 1)) return;
    if (pthread_getaffinity_np(worker, sizeof place->allowed, (cpu_set_t *)(void *)place->allowed) != 0) return;
    memset(&allowed, 0, sizeof allowed);
    memcpy(&allowed, place->allowed, sizeof place->allowed);
    CPU_CLR((size_t)here, &allowed);
    if (CPU_COUNT(&allowed) == 0) return;
    place->sent = pthread_setaffinity_np(worker, sizeof place->allowed, &allowed) == 0;
}

void attn_i_place_return(attn_i_place *place)
{
    if (!place->sent) return;
    place->sent = 0;
    pthread_setaffinity_np(pthread_self(), sizeof place->allowed, (const cpu_set_t *)(const void *)place->allowed);
}

int attn_i_place_here(void)
{
    return sched_getcpu();
}

void attn_i_place_avoid(int cpu)
{
    attn_i_place place = {.cpu = cpu + 1};
    if (cpu < 0 || sched_getcpu() != cpu) return;
    attn_i_place_send(&place, pthread_self(), 1);
    attn_i_place_return(&place);
}

#else

void attn_i_place_note(attn_i_place *place)
{
    (void)place;
}

void attn_i_place_send(attn_i_place *place, pthread_t worker, int created)
{
    (void)place, (void)worker, (void)created;
}

void attn_i_place_return(attn_i_place *place)
{
    (void)place;
}

int attn_i_place_here(void)
{
    return -1;
}

void attn_i_place_avoid(int cpu)
{
    (void)cpu;
}
#endif
