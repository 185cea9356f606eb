/* SPDX-License-Identifier: BSD-3-Clause
 *
 * threads.c: see threads.h. */
#include "train/threads.h"

#include "refuse.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

/* What an OpenBLAS has beside cblas; another BLAS has none of them. */
#pragma weak openblas_set_num_threads
#pragma weak openblas_get_parallel
extern void openblas_set_num_threads(int threads);
extern int openblas_get_parallel(void);

static bool take_turns;

void threads_prepare(void)
{
    if (openblas_set_num_threads != NULL) openblas_set_num_threads(1);
    /* Built without threads (0) it has one buffer for all callers. */
    take_turns = openblas_get_parallel != NULL && openblas_get_parallel() == 0;
}

void threads_run(int count, void *jobs, size_t size, void *(*run)(void *job))
{
    pthread_t *threads = allocate((size_t)count, sizeof *threads);
    bool *started = allocate_zeros((size_t)count, sizeof *started);
    for (int k = count - 1; k >= 0; k--) {
        void *job = (char *)jobs + (size_t)k * size;
        started[k] = k > 0 && !take_turns && pthread_create(&threads[k], NULL, run, job) == 0;
        if (!started[k]) run(job);
    }
    for (int k = 0; k < count; k++) {
        if (started[k]) pthread_join(threads[k], NULL);
    }
    free(threads);
    free(started);
}
