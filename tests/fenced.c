/* SPDX-License-Identifier: BSD-3-Clause
 *
 * fenced.c: see fenced.h. */
#define _GNU_SOURCE
#include "fenced.h"

#include <inttypes.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

const char *tested;
const attn_i_tile_kernels *kernels;

int take_set(size_t index)
{
    static attn_i_cpu cpu;
    const char *only = getenv("ATTN_KERNELS");
    attn_i_cpu_detect(&cpu);
    tested = only == NULL ? attn_i_kernels_name(&cpu, index) : index == 0 ? only : NULL;
    kernels = tested != NULL ? attn_i_tile_kernels_choose(&cpu, tested) : NULL;
    return kernels != NULL;
}

void fill_numbers(float *to, int64_t n, unsigned seed, double low, double high)
{
    for (int64_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        to[i] = (float)(low + (high - low) * ((double)(seed >> 8) / 0x1p24));
    }
}

float some_nan(unsigned seed)
{
    const uint32_t bits = (seed & 1) << 31 | 0x7fc00000u | seed % 0x3fffff;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static const uint32_t untouched = 0x7fc5a5a5u;

int is_untouched(const float *place)
{
    return memcmp(place, &untouched, sizeof untouched) == 0;
}

float *fenced(int block, int64_t n)
{
    static char *ends[FENCED_BLOCKS];
    if (ends[block] == NULL) {
        const size_t page = (size_t)sysconf(_SC_PAGESIZE);
        const size_t bytes = (FENCED_MOST * sizeof(float) + page - 1) / page * page;
        char *map = mmap(NULL, bytes + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        assert_true(map != MAP_FAILED);
        assert_int_equal(mprotect(map + bytes, page, PROT_NONE), 0);
        ends[block] = map + bytes;
    }
    enum { BEFORE = 64 };
    assert_true(n >= 0 && n + BEFORE <= FENCED_MOST);
    float *at = (float *)(void *)(ends[block] - (size_t)n * sizeof(float));
    for (float *x = at - BEFORE; x < at + n; x++) memcpy(x, &untouched, sizeof untouched);
    return at;
}

attn_i_rows fenced_rows(int block, const float *from, int64_t from_stride, int64_t rows, int64_t width, int64_t stride)
{
    const int64_t n = rows > 0 && width > 0 ? (rows - 1) * stride + width : 0;
    float *at = fenced(block, n);
    for (int64_t i = 0; i < rows && n > 0; i++) {
        memcpy(at + i * stride, from + i * from_stride, (size_t)width * sizeof *at);
    }
    return (attn_i_rows){at, stride};
}

void round_to(const attn_i_stored_kernels *type, float *numbers, int64_t n)
{
    uint16_t half[1];
    for (int64_t i = 0; i < n; i++) {
        if (type->store == NULL) {
            numbers[i] = (float)(int)(numbers[i] * 127);
        } else if (!attn_i_is_float32(type)) {
            type->store(1, &numbers[i], half, 1);
            type->load(1, half, 1, &numbers[i]);
        }
    }
}

attn_i_stored_rows fenced_stored(const attn_i_stored_kernels *type, int block, const float *from, int64_t from_stride,
                                 int64_t rows, int64_t width, int64_t stride)
{
    const int64_t n = rows > 0 && width > 0 ? (rows - 1) * stride + width : 0, floats = (n * type->size + 3) / 4;
    char *at = (char *)(fenced(block, floats) + floats) - n * type->size;
    for (int64_t i = 0; i < rows && n > 0; i++) {
        char *to = at + i * stride * type->size;
        if (type->store != NULL) type->store(width, from + i * from_stride, to, 1);
        for (int64_t d = 0; d < width && type->store == NULL; d++) to[d] = (char)(int)from[i * from_stride + d];
    }
    return (attn_i_stored_rows){at, stride, 0};
}

int64_t tile_elements(int64_t rows, attn_i_spans spans)
{
    return rows > 0 ? (rows - 1) * ATTN_I_LANES + spans.end * ATTN_I_SPAN_LANES : 0;
}

float *fenced_tile(int block, const float *from, int64_t rows, attn_i_spans spans)
{
    const int first = spans.first * ATTN_I_SPAN_LANES, lanes = (spans.end - spans.first) * ATTN_I_SPAN_LANES;
    float *at = fenced(block, tile_elements(rows, spans));
    for (int64_t i = 0; i < rows; i++) {
        memcpy(at + i * ATTN_I_LANES + first, from + i * ATTN_I_LANES + first, (size_t)lanes * sizeof *at);
    }
    return at;
}

static int is_near(double got, double want, double error)
{
    if (isnan(want)) return isnan(got);
    if (isinf(want)) return got == want;
    return fabs(got - want) <= error;
}

void assert_rows(const float *got, int64_t n, int64_t rows, int64_t stride, int64_t first, int64_t end,
                 const double *want, const double *error, int64_t want_stride, doing it)
{
    const int64_t *w = it.with;
    for (int64_t e = -16; e < n; e++) {
        const int64_t i = e < 0 ? -1 : e / stride, l = e < 0 ? -1 : e % stride;
        if (i < 0 || i >= rows || l < first || l >= end) {
            if (is_untouched(got + e)) continue;
            fail_msg("%s, %s (%" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 "): element %" PRId64
                     " (row %" PRId64 ", %" PRId64 ") was touched: %g",
                     tested, it.what, w[0], w[1], w[2], w[3], w[4], e, i, l, (double)got[e]);
        }
        const int64_t at = i * want_stride + l;
        if (is_near((double)got[e], want[at], error != NULL ? error[at] : 0)) continue;
        fail_msg("%s, %s (%" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 "): row %" PRId64 ", %" PRId64
                 " is %.9g, not %.9g to within %.3g",
                 tested, it.what, w[0], w[1], w[2], w[3], w[4], i, l, (double)got[e], want[at],
                 error != NULL ? error[at] : 0);
    }
}
