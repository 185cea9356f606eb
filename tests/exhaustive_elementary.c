/* SPDX-License-Identifier: BSD-3-Clause
 *
 * exhaustive_elementary.c: exp and tanh of kernels/elementary.h over all 2^32 float32 inputs, for every set of kernels
 * that the CPU has: within 2 units in the last place of the true value, which is the C library's in float64 (its own
 * error is some 2^-29 of such a unit); NaN and infinities as they should be; the same bits at another
 * place in a vector.
 *
 *     exhaustive_elementary [PART [THREADS]]     one block of inputs in PART, and the start of each binade; 1: all */
#define _POSIX_C_SOURCE 200809L
#include "elementary_set.h"

#include "kernels/kernels.h"

#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ELEMENTARY_SETS is SET(portable)SET(avx2)...: those that were compiled. */
#define SET(name) extern const elementary_set elementary_##name;
ELEMENTARY_SETS
#undef SET
#define SET(name) &elementary_##name,
static const elementary_set *const compiled[] = {ELEMENTARY_SETS};

enum { SETS = sizeof compiled / sizeof *compiled, BLOCK = 4096, MOST_THREADS = 64 };
static const uint64_t blocks = (UINT64_C(1) << 32) / BLOCK, binade = (1 << 23) / BLOCK;

typedef enum function { EXP, TANH, FUNCTIONS } function;
static const char *const function_names[] = {"exp", "tanh"};

/* The worst of one function on one set, and how many results are beyond 2 ulp or wrong in another way. */
typedef struct verdict {
    double ulps;
    float x, got;
    double want;
    uint64_t wrong, moved; /* moved: another result at another place */
} verdict;

typedef struct worker {
    pthread_t thread;
    verdict of[SETS][FUNCTIONS];
    uint64_t inputs;
} worker;

static int runs[SETS]; /* whether the CPU has the set */
static uint64_t part;
static atomic_ullong next_block;

/* |got - want| in units of float32's last place at want: infinite if they differ in kind. */
static double ulps(float got, double want)
{
    if (isnan(want)) return isnan(got) ? 0 : HUGE_VAL;
    if (isinf((float)want) || isinf(got)) return (float)want == got ? 0 : HUGE_VAL;
    uint64_t bits;
    memcpy(&bits, &want, sizeof bits);
    int64_t exponent = (int64_t)(bits >> 52 & 0x7ff) - 1023;
    if (exponent < -126) exponent = -126;
    const uint64_t inverse_bits = (uint64_t)(23 - exponent + 1023) << 52;
    double inverse;
    memcpy(&inverse, &inverse_bits, sizeof inverse);
    return fabs((double)got - want) * inverse;
}

/* What an error bound does not say: exp is never negative, tanh is odd and at most 1. Zeros have a sign, too. */
static int is_in_range(function f, float x, float got)
{
    if (isnan(x)) return 1;
    return f == EXP ? !signbit(got) : !signbit(got) == !signbit(x) && fabsf(got) <= 1;
}

static void judge(verdict *v, function f, const float *x, const float *got, const double *want)
{
    for (int i = 0; i < BLOCK; i++) {
        double error = ulps(got[i], want[i]);
        if (!is_in_range(f, x[i], got[i])) error = HUGE_VAL;
        if (!(error <= 2)) v->wrong++;
        if (error > v->ulps) {
            v->ulps = error;
            v->x = x[i];
            v->got = got[i];
            v->want = want[i];
        }
    }
}

/* The same inputs, each shift places further in its vector or the next one. */
static void compare_places(verdict *v, void (*compute)(size_t, const float *, float *), const float *x,
                           const float *got, int shift)
{
    float moved_x[BLOCK], moved[BLOCK];
    for (int i = 0; i < BLOCK; i++) moved_x[(i + shift) % BLOCK] = x[i];
    compute(BLOCK, moved_x, moved);
    for (int i = 0; i < BLOCK; i++) v->moved += memcmp(&moved[(i + shift) % BLOCK], &got[i], sizeof *got) != 0;
}

static void take_block(worker *w, uint64_t block)
{
    float x[BLOCK], got[BLOCK];
    double want[FUNCTIONS][BLOCK];
    for (int i = 0; i < BLOCK; i++) {
        const uint32_t bits = (uint32_t)(block * BLOCK) + (uint32_t)i;
        memcpy(&x[i], &bits, sizeof bits);
        want[EXP][i] = exp((double)x[i]);
        want[TANH][i] = tanh((double)x[i]);
    }
    for (int s = 0; s < SETS; s++) {
        if (!runs[s]) continue;
        for (function f = EXP; f < FUNCTIONS; f++) {
            void (*compute)(size_t, const float *, float *) = f == EXP ? compiled[s]->exp : compiled[s]->tanh;
            compute(BLOCK, x, got);
            judge(&w->of[s][f], f, x, got, want[f]);
            compare_places(&w->of[s][f], compute, x, got, 1 + (int)(block % 31));
        }
    }
    w->inputs += BLOCK;
}

static void *run(void *data)
{
    uint64_t block;
    while ((block = atomic_fetch_add(&next_block, 1)) < blocks) {
        if (block % part == 0 || block % binade == 0) take_block(data, block);
    }
    return NULL;
}

/* Prints what the workers found; returns 1 if it is not good enough. */
static int report(const worker *workers, int threads)
{
    int bad = 0;
    uint64_t inputs = 0;
    for (int t = 0; t < threads; t++) inputs += workers[t].inputs;
    printf("%" PRIu64 " inputs\n", inputs);
    for (int s = 0; s < SETS; s++) {
        for (function f = EXP; runs[s] && f < FUNCTIONS; f++) {
            verdict all = workers[0].of[s][f];
            for (int t = 1; t < threads; t++) {
                const verdict *one = &workers[t].of[s][f];
                const uint64_t wrong = all.wrong + one->wrong, moved = all.moved + one->moved;
                if (one->ulps > all.ulps) all = *one;
                all.wrong = wrong;
                all.moved = moved;
            }
            printf("%-9s %-4s %.4f ulp at %a: %a instead of %a; %" PRIu64 " wrong, %" PRIu64
                   " other elsewhere in a vector\n",
                   compiled[s]->name, function_names[f], all.ulps, (double)all.x, (double)all.got, all.want, all.wrong,
                   all.moved);
            bad |= all.wrong > 0 || all.moved > 0;
        }
        if (!runs[s]) printf("%-9s not on this CPU\n", compiled[s]->name);
    }
    return bad;
}

static long number(const char *text, long least, long most)
{
    char *end;
    const long n = strtol(text, &end, 10);
    if (end != text && *end == '\0' && n >= least && n <= most) return n;
    fprintf(stderr, "usage: exhaustive_elementary [PART [THREADS]]\n");
    exit(2);
}

int main(int argc, char **argv)
{
    static worker workers[MOST_THREADS];
    attn_i_cpu cpu;
    attn_i_cpu_detect(&cpu);
    part = argc > 1 ? (uint64_t)number(argv[1], 1, 1 << 20) : 1;
    const int threads = argc > 2                   ? (int)number(argv[2], 1, MOST_THREADS)
                        : cpu.count < MOST_THREADS ? cpu.count
                                                   : MOST_THREADS;
    for (int s = 0; s < SETS; s++) runs[s] = attn_i_kernels_choose(&cpu, compiled[s]->name, ATTN_F32) != NULL;
    for (int t = 0; t < threads; t++) {
        if (pthread_create(&workers[t].thread, NULL, run, &workers[t]) != 0) return 2;
    }
    for (int t = 0; t < threads; t++) pthread_join(workers[t].thread, NULL);
    return report(workers, threads);
}
