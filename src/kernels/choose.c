/* SPDX-License-Identifier: BSD-3-Clause
 *
 * choose.c: which set of kernels is used. */
#include "kernels/kernels.h"

extern const attn_i_kernels attn_i_portable_f32_table, attn_i_portable_f64_table;

const attn_i_kernels *attn_i_kernels_portable(attn_dtype dtype)
{
    return dtype == ATTN_F32 ? &attn_i_portable_f32_table : &attn_i_portable_f64_table;
}
