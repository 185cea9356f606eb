/* SPDX-License-Identifier: BSD-3-Clause
 *
 * sequences_checks.h: ragged batches, pages and masks of the last keys, by the mechanism of a problem.
 */
#ifndef ATTN_TESTS_FUZZ_SEQUENCES_CHECKS_H
#define ATTN_TESTS_FUZZ_SEQUENCES_CHECKS_H

#include "problem.h"

/* A batch of sequences, of the problem's types, modifiers and numbers, padded, ragged or in pages: each has the bits of
 * a call with it alone, forward and backward; by other threads, by a plan and in a workspace the batch has the same;
 * and nothing is written where no sequence is. */
void check_sequences(struct problem *problem, struct bytes *bytes);

#endif
