/* SPDX-License-Identifier: BSD-3-Clause
 *
 * kernels/stored.c: float16 and bfloat16, to and from float32. Subnormal numbers are numbers like others, whatever the
 * thread's floating-point mode says. */
#include "kernels/stored.h"

#include "kernels/tiles.h"

#include <string.h>
#if defined(__F16C__)
#include <immintrin.h>
#endif

static inline uint32_t bits_of(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static inline float float_of(uint32_t u)
{
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

static const uint32_t sign = UINT32_C(0x80000000), infinite = UINT32_C(0x7F800000);

/* -------------------------------------------------------------------------------------------- bfloat16 */

static inline float from_bf16(uint16_t h)
{
    return float_of((uint32_t)h << 16);
}

static inline uint16_t to_bf16(float x)
{
    const uint32_t u = bits_of(x), rounded = (u + 0x7FFF + (u >> 16 & 1)) >> 16, quiet = u >> 16 | 0x40;
    return (uint16_t)((u & ~sign) > infinite ? quiet : (u & ~sign) == 0 ? 0 : rounded);
}

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

#if defined(__F16C__)

static inline float from_f16(uint16_t h)
{
    return _cvtsh_ss(h);
}

static inline uint16_t to_f16(float x)
{
    return _cvtss_sh(x + 0, _MM_FROUND_TO_NEAREST_INT);
}

#elif defined(__aarch64__)

static inline float from_f16(uint16_t h)
{
    __fp16 x;
    memcpy(&x, &h, sizeof x);
    return (float)x;
}

static inline uint16_t to_f16(float x)
{
    const __fp16 rounded = (__fp16)(x + 0);
    uint16_t h;
    memcpy(&h, &rounded, sizeof h);
    return h;
}

#else

static inline float from_f16(uint16_t h)
{
    enum { SHIFT = 13, BIAS = (127 - 15) << 23 };
    const uint32_t magnitude = h & 0x7FFF, moved = (magnitude << SHIFT) + BIAS;
    const uint32_t whole = magnitude >= 0x7C00 ? moved + BIAS : moved; /* infinite, or no number */
    const uint32_t u = magnitude < 0x400 ? bits_of((float)magnitude * 0x1p-24f) : whole;
    return float_of((uint32_t)(h & 0x8000) << 16 | u);
}

static inline uint16_t to_f16(float x)
{
    enum { SHIFT = 13, BIAS = (127 - 15) << 23 };
    const uint32_t u = bits_of(x), magnitude = u & ~sign;
    /* The last digit of a subnormal result is the last of a float about 1/2: adding that rounds. */
    const uint32_t subnormal = bits_of(float_of(magnitude) + 0.5f) - bits_of(0.5f);
    const uint32_t normal = (magnitude - BIAS + 0xFFF + (magnitude >> SHIFT & 1)) >> SHIFT;
    uint32_t h = magnitude < (BIAS + (UINT32_C(1) << 23)) ? subnormal : normal;
    if (magnitude >= bits_of(65520.0f)) h = 0x7C00;
    if (magnitude > infinite) h = 0x7E00;
    return (uint16_t)(magnitude == 0 ? 0 : h | (u >> 16 & 0x8000));
}

#endif

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

const attn_i_stored_kernels KERNEL(stored_bf16) = {load_bf16, store_bf16};
const attn_i_stored_kernels KERNEL(stored_f16) = {load_f16, store_f16};
