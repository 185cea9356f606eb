/* SPDX-License-Identifier: BSD-3-Clause
 *
 * optimiser.c: see optimiser.h. */
#include "train/optimiser.h"

#include "model/elementwise.h"
#include "model/vectorised.h"

void gradients_join(size_t count, int shards, real *const *gradients)
{
    for (int s = 1; s < shards; s++) add_to(count, gradients[s], gradients[0]);
}

VECTORISED static double square_sum(size_t count, const real *x)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < count; i++) sum += (double)x[i] * (double)x[i];
    return sum;
}

VECTORISED static void scale(size_t count, real factor, real *x)
{
#pragma omp simd
    for (size_t i = 0; i < count; i++) x[i] *= factor;
}

double gradient_clip(size_t count, real *gradient, double most)
{
    const double norm = sqrt(square_sum(count, gradient));
    if (most > 0 && norm > most) scale(count, (real)(most / norm), gradient);
    return norm;
}

double learning_rate(double most, long warmup, long steps, long step)
{
    const double risen = warmup > 0 && step < warmup ? (double)(step + 1) / (double)warmup : 1;
    const double fallen = 0.5 * (1 + cos(3.14159265358979323846 * (double)step / (double)steps));
    return most * risen * (0.02 + 0.98 * fallen);
}

VECTORISED static void update(size_t count, real *value, const real *gradient, real *first, real *second, real rate,
                              real second_scale)
{
#pragma omp simd
    for (size_t i = 0; i < count; i++) {
        const real g = gradient[i];
        const real m = first[i] = (real)0.9 * first[i] + (real)0.1 * g;
        const real v = second[i] = (real)0.999 * second[i] + (real)0.001 * g * g;
        value[i] -= rate * m / (real_sqrt(v) * second_scale + (real)1e-8);
    }
}

void adam_step(size_t count, real *value, const real *gradient, real *first, real *second, double rate, long step)
{
    const double first_scale = 1 - pow(0.9, (double)step), second_scale = 1 / sqrt(1 - pow(0.999, (double)step));
    update(count, value, gradient, first, second, (real)(rate / first_scale), (real)second_scale);
}
