/* SPDX-License-Identifier: BSD-3-Clause
 *
 * handles/structs.h: reading public structs that carry their own size. */
#ifndef ATTN_I_HANDLES_STRUCTS_H
#define ATTN_I_HANDLES_STRUCTS_H

#include "attn/attn.h"

/* No struct of ours comes near this; a larger struct_size is garbage, and must not make us read or write that far. */
enum { ATTN_I_LARGEST_STRUCT = 4096 };

/* Copies the caller's struct into ours. `theirs_size` is its struct_size, `least` the size of the struct's first
 * version, `size` that of ours; what lies between them was none. The first is completed by zeros; a longer one (from a
 * newer header) is taken as long as what we do not know is zero. `what` names the struct in the sentence of a failure.
 */
attn_status attn_i_struct_read(void *ours, size_t size, size_t least, const void *theirs, uint32_t theirs_size,
                               const char *what);

#endif
