/* SPDX-License-Identifier: BSD-3-Clause
 *
 * handles/engine.h: what an engine is made of. */
#ifndef ATTN_I_HANDLES_ENGINE_H
#define ATTN_I_HANDLES_ENGINE_H

#include "attn/attn.h"
#include "kernels/kernels.h"
#include "runtime/blas.h"
#include "runtime/cpu.h"
#include "runtime/memory.h"
#include "runtime/parallel.h"

#include <stdatomic.h>

struct attn_engine {
    atomic_int references; /* the caller's and one for each mechanism */
    attn_i_allocator allocator;
    attn_i_pool *pool;
    attn_way way;     /* never automatic */
    int own_products; /* float32 projections by our kernels, not the BLAS */
    int32_t threads;  /* never 0 */
    int has_executor;
    const attn_i_kernels *kernels_f32, *kernels_f64;
    const attn_i_tile_kernels *tile_kernels; /* float32 */
    const attn_i_tile_arithmetic *tile_float;
    const attn_i_stored_kernels *stored[ATTN_I8 + 1]; /* by dtype, of which some have none */
    const attn_i_fast_kernels *fast[ATTN_I8 + 1];     /* likewise, */
    attn_i_stored_kernels fast_stored[ATTN_I8 + 1];   /* and the same with the rows of these */
    attn_i_cpu cpu;
    attn_i_blas_info blas;
};

/* An engine lives until everything that took it has dropped it. */
void attn_i_engine_take(attn_engine *engine);
void attn_i_engine_drop(attn_engine *engine);

/* The kernels of what is kept as ATTN_F32, ATTN_F16, ATTN_BF16 or ATTN_I8. */
const attn_i_stored_kernels *attn_i_engine_stored_kernels(const attn_engine *engine, attn_dtype dtype);

/* What multiplies numbers of such a type as they are kept; NULL: nothing does. */
const attn_i_fast_kernels *attn_i_engine_fast_kernels(const attn_engine *engine, attn_dtype dtype);

const attn_i_stored_kernels *attn_i_engine_fast_stored_kernels(const attn_engine *engine, attn_dtype dtype);

/* The kernels for ATTN_F32 or ATTN_F64. */
const attn_i_kernels *attn_i_engine_kernels(const attn_engine *engine, attn_dtype dtype);

#endif
