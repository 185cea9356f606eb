/* SPDX-License-Identifier: BSD-3-Clause
 *
 * threads.h: a few jobs side by side, each of which calls the BLAS. */
#ifndef TRANSLATE_THREADS_H
#define TRANSLATE_THREADS_H

#include <stddef.h>

/* Tells the BLAS to compute on the calling thread alone; a BLAS that cannot be called by several threads is found out,
 * and jobs then take turns. To be called once, at the beginning. */
void threads_prepare(void);

/* Runs run(job) for each of count jobs that lie size bytes apart, the first on the calling thread, and returns when all
 * are done. A thread that cannot be had is done without. */
void threads_run(int count, void *jobs, size_t size, void *(*run)(void *job));

#endif
