/* SPDX-License-Identifier: BSD-3-Clause
 *
 * fuzz_array.h: the beginning of an input, for the memory of arrays.
 */
#ifndef ATTN_TESTS_FUZZ_ARRAY_H
#define ATTN_TESTS_FUZZ_ARRAY_H

void fuzz_arrays_begin(void);

#endif
