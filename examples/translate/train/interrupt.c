/* SPDX-License-Identifier: BSD-3-Clause
 *
 * interrupt.c: see interrupt.h. */
#include "train/interrupt.h"

#include <signal.h>

static volatile sig_atomic_t asked;

static void ask(int signal_number)
{
    asked = 1;
    signal(signal_number, SIG_DFL);
}

void interrupt_watch(void)
{
    signal(SIGINT, ask);
    signal(SIGTERM, ask);
}

bool interrupt_asked(void)
{
    return asked != 0;
}
