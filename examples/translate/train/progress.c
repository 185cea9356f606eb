/* SPDX-License-Identifier: BSD-3-Clause
 *
 * progress.c: see progress.h. */
#include "train/progress.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

static const double terminal_pause = 0.1, log_pause = 10;

double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

progress progress_begin(long first, long total, bool quiet)
{
    progress p = {.first = first, .total = total, .quiet = quiet};
    const char *kind = getenv("TERM");
    p.terminal = isatty(STDERR_FILENO) && kind != NULL && strcmp(kind, "dumb") != 0;
    p.begun = seconds_now();
    p.shown = p.terminal ? 0 : p.begun;
    return p;
}

static int columns(void)
{
    struct winsize size;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

/* "1:02:03", "2:03" */
static void write_time(double seconds, char *text, size_t size)
{
    const long s = seconds < 0 ? 0 : (long)(seconds + 0.5);
    if (s < 3600) {
        snprintf(text, size, "%ld:%02ld", s / 60, s % 60);
    } else {
        snprintf(text, size, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
    }
}

void progress_show(progress *p, long done, const char *told)
{
    const double now = seconds_now();
    if (p->quiet || now - p->shown < (p->terminal ? terminal_pause : log_pause)) return;
    p->shown = now;
    char left[32] = "?", line[256];
    if (done > p->first) {
        write_time((now - p->begun) * (double)(p->total - done) / (double)(done - p->first), left, sizeof left);
    }
    const int length = snprintf(line, sizeof line, "%ld/%ld  %s  %s left", done, p->total, told, left);
    if (!p->terminal) {
        fprintf(stderr, "%s\n", line);
        return;
    }
    /* The last column stays free: some terminals wrap when it is written. */
    const int room = columns() - 1, bar = room - length - 3 < 40 ? room - length - 3 : 40;
    fputs("\r\033[K", stderr);
    if (bar >= 5) {
        const int full = (int)((double)bar * (double)done / (double)(p->total > 0 ? p->total : 1));
        fputc('[', stderr);
        for (int i = 0; i < bar; i++) fputc(i < full ? '#' : '.', stderr);
        fputs("] ", stderr);
    }
    fprintf(stderr, "%.*s", room, line);
    fflush(stderr);
    p->drawn = true;
}

void progress_say(progress *p, const char *format, ...)
{
    if (p->quiet) return;
    if (p->drawn) fputs("\r\033[K", stderr);
    p->drawn = false;
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
}

void progress_end(progress *p)
{
    if (p->drawn) fputs("\r\033[K", stderr);
    fflush(stderr);
    p->drawn = false;
}
