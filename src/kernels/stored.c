/* SPDX-License-Identifier: BSD-3-Clause
 *
 * kernels/stored.c: the tables of the types that numbers are kept in: float32 itself, float16, bfloat16 and integers of
 * 8 bits. */
#include "kernels/stored.h"

#include "kernels/half.h"
#include "kernels/tiles.h"

#include <math.h>

/* -------------------------------------------------------------------------------------------- bfloat16 */

static void load_bf16(int64_t n, const void *from, int64_t stride, float *to)
{
    const uint16_t *source = from;
    if (stride == 1) {
        for (int64_t j = 0; j < n; j++) to[j] = from_bf16(source[j]);
    } else {
        for (int64_t j = 0; j < n; j++) to[j] = from_bf16(source[j * stride]);
    }
}

static void store_bf16(int64_t n, const float *from, void *to, int64_t stride)
{
    uint16_t *target = to;
    if (stride == 1) {
        for (int64_t j = 0; j < n; j++) target[j] = to_bf16(from[j]);
    } else {
        for (int64_t j = 0; j < n; j++) target[j * stride] = to_bf16(from[j]);
    }
}

/* --------------------------------------------------------------------------------------------- float16 */

/* Elements side by side, as many as vectors take; how many that were. */
static int64_t load_f16_vectors(int64_t n, const uint16_t *from, float *to)
{
    int64_t j = 0;
#if defined(__AVX512F__)
    for (; j + 16 <= n; j += 16) {
        _mm512_storeu_ps(to + j, _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)(from + j))));
    }
#elif defined(__F16C__)
    for (; j + 8 <= n; j += 8) {
        _mm256_storeu_ps(to + j, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(from + j))));
    }
#else
    (void)n, (void)from, (void)to;
#endif
    return j;
}

static int64_t store_f16_vectors(int64_t n, const float *from, uint16_t *to)
{
    int64_t j = 0;
#if defined(__AVX512F__)
    for (; j + 16 <= n; j += 16) {
        const __m512 x = _mm512_add_ps(_mm512_loadu_ps(from + j), _mm512_setzero_ps());
        _mm256_storeu_si256((__m256i *)(void *)(to + j), _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
    }
#elif defined(__F16C__)
    for (; j + 8 <= n; j += 8) {
        const __m256 x = _mm256_add_ps(_mm256_loadu_ps(from + j), _mm256_setzero_ps());
        _mm_storeu_si128((__m128i *)(void *)(to + j), _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
    }
#else
    (void)n, (void)from, (void)to;
#endif
    return j;
}

static void load_f16(int64_t n, const void *from, int64_t stride, float *to)
{
    const uint16_t *source = from;
    if (stride == 1) {
        for (int64_t j = load_f16_vectors(n, source, to); j < n; j++) to[j] = from_f16(source[j]);
    } else {
        for (int64_t j = 0; j < n; j++) to[j] = from_f16(source[j * stride]);
    }
}

static void store_f16(int64_t n, const float *from, void *to, int64_t stride)
{
    uint16_t *target = to;
    if (stride == 1) {
        for (int64_t j = store_f16_vectors(n, from, target); j < n; j++) target[j] = to_f16(from[j]);
    } else {
        for (int64_t j = 0; j < n; j++) target[j * stride] = to_f16(from[j]);
    }
}

/* -------------------------------------------------------------------------------------------- the others */

static void load_i8(int64_t n, const void *from, int64_t stride, float *to)
{
    const int8_t *source = from;
    if (stride == 1) {
        for (int64_t j = 0; j < n; j++) to[j] = (float)source[j];
    } else {
        for (int64_t j = 0; j < n; j++) to[j] = (float)source[j * stride];
    }
}

static float greatest(int64_t n, const float *from)
{
    float most = 0;
    for (int64_t j = 0; j < n; j++) {
        const float x = fabsf(from[j]);
        most = x > most ? x : most;
    }
    return KERNEL(is_finite)(n, from) ? most : INFINITY;
}

static void quantise_i8(int64_t n, const float *from, float scale, void *to)
{
    static const float most = 127;
    int8_t *target = to;
    for (int64_t j = 0; j < n; j++) {
        const float x = rintf(from[j] / scale);
        target[j] = (int8_t)(x > most ? most : x < -most ? -most : x);
    }
}

static void load_f32(int64_t n, const void *from, int64_t stride, float *to)
{
    KERNEL(gather)(n, from, stride, to);
}

static void store_f32(int64_t n, const float *from, void *to, int64_t stride)
{
    KERNEL(scatter)(n, from, to, stride);
}

#define TABLE(type)                                                                                                    \
    KERNEL(mix_##type),                                                                                                \
    {                                                                                                                  \
        KERNEL(row_products_##type), KERNEL(row_context_##type), NULL                                                  \
    }

const attn_i_stored_kernels KERNEL(stored_f32) = {4, load_f32, store_f32, NULL, NULL, TABLE(f32)};
const attn_i_stored_kernels KERNEL(stored_f16) = {2, load_f16, store_f16, NULL, NULL, TABLE(f16)};
const attn_i_stored_kernels KERNEL(stored_bf16) = {2, load_bf16, store_bf16, NULL, NULL, TABLE(bf16)};
const attn_i_stored_kernels KERNEL(stored_i8) = {1, load_i8, NULL, greatest, quantise_i8, TABLE(i8)};
