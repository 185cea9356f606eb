/* SPDX-License-Identifier: BSD-3-Clause
 *
 * fuzz_twin.h: the twin for numbers that nobody has chosen.
 */
#ifndef ATTN_TESTS_FUZZ_TWIN_H
#define ATTN_TESTS_FUZZ_TWIN_H

#include "fuzz.h"
#include "reference/twin.h"

/* twin_run; and tiles hold a weight no smaller than 2^-63 of the row's sum (docs/design.md, softmax), which is no
 * rounding of its own size: magnitudes grow by what that comes to. */
void fuzz_run_twin(const struct twin_problem *problem, attn_dtype dtype, struct twin_result *result);

#endif
