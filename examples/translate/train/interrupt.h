/* SPDX-License-Identifier: BSD-3-Clause
 *
 * interrupt.h: Ctrl-C while something long is going on: it asks for the end, and a second one ends at once. */
#ifndef TRANSLATE_INTERRUPT_H
#define TRANSLATE_INTERRUPT_H

#include <stdbool.h>

/* From now on SIGINT and SIGTERM ask. */
void interrupt_watch(void);

/* Whether one of them has come. */
bool interrupt_asked(void);

#endif
