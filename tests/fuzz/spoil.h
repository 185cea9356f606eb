/* SPDX-License-Identifier: BSD-3-Clause
 *
 * spoil.h: calls made wrong in one place, which must be refused and leave every output as it was.
 */
#ifndef ATTN_TESTS_FUZZ_SPOIL_H
#define ATTN_TESTS_FUZZ_SPOIL_H

#include "attention_checks.h"
#include "spoil_tensor.h"

void spoil_forward(struct problem *problem, const struct forward_call *call, struct bytes *bytes);

#endif
