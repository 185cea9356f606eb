/* SPDX-License-Identifier: BSD-3-Clause
 *
 * progress.h: how far something is, on standard error: a bar that is drawn over itself on a terminal, a line now and
 * then in a log. */
#ifndef TRANSLATE_PROGRESS_H
#define TRANSLATE_PROGRESS_H

#include <stdbool.h>

typedef struct progress {
    long first, total;
    double begun, shown;
    bool terminal, quiet, drawn;
} progress;

double seconds_now(void);

/* Of total things, of which first were done before. */
progress progress_begin(long first, long total, bool quiet);

/* done things are done; what is told beside it ("loss 1.234  5670 words/s"). Shows it if it is time to. */
void progress_show(progress *p, long done, const char *told);

/* A line of its own, above the bar. */
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
void
progress_say(progress *p, const char *format, ...);

/* Takes the bar away. */
void progress_end(progress *p);

#endif
