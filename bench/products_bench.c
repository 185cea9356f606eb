/* SPDX-License-Identifier: BSD-3-Clause
 *
 * products_bench.c: the library's own matrix product beside the BLAS's, both as per cent of what the CPU's multipliers
 * can do. A projection is no call of the library, so this program is linked with its archive and sees its inside.
 *
 *     products_bench [--threads N] [SIZE...]     square products; 512, 1024, 2048 and 4096 on one thread unless told */
#define _GNU_SOURCE
#include "limits.h"
#include "runtime/blas.h"
#include "score/projection.h"
#include "statistics.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS = 11 };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void *take(size_t bytes)
{
    void *memory = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (memory == NULL) {
        fprintf(stderr, "products_bench: no memory\n");
        exit(1);
    }
    memset(memory, 0, bytes);
    return memory;
}

static attn_i_matrix random_matrix(int64_t n)
{
    attn_i_matrix m = attn_i_matrix_dense(take((size_t)(n * n) * sizeof(float)), n, n);
    for (int64_t i = 0; i < n * n; i++) ((float *)(void *)m.data)[i] = (float)(random() % 2001 - 1000) / 1000;
    return m;
}

static void compare(const attn_i_problem *p, int64_t n, int threads)
{
    attn_i_matrix from = random_matrix(n), map = attn_i_matrix_transpose(random_matrix(n)), to = random_matrix(n);
    double peak[ROUNDS], ours[ROUNDS], blas[ROUNDS];
    attn_i_arena arena = {.base = NULL};
    attn_i_projection_layout(p, &arena, map, n, 1);
    arena = (attn_i_arena){.base = take((size_t)arena.used)};
    attn_i_projection projection = attn_i_projection_layout(p, &arena, map, n, 1);
    const int repeats = n <= 1024 ? (int)(1024 / n * (1024 / n)) * 4 : 1;
    for (int round = -1; round < ROUNDS; round++) { /* the first warms up */
        const int r = round < 0 ? 0 : round;
        peak[r] = attn_bench_fma_peak(threads, 0.02) * 1e9;
        double start = now();
        for (int i = 0; i < repeats; i++) {
            attn_i_projection_load(p, &projection);
            attn_i_project(p, &projection, from, to);
        }
        ours[r] = (now() - start) / repeats;
        start = now();
        for (int i = 0; i < repeats; i++) attn_i_blas_multiply(ATTN_F32, from, map, to, 0);
        blas[r] = (now() - start) / repeats;
    }
    const double flops = 2.0 * (double)n * (double)n * (double)n, most = attn_bench_median(peak, ROUNDS);
    const attn_bench_interval ratio = attn_bench_ratio(blas, ours, ROUNDS);
    printf("%6" PRId64 "  %8.1f  %5.1f %%  %8.1f  %5.1f %%  %5.2f (%.2f to %.2f)\n", n,
           flops / attn_bench_median(ours, ROUNDS) / 1e9, 100 * flops / attn_bench_median(ours, ROUNDS) / most,
           flops / attn_bench_median(blas, ROUNDS) / 1e9, 100 * flops / attn_bench_median(blas, ROUNDS) / most,
           ratio.median, ratio.low, ratio.high);
    fflush(stdout);
    free(from.data), free(map.data), free(to.data), free(arena.base);
}

/* A whole number from the command line; ends the program if it is none from 1 to 65536. */
static int64_t number(const char *word)
{
    char *end;
    const long long n = strtoll(word, &end, 10);
    if (end != word && *end == 0 && n >= 1 && n <= 65536) return n;
    fprintf(stderr, "products_bench: \"%s\", but a number from 1 to 65536 is meant\n", word);
    exit(2);
}

int main(int argc, char **argv)
{
    static const int64_t sizes[] = {512, 1024, 2048, 4096};
    int threads = 1, first = 1;
    if (argc > 2 && strcmp(argv[1], "--threads") == 0) {
        threads = (int)number(argv[2]);
        first = 3;
    }
    /* OpenBLAS reads its number of threads once, while it is loaded. */
    if (getenv("OPENBLAS_NUM_THREADS") == NULL) {
        char count[12];
        snprintf(count, sizeof count, "%d", threads);
        setenv("OPENBLAS_NUM_THREADS", count, 1);
        execv("/proc/self/exe", argv);
    }
    attn_engine_options options = ATTN_ENGINE_OPTIONS_INIT;
    attn_engine *engine;
    options.threads = threads;
    if (attn_engine_create(&options, &engine) != ATTN_OK) {
        fprintf(stderr, "products_bench: %s\n", attn_last_error());
        return 1;
    }
    attn_i_problem p = {.engine = engine, .threads = threads, .dtype = ATTN_F32, .size = sizeof(float)};
    p.kernels = attn_i_engine_kernels(engine, ATTN_F32);
    printf("%s %s, core %s; our kernels: %s; %d thread%s\n", engine->blas.library, engine->blas.version,
           engine->blas.core, p.kernels->name, threads, threads == 1 ? "" : "s");
    printf("  size   GFLOP/s  of peak      BLAS  of peak  time of the BLAS / time of ours\n");
    for (int i = first; i < argc; i++) compare(&p, number(argv[i]), threads);
    for (size_t i = 0; first == argc && i < sizeof sizes / sizeof *sizes; i++) compare(&p, sizes[i], threads);
    attn_engine_destroy(engine);
    return 0;
}
