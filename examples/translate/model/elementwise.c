/* SPDX-License-Identifier: BSD-3-Clause
 *
 * elementwise.c: see elementwise.h. tanh is written with exp, of which the C library has a vector form: it is off by
 * one part in 2^24 of 1, absolutely, and so is no use for tiny numbers, which a gate does not need. */
#include "model/elementwise.h"

#include "model/vectorised.h"

#include <string.h>

VECTORISED void tanh_forward(size_t count, real *x)
{
#pragma omp simd
    for (size_t i = 0; i < count; i++) x[i] = 1 - 2 / (1 + real_exp(2 * x[i]));
}

VECTORISED void tanh_backward(size_t count, const real *y, const real *dy, real *dx)
{
#pragma omp simd
    for (size_t i = 0; i < count; i++) dx[i] = dy[i] * (1 - y[i] * y[i]);
}

VECTORISED void relu_forward(size_t count, real *x)
{
#pragma omp simd
    for (size_t i = 0; i < count; i++) x[i] = x[i] > 0 ? x[i] : 0;
}

VECTORISED void relu_backward(size_t count, const real *y, const real *dy, real *dx)
{
#pragma omp simd
    for (size_t i = 0; i < count; i++) dx[i] = y[i] > 0 ? dy[i] : 0;
}

VECTORISED void maxout_forward(size_t rows, size_t outputs, const real *x, real *y)
{
#pragma omp simd
    for (size_t i = 0; i < rows * outputs; i++) y[i] = x[2 * i] > x[2 * i + 1] ? x[2 * i] : x[2 * i + 1];
}

VECTORISED void maxout_backward(size_t rows, size_t outputs, const real *x, const real *dy, real *dx)
{
#pragma omp simd
    for (size_t i = 0; i < rows * outputs; i++) {
        const bool first = x[2 * i] > x[2 * i + 1];
        dx[2 * i] = first ? dy[i] : 0;
        dx[2 * i + 1] = first ? 0 : dy[i];
    }
}

/* Four numbers are decided by 64 random bits: a probability in steps of 1/256 would be coarse. They lie a quarter of a
 * block apart, so that vectors can be drawn. */
enum { DRAWN = 64, BLOCK = 4 * DRAWN };

VECTORISED static void draw(size_t blocks, random_stream chance, uint64_t limit, unsigned char *restrict kept)
{
    for (size_t b = 0; b < blocks; b++, kept += BLOCK) {
        uint64_t bits[DRAWN];
#pragma omp simd
        for (int i = 0; i < DRAWN; i++) bits[i] = random_bits_ahead(&chance, (uint64_t)i);
        random_skip(&chance, DRAWN);
        for (int quarter = 0; quarter < 4; quarter++) {
            unsigned char *restrict to = kept + quarter * DRAWN;
#pragma omp simd
            for (int i = 0; i < DRAWN; i++) to[i] = ((bits[i] >> (16 * quarter)) & 0xffff) >= limit;
        }
    }
}

unsigned char *dropout_forward(pass *p, size_t count, real *x)
{
    if (p->dropout <= 0) return NULL;
    const size_t blocks = (count + BLOCK - 1) / BLOCK;
    unsigned char *kept = pass_bytes(p, blocks * BLOCK);
    draw(blocks, p->chance, (uint64_t)(p->dropout * 65536), kept);
    random_skip(&p->chance, blocks * DRAWN);
    dropout_backward(p, count, kept, x);
    return kept;
}

VECTORISED static void keep(size_t count, const unsigned char *kept, real factor, real *x)
{
#pragma omp simd
    for (size_t i = 0; i < count; i++) x[i] *= kept[i] ? factor : 0;
}

void dropout_backward(const pass *p, size_t count, const unsigned char *kept, real *dx)
{
    if (kept != NULL) keep(count, kept, (real)(1 / (1 - p->dropout)), dx);
}

/* The greatest number of a row, and the sum of exp(x - greatest). */
VECTORISED static real greatest_of(size_t columns, const real *x)
{
    real greatest = x[0];
#pragma omp simd reduction(max : greatest)
    for (size_t c = 1; c < columns; c++) greatest = x[c] > greatest ? x[c] : greatest;
    return greatest;
}

VECTORISED static real exponentials(size_t columns, real greatest, real *x, real *sum_of_x)
{
    real sum = 0, plain = 0;
#pragma omp simd reduction(+ : sum, plain)
    for (size_t c = 0; c < columns; c++) {
        const real difference = x[c] - greatest;
        plain += difference;
        x[c] = real_exp(difference);
        sum += x[c];
    }
    *sum_of_x = plain;
    return sum;
}

VECTORISED static void multiply_and_subtract(size_t columns, real factor, real less, real *x)
{
#pragma omp simd
    for (size_t c = 0; c < columns; c++) x[c] = x[c] * factor - less;
}

double cross_entropy(size_t rows, size_t columns, real *logits, const int *expected, double smoothing, double scale,
                     double *plain, long *right)
{
    double loss = 0;
    for (size_t r = 0; r < rows; r++) {
        real *x = logits + r * columns;
        if (expected[r] < 0) {
            memset(x, 0, columns * sizeof(real));
            continue;
        }
        const real greatest = greatest_of(columns, x), wanted = x[expected[r]];
        real differences;
        const real sum = exponentials(columns, greatest, x, &differences);
        const double log_sum = log((double)sum), of_wanted = log_sum - (double)(wanted - greatest);
        loss += (1 - smoothing) * of_wanted + smoothing * (log_sum - (double)differences / (double)columns);
        if (plain != NULL) *plain += of_wanted;
        if (right != NULL) *right += wanted >= greatest;
        multiply_and_subtract(columns, (real)scale / sum, (real)(scale * smoothing / (double)columns), x);
        x[expected[r]] -= (real)(scale * (1 - smoothing));
    }
    return loss;
}

void log_softmax(size_t rows, size_t columns, real *logits)
{
    for (size_t r = 0; r < rows; r++) {
        real *x = logits + r * columns;
        const real greatest = greatest_of(columns, x);
        double sum = 0;
        for (size_t c = 0; c < columns; c++) sum += (double)real_exp(x[c] - greatest);
        const real log_sum = greatest + (real)log(sum);
        for (size_t c = 0; c < columns; c++) x[c] -= log_sum;
    }
}

VECTORISED void add_to(size_t count, const real *from, real *to)
{
#pragma omp simd
    for (size_t i = 0; i < count; i++) to[i] += from[i];
}
