/* SPDX-License-Identifier: BSD-3-Clause
 *
 * runtime/place.h: which CPU a sleeping worker wakes on. Where few CPUs share a cache, Linux may wake a thread on the
 * CPU that it slept on although the thread that wakes it is busy there and another CPU is idle; the two then take turns
 * until load balancing finds them, which can take tens of milliseconds. A worker that would meet its caller is sent
 * elsewhere for the moment of waking. Elsewhere than on Linux nothing happens. */
#ifndef ATTN_I_RUNTIME_PLACE_H
#define ATTN_I_RUNTIME_PLACE_H

#include <pthread.h>

typedef struct attn_i_place {
    int cpu;                   /* that the worker slept on, plus 1; 0: not known */
    int sent;                  /* it was sent elsewhere and has not come back to what it may use */
    unsigned long allowed[16]; /* CPUs that it may use */
} attn_i_place;

/* By the worker, about to sleep. */
void attn_i_place_note(attn_i_place *place);
/* By the caller, about to wake it or having created it. */
void attn_i_place_send(attn_i_place *place, pthread_t worker, int created);
/* By the worker, awake. */
void attn_i_place_return(attn_i_place *place);
/* The CPU that the calling thread is on; negative: not known. By the worker: leaves a CPU that another thread is on. */
int attn_i_place_here(void);
void attn_i_place_avoid(int cpu);

#endif
