/* SPDX-License-Identifier: BSD-3-Clause
 *
 * every_call.h: every function that computes, once, on one engine, with ordinary numbers: for tests of what no call may
 * do to its process.
 */
#ifndef ATTN_TESTS_EVERY_CALL_H
#define ATTN_TESTS_EVERY_CALL_H

#include "support.h"

/* Calls each function on the test program's engine, forward and backward, in float32 and in float64, in shapes that
 * leave lanes of vectors and rows of tiles unused. before and after, or NULL, are called around each with its name. */
struct every_call {
    void (*before)(const char *name);
    void (*after)(const char *name);
};

void every_call_run(const struct every_call *around);

#endif
