/* SPDX-License-Identifier: BSD-3-Clause
 *
 * decomposable_checks.h: calls of attn_decomposable_forward and _backward, and what must hold of them.
 */
#ifndef ATTN_TESTS_FUZZ_DECOMPOSABLE_CHECKS_H
#define ATTN_TESTS_FUZZ_DECOMPOSABLE_CHECKS_H

#include "fuzz.h"

void check_decomposable(struct bytes *bytes, attn_dtype dtype, enum fuzz_engine on);

#endif
