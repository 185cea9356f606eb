/* SPDX-License-Identifier: BSD-3-Clause
 *
 * layers/memory/keep.c: rows as a memory keeps them, a few elements at a time. */
#include "layers/memory/keep.h"

#include "runtime/size.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { SOME = 256 }; /* elements that are converted at once */

/* Elements from `at` on in float32; returns how many of the width's that are. */
static int64_t load_some(const attn_engine *engine, attn_i_given_row row, int64_t at, int64_t width, float some[SOME])
{
    const attn_i_stored_kernels *type = attn_i_engine_stored_kernels(engine, row.dtype);
    const int64_t n = attn_i_min(width - at, SOME);
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

/* Without a scale that can be divided by, the row is 0, or, times a scale that is NaN, NaN. */
static void quantise(const attn_engine *engine, attn_i_given_row row, int64_t width, char *to, float *scale)
{
    const attn_i_stored_kernels *kept = attn_i_engine_stored_kernels(engine, ATTN_I8);
    float some[SOME], greatest = 0;
    for (int64_t at = 0, n; at < width; at += n) {
        n = load_some(engine, row, at, width, some);
        greatest = fmaxf(greatest, kept->greatest(n, some));
    }
    *scale = scale_of(greatest);
    const int divides = *scale > 0;
    for (int64_t at = 0, n; at < width; at += n) {
        n = load_some(engine, row, at, width, some);
        if (divides) kept->quantise(n, some, *scale, to + at);
        if (!divides) memset(to + at, 0, (size_t)n);
    }
}

static void round_row(const attn_engine *engine, attn_i_given_row row, attn_dtype dtype, int64_t width, char *to)
{
    const attn_i_stored_kernels *kept = attn_i_engine_stored_kernels(engine, dtype);
    float some[SOME];
    for (int64_t at = 0, n; at < width; at += n) {
        n = load_some(engine, row, at, width, some);
        kept->store(n, some, to + at * kept->size, 1);
    }
}

static void copy_row(attn_i_given_row row, int64_t size, int64_t width, char *to)
{
    if (row.stride == 1) {
        memcpy(to, row.data, (size_t)(width * size));
        return;
    }
    for (int64_t d = 0; d < width; d++) memcpy(to + d * size, row.data + d * row.stride * size, (size_t)size);
}

void attn_i_memory_keep(const attn_engine *engine, attn_i_given_row row, const attn_i_store *store, int64_t at)
{
    char *to = store->data + at * store->width * store->size;
    if (row.dtype == store->dtype) {
        copy_row(row, store->size, store->width, to);
    } else if (store->scales != NULL) {
        quantise(engine, row, store->width, to, &store->scales[at]);
    } else {
        round_row(engine, row, store->dtype, store->width, to);
    }
}
