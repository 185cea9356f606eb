/* SPDX-License-Identifier: BSD-3-Clause
 *
 * attn_bench.c: how fast attn_forward is on this machine, beside the two bare matrix products of the same shapes
 * through the same BLAS (without softmax): what is left of their speed is what a call costs around them. Both are timed
 * in turn, so that a machine whose speed drifts drifts for both.
 *
 *     attn_bench [--quick]     --quick: one shape, one line */
#define _POSIX_C_SOURCE 200809L
#include <attn/attn.h>
#include <cblas.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct shape {
    const char *name;
    int batch, heads, length, dim, causal;
} shape;

static const shape shapes[] = {
    {"BERT base, B8 H12 S384 D64", 8, 12, 384, 64, 0},
    {"long, B1 H8 S2048 D64", 1, 8, 2048, 64, 0},
    {"long, B1 H8 S2048 D128", 1, 8, 2048, 128, 0},
    {"GPT-2 causal, B1 H12 S128 D64", 1, 12, 128, 64, 1},
    {"GPT-2 causal, B1 H12 S1024 D64", 1, 12, 1024, 64, 1},
    {"decode, B1 H32 S4096 D128, one query", 1, 32, 4096, 128, 2},
};

enum { MOST_ROUNDS = 31 };
static const double enough_seconds = 2;

static void check(attn_status status)
{
    if (status == ATTN_OK) return;
    fprintf(stderr, "attn_bench: %s\n", attn_last_error());
    exit(1);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static float *numbers(size_t count)
{
    static unsigned seed = 1;
    float *data = malloc(count * sizeof *data);
    if (data == NULL) {
        fprintf(stderr, "attn_bench: no memory for %zu numbers\n", count);
        exit(1);
    }
    for (size_t i = 0; i < count; i++) {
        seed = seed * 1664525u + 1013904223u;
        data[i] = (float)(seed >> 8) / 4194304.0f - 2.0f;
    }
    return data;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *times, int count)
{
    qsort(times, (size_t)count, sizeof *times, ascending);
    return times[count / 2];
}

/* scores = q k^T and context = scores v for each head: what no implementation on this BLAS can do without. */
static void bare_products(const shape *s, int queries, const float *q, const float *k, const float *v, float *scores,
                          float *context)
{
    for (int h = 0; h < s->batch * s->heads; h++) {
        size_t at = (size_t)h * (size_t)s->length * (size_t)s->dim,
               query = (size_t)h * (size_t)queries * (size_t)s->dim;
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, queries, s->length, s->dim, 1, q + query, s->dim, k + at,
                    s->dim, 0, scores, s->length);
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, queries, s->dim, s->length, 1, scores, s->length, v + at,
                    s->dim, 0, context + query, s->dim);
    }
}

static void run(attn_engine *engine, const shape *s)
{
    const int queries = s->causal == 2 ? 1 : s->length;
    const size_t keys = (size_t)s->batch * (size_t)s->heads * (size_t)s->length * (size_t)s->dim;
    float *q = numbers(keys), *k = numbers(keys), *v = numbers(keys), *c = numbers(keys);
    float *scores = numbers((size_t)queries * (size_t)s->length);
    attn_tensor query, key, value, context;
    const int64_t query_shape[4] = {s->batch, s->heads, queries, s->dim};
    const int64_t key_shape[4] = {s->batch, s->heads, s->length, s->dim};
    check(attn_tensor_init(&query, q, ATTN_F32, 4, query_shape));
    check(attn_tensor_init(&key, k, ATTN_F32, 4, key_shape));
    check(attn_tensor_init(&value, v, ATTN_F32, 4, key_shape));
    check(attn_tensor_init(&context, c, ATTN_F32, 4, query_shape));

    attn_mechanism *mechanism;
    check(attn_mechanism_create_scaled_dot(engine, &mechanism));
    if (s->causal) check(attn_mechanism_set_causal(mechanism, ATTN_ALIGN_BOTTOM_RIGHT));
    attn_forward_args args = ATTN_FORWARD_ARGS_INIT;
    args.query = &query;
    args.key = &key;
    args.value = &value;
    args.context = &context;
    check(attn_forward_workspace(mechanism, &args, &args.workspace_size));
    args.workspace = malloc(args.workspace_size);

    double ours[MOST_ROUNDS], bare[MOST_ROUNDS], start = now();
    int rounds = 0;
    for (int warm = 0; warm < 2; warm++) {
        check(attn_forward(mechanism, &args));
        bare_products(s, queries, q, k, v, scores, c);
    }
    while (rounds < MOST_ROUNDS && (rounds < 5 || now() - start < enough_seconds)) {
        double a = now();
        check(attn_forward(mechanism, &args));
        double b = now();
        bare_products(s, queries, q, k, v, scores, c);
        ours[rounds] = b - a;
        bare[rounds++] = now() - b;
    }
    double visible = s->causal == 1 ? 0.5 * s->length * (s->length + 1.0) : (double)queries * s->length;
    double work = 4.0 * s->dim * visible * s->batch * s->heads;
    double products = 4.0 * s->dim * (double)queries * s->length * s->batch * s->heads;
    double t = median(ours, rounds), tb = median(bare, rounds);
    printf("%-38s %9.3f ms %7.1f GFLOP/s | bare products %7.1f GFLOP/s | time ratio %.2f\n", s->name, t * 1e3,
           work / t * 1e-9, products / tb * 1e-9, t / tb);
    fflush(stdout);
    attn_mechanism_destroy(mechanism);
    free(args.workspace);
    free(q);
    free(k);
    free(v);
    free(c);
    free(scores);
}

/* The value of a string or number in the engine's JSON; enough for the keys that are asked for here. */
static void print_member(const char *json, const char *section, const char *key)
{
    char wanted[64];
    const char *at = strstr(json, section);
    snprintf(wanted, sizeof wanted, "\"%s\":", key);
    at = at == NULL ? NULL : strstr(at, wanted);
    if (at == NULL) return;
    at += strlen(wanted);
    if (*at == '"') at++;
    printf("%.*s", (int)strcspn(at, ",\"}"), at);
}

int main(int argc, char **argv)
{
    const int quick = argc == 2 && strcmp(argv[1], "--quick") == 0;
    if (argc > 2 || (argc == 2 && !quick)) {
        fprintf(stderr, "usage: attn_bench [--quick]\n");
        return 2;
    }
    attn_engine *engine;
    char json[8192];
    size_t bytes = sizeof json;
    check(attn_engine_create(NULL, &engine));
    check(attn_engine_describe(engine, json, &bytes));
    printf("libattn %s, %s, ", attn_version(), "float32");
    print_member(json, "", "threads");
    printf(" threads, kernels ");
    print_member(json, "", "kernels");
    printf("; ");
    print_member(json, "\"cpu\"", "model");
    printf("; ");
    print_member(json, "\"blas\"", "version");
    printf(", core ");
    print_member(json, "\"blas\"", "core");
    printf("\n");
    for (size_t i = 0; i < (quick ? 1 : sizeof shapes / sizeof *shapes); i++) run(engine, &shapes[i]);
    attn_engine_destroy(engine);
    return 0;
}
