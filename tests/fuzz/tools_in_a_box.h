/* SPDX-License-Identifier: BSD-3-Clause
 *
 * tools_in_a_box.h: parts of the command attn, which end the program when something is wrong, run within a harness:
 * they come back instead, and what they had taken is given back.
 */
#ifndef ATTN_TESTS_FUZZ_TOOLS_IN_A_BOX_H
#define ATTN_TESTS_FUZZ_TOOLS_IN_A_BOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Runs work(data); false if it failed. Memory that is still held then, and open files, are let go either way. */
bool in_a_box(void (*work)(void *data), void *data);

/* The sentence that it failed with. */
const char *box_sentence(void);

/* A path whose file has this content until the next call. */
const char *box_file(const uint8_t *data, size_t size);

#endif
