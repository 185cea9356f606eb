/* SPDX-License-Identifier: BSD-3-Clause
 *
 * layers/memory/keep.c: rows as a memory or a page keeps them, a few elements at a time. */
#include "layers/memory/keep.h"

#include "runtime/size.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { SOME = 256 }; /* elements that are converted at once */

/* A number of float64 as one of float32. Before it is rounded again, to 16 bits, what was cut off is told by the last
 * bit, as of all numbers between two of float32 (Boldo and Melquiond 2008): so it is rounded but once. */
static float narrowed(double x, int again)
{
    float near = (float)x;
    uint32_t bits;
    if (!again || isnan(x) || (double)near == x) return near;
    memcpy(&bits, &near, sizeof bits);
    if (bits % 2 == 0) bits = fabs((double)near) > fabs(x) ? bits - 1 : bits + 1;
    memcpy(&near, &bits, sizeof near);
    return near;
}

/* Elements from `at` on in float32, to be rounded again or not; returns how many of the width's that are. */
static int64_t load_some(const attn_engine *engine, attn_i_given_row row, int64_t at, int64_t width, int again,
                         float some[SOME])
{
    const int64_t n = attn_i_min(width - at, SOME);
    if (row.dtype == ATTN_F64) {
        const double *from = (const double *)(const void *)row.data + at * row.stride;
        for (int64_t d = 0; d < n; d++) some[d] = narrowed(from[d * row.stride], again);
        return n;
    }
    const attn_i_stored_kernels *type = attn_i_engine_stored_kernels(engine, row.dtype);
    type->load(n, row.data + at * row.stride * type->size, row.stride, some);
    return n;
}

/* What integers up to 127 are multiplied by. No finite number becomes an infinity for it: 127 times `most` is none. Nor
 * is a subnormal quotient rounded down, which would leave numbers out of the integers' reach. */
static float scale_of(float greatest)
{
    static const float most = 0x1.020406p121F;
    if (isinf(greatest)) return NAN;
    const float scale = fminf(greatest / 127, most);
    return greatest > 0 && scale < FLT_MIN ? nextafterf(scale, 1) : scale;
}

/* Integers, wherever they are to be. */
static void store_integers(const signed char some[SOME], int64_t n, char *to, int64_t stride)
{
    if (stride == 1) memcpy(to, some, (size_t)n);
    for (int64_t d = 0; d < n && stride != 1; d++) to[d * stride] = (char)some[d];
}

/* Without a scale that can be divided by, the row is 0, or, times a scale that is NaN, NaN. */
static void quantise(const attn_engine *engine, attn_i_given_row row, int64_t width, attn_i_kept_row kept)
{
    const attn_i_stored_kernels *type = attn_i_engine_stored_kernels(engine, ATTN_I8);
    float some[SOME], greatest = 0;
    signed char integers[SOME] = {0};
    for (int64_t at = 0, n; at < width; at += n) {
        n = load_some(engine, row, at, width, 0, some);
        greatest = fmaxf(greatest, type->greatest(n, some));
    }
    const float scale = scale_of(greatest);
    const int divides = scale > 0;
    for (int64_t at = 0, n; at < width; at += n) {
        n = load_some(engine, row, at, width, 0, some);
        if (divides) type->quantise(n, some, scale, integers);
        store_integers(integers, n, kept.data + at * kept.stride, kept.stride);
    }
    *kept.scale = scale;
}

static void round_row(const attn_engine *engine, attn_i_given_row row, int64_t width, attn_i_kept_row kept)
{
    const int64_t size = attn_i_dtype_size(kept.dtype);
    float some[SOME];
    for (int64_t at = 0, n; at < width; at += n) {
        char *to = kept.data + at * kept.stride * size;
        n = load_some(engine, row, at, width, kept.dtype != ATTN_F32, some);
        if (kept.dtype == ATTN_F64) {
            for (int64_t d = 0; d < n; d++) ((double *)(void *)to)[d * kept.stride] = some[d];
        } else {
            attn_i_engine_stored_kernels(engine, kept.dtype)->store(n, some, to, kept.stride);
        }
    }
}

static void copy_row(attn_i_given_row row, int64_t width, attn_i_kept_row kept)
{
    const int64_t size = attn_i_dtype_size(kept.dtype);
    if (row.stride == 1 && kept.stride == 1) {
        memcpy(kept.data, row.data, (size_t)(width * size));
        return;
    }
    for (int64_t d = 0; d < width; d++) {
        memcpy(kept.data + d * kept.stride * size, row.data + d * row.stride * size, (size_t)size);
    }
}

void attn_i_row_keep(const attn_engine *engine, attn_i_given_row row, int64_t width, attn_i_kept_row kept)
{
    if (row.dtype == kept.dtype) {
        copy_row(row, width, kept);
    } else if (kept.scale != NULL) {
        quantise(engine, row, width, kept);
    } else {
        round_row(engine, row, width, kept);
    }
}

void attn_i_memory_keep(const attn_engine *engine, attn_i_given_row row, const attn_i_store *store, int64_t at)
{
    const attn_i_kept_row kept = {store->dtype, store->data + at * store->width * store->size, 1,
                                  store->scales == NULL ? NULL : &store->scales[at]};
    attn_i_row_keep(engine, row, store->width, kept);
}
