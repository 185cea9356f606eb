/* SPDX-License-Identifier: BSD-3-Clause
 *
 * cases.c: the table of cases, and how much work each of them is. */
#include "cases.h"

#include <stdio.h>
#include <string.h>

#define GFLOPS       ATTN_BENCH_GFLOPS
#define BANDWIDTH    ATTN_BENCH_BANDWIDTH
#define PEAK_FLOPS   ATTN_BENCH_PEAK_FLOPS
#define NANOSECONDS  ATTN_BENCH_NANOSECONDS
#define MICROSECONDS ATTN_BENCH_MICROSECONDS
#define CAUSAL       ATTN_BENCH_CAUSAL
#define HOT          ATTN_BENCH_HAS_HOT
#define COLD         ATTN_BENCH_COLD
#define HALVES       ATTN_BENCH_HAS_HALVES
#define Q_PROJECTED  ATTN_BENCH_QUERY_PROJECTED
#define K_PROJECTED  ATTN_BENCH_KEY_PROJECTED
#define ONE_MEMORY   ATTN_BENCH_KEYS_ARE_VALUES
#define BACKWARD     ATTN_BENCH_BACKWARD
#define TRAIN        ATTN_BENCH_TRAIN
#define LOCAL        (ATTN_BENCH_LOCAL | ATTN_BENCH_KEYS_ARE_VALUES)
#define DOT          (ATTN_BENCH_DOT | ATTN_BENCH_KEYS_ARE_VALUES)

/* clang-format off */
static const attn_bench_case table[] = {
    /* name, unit, flags, B, Hq, Hk, Tq, Tk, Dq, Dk, Dv, A */
    {"bert-b8-s384", GFLOPS, HOT, 8, 12, 12, 384, 384, 64, 64, 64, 0, "", 0},
    {"bert-b1-s128", GFLOPS, 0, 1, 12, 12, 128, 128, 64, 64, 64, 0, "", 0},
    {"bert-b1-s384", GFLOPS, 0, 1, 12, 12, 384, 384, 64, 64, 64, 0, "", 0},
    {"bert-b1-s512", GFLOPS, 0, 1, 12, 12, 512, 512, 64, 64, 64, 0, "", 0},
    {"bert-b8-s128", GFLOPS, 0, 8, 12, 12, 128, 128, 64, 64, 64, 0, "", 0},
    {"bert-b8-s512", GFLOPS, 0, 8, 12, 12, 512, 512, 64, 64, 64, 0, "", 0},
    {"s2048-d64", GFLOPS, HOT, 1, 8, 8, 2048, 2048, 64, 64, 64, 0, "", 0},
    {"s2048-d128", GFLOPS, HOT, 1, 8, 8, 2048, 2048, 128, 128, 128, 0, "", 0},

    {"gpt2-s128", GFLOPS, CAUSAL | HOT, 1, 12, 12, 128, 128, 64, 64, 64, 0, "", 0},
    {"gpt2-s256", GFLOPS, CAUSAL, 1, 12, 12, 256, 256, 64, 64, 64, 0, "", 0},
    {"gpt2-s512", GFLOPS, CAUSAL | HOT, 1, 12, 12, 512, 512, 64, 64, 64, 0, "", 0},
    {"gpt2-s1024", GFLOPS, CAUSAL | HOT, 1, 12, 12, 1024, 1024, 64, 64, 64, 0, "", 0},
    {"gpt2-s2048", GFLOPS, CAUSAL | HALVES, 1, 12, 12, 2048, 2048, 64, 64, 64, 0, "", 0},
    {"llama-prefill-s512", GFLOPS, CAUSAL, 1, 32, 8, 512, 512, 128, 128, 128, 0, "", 0},
    {"llama-prefill-s1024", GFLOPS, CAUSAL | HALVES, 1, 32, 8, 1024, 1024, 128, 128, 128, 0, "", 0},
    {"llama-prefill-s2048", GFLOPS, CAUSAL | HOT | HALVES, 1, 32, 8, 2048, 2048, 128, 128, 128, 0, "", 0},
    {"llama-prefill-s4096", GFLOPS, CAUSAL, 1, 32, 8, 4096, 4096, 128, 128, 128, 0, "", 0},
    {"llama-prefill-s2048-alibi", GFLOPS, CAUSAL | HOT | ATTN_BENCH_ALIBI, 1, 32, 8, 2048, 2048, 128, 128, 128, 0, "", 0},
    {"llama-prefill-s2048-softcap30", GFLOPS, CAUSAL | HOT | ATTN_BENCH_SOFTCAP, 1, 32, 8, 2048, 2048, 128, 128, 128, 0, "", 0},
    {"one-causal-head-s4096", GFLOPS, CAUSAL | HOT, 1, 1, 1, 4096, 4096, 64, 64, 64, 0, "", 0},

    {"decode-t1k", BANDWIDTH, 0, 1, 32, 8, 1, 1024, 128, 128, 128, 0, "", 0},
    {"decode-t1k-cold", BANDWIDTH, COLD | HALVES, 1, 32, 8, 1, 1024, 128, 128, 128, 0, "", 0},
    {"decode-t4k-cold", BANDWIDTH, COLD | HALVES, 1, 32, 8, 1, 4096, 128, 128, 128, 0, "", 0},
    {"decode-t4k-warm", BANDWIDTH, 0, 1, 32, 8, 1, 4096, 128, 128, 128, 0, "", 0},
    {"decode-t16k-cold", BANDWIDTH, COLD | HALVES, 1, 32, 8, 1, 16384, 128, 128, 128, 0, "", 0},
    {"decode-t16k-warm", BANDWIDTH, 0, 1, 32, 8, 1, 16384, 128, 128, 128, 0, "", 0},
    {"decode-t64k-cold", BANDWIDTH, COLD, 1, 32, 8, 1, 65536, 128, 128, 128, 0, "", 0},
    {"decode-t64k-warm", BANDWIDTH, 0, 1, 32, 8, 1, 65536, 128, 128, 128, 0, "", 0},

    {"decode-b16-t1k-cold", BANDWIDTH, COLD | HALVES, 16, 32, 8, 1, 1024, 128, 128, 128, 0, "", 0},
    {"decode-b16-t2k-cold", BANDWIDTH, COLD | HALVES, 16, 32, 8, 1, 2048, 128, 128, 128, 0, "", 0},
    {"decode-b16-t512-d64-cold", BANDWIDTH, COLD | HALVES, 16, 12, 12, 1, 512, 64, 64, 64, 0, "", 0},
    {"queries-2-t2k", GFLOPS, CAUSAL | HALVES, 1, 32, 8, 2, 2048, 128, 128, 128, 0, "", 0},
    {"queries-4-t2k", GFLOPS, CAUSAL | HALVES, 1, 32, 8, 4, 2048, 128, 128, 128, 0, "", 0},
    {"queries-8-t2k", GFLOPS, CAUSAL | HALVES, 1, 32, 8, 8, 2048, 128, 128, 128, 0, "", 0},
    {"queries-16-t2k", GFLOPS, CAUSAL | HALVES, 1, 32, 8, 16, 2048, 128, 128, 128, 0, "", 0},
    {"queries-32-t2k", GFLOPS, CAUSAL | HALVES, 1, 32, 8, 32, 2048, 128, 128, 128, 0, "", 0},

    {"additive-projected", PEAK_FLOPS, Q_PROJECTED | K_PROJECTED, 80, 1, 1, 50, 50, 1000, 1000, 1000, 1000, "", 0},
    {"additive-states", PEAK_FLOPS, ONE_MEMORY, 80, 1, 1, 50, 50, 1000, 2000, 2000, 1000, "", 0},
    {"additive-step", BANDWIDTH, Q_PROJECTED | K_PROJECTED, 80, 1, 1, 1, 50, 1000, 1000, 1000, 1000, "", 0},
    {"additive-step-states", PEAK_FLOPS, ONE_MEMORY, 80, 1, 1, 1, 50, 1000, 2000, 2000, 1000, "", 0},

    {"mask-half", GFLOPS, ATTN_BENCH_MASK_HALF, 1, 8, 8, 2048, 2048, 64, 64, 64, 0, "s2048-d64", 0.5},
    {"tiny", NANOSECONDS, 0, 1, 1, 1, 1, 5, 4, 4, 4, 0, "", 0},
    {"tiny-plan", NANOSECONDS, ATTN_BENCH_PLAN, 1, 1, 1, 1, 5, 4, 4, 4, 0, "tiny", 1},
    {"long-s16k-h1", GFLOPS, 0, 1, 1, 1, 16384, 16384, 64, 64, 64, 0, "", 0},
    {"long-s16k-h8", GFLOPS, 0, 1, 8, 8, 16384, 16384, 64, 64, 64, 0, "", 0},
    {"awkward-d40", GFLOPS, 0, 1, 8, 8, 512, 512, 40, 40, 40, 0, "", 0},
    {"awkward-d80", GFLOPS, 0, 1, 8, 8, 512, 512, 80, 80, 80, 0, "", 0},
    {"awkward-d96", GFLOPS, 0, 1, 8, 8, 512, 512, 96, 96, 96, 0, "", 0},
    {"one-row", NANOSECONDS, 0, 1, 8, 8, 1, 1, 64, 64, 64, 0, "", 0},
    {"all-masked", MICROSECONDS, ATTN_BENCH_MASK_ALL, 1, 8, 8, 512, 512, 64, 64, 64, 0, "", 0},
    {"strided", GFLOPS, ATTN_BENCH_STRIDED, 1, 12, 12, 512, 512, 64, 64, 64, 0, "bert-b1-s512", 1},
    {"luong-window", GFLOPS, ATTN_BENCH_WINDOW, 1, 1, 1, 512, 512, 1000, 1000, 1000, 0, "", 0},

    {"bert-backward", GFLOPS, BACKWARD | HALVES, 8, 12, 12, 384, 384, 64, 64, 64, 0, "", 0},
    {"s2048-backward", GFLOPS, BACKWARD | HALVES, 1, 8, 8, 2048, 2048, 64, 64, 64, 0, "", 0},
    {"gpt2-backward", GFLOPS, BACKWARD | CAUSAL | HALVES, 1, 12, 12, 1024, 1024, 64, 64, 64, 0, "", 0},
    {"causal-head-train", GFLOPS, TRAIN | CAUSAL, 1, 1, 1, 2048, 2048, 64, 64, 64, 0, "", 0},
    {"additive-train", PEAK_FLOPS, TRAIN | Q_PROJECTED | K_PROJECTED, 80, 1, 1, 50, 50, 1000, 1000, 1000, 1000, "", 0},

    {"local-p-step-s256", MICROSECONDS, LOCAL, 80, 1, 1, 1, 256, 1000, 1000, 1000, 0, "", 0},
    {"local-p-step-s512", MICROSECONDS, LOCAL, 80, 1, 1, 1, 512, 1000, 1000, 1000, 0, "", 0},
    {"local-p-step-s1024", MICROSECONDS, LOCAL, 80, 1, 1, 1, 1024, 1000, 1000, 1000, 0, "", 0},
    {"local-p-step-s2048", MICROSECONDS, LOCAL, 80, 1, 1, 1, 2048, 1000, 1000, 1000, 0, "dot-step-s2048", 1},
    {"local-p-step-s4096", MICROSECONDS, LOCAL, 80, 1, 1, 1, 4096, 1000, 1000, 1000, 0, "", 0},
    {"local-p-step-s8192", MICROSECONDS, LOCAL, 80, 1, 1, 1, 8192, 1000, 1000, 1000, 0, "", 0},
    {"dot-step-s2048", MICROSECONDS, DOT, 80, 1, 1, 1, 2048, 1000, 1000, 1000, 0, "", 0},
    {"local-p-t32-s256", MICROSECONDS, LOCAL, 1, 1, 1, 32, 256, 1000, 1000, 1000, 0, "", 0},
    {"local-p-t32-s512", MICROSECONDS, LOCAL, 1, 1, 1, 32, 512, 1000, 1000, 1000, 0, "", 0},
    {"local-p-t32-s1024", MICROSECONDS, LOCAL, 1, 1, 1, 32, 1024, 1000, 1000, 1000, 0, "", 0},
    {"local-p-t32-s2048", MICROSECONDS, LOCAL, 1, 1, 1, 32, 2048, 1000, 1000, 1000, 0, "dot-t32-s2048", 1},
    {"local-p-t32-s4096", MICROSECONDS, LOCAL, 1, 1, 1, 32, 4096, 1000, 1000, 1000, 0, "", 0},
    {"local-p-t32-s8192", MICROSECONDS, LOCAL, 1, 1, 1, 32, 8192, 1000, 1000, 1000, 0, "", 0},
    {"dot-t32-s2048", MICROSECONDS, DOT, 1, 1, 1, 32, 2048, 1000, 1000, 1000, 0, "", 0},

    {"decode-memory-t0", BANDWIDTH, ATTN_BENCH_DECODE | CAUSAL, 1, 32, 8, 1, 0, 128, 128, 128, 0, "", 0},
    {"decode-memory-t4k", BANDWIDTH, ATTN_BENCH_DECODE | CAUSAL, 1, 32, 8, 1, 4096, 128, 128, 128, 0, "", 0},
    {"additive-step-memory", BANDWIDTH, ATTN_BENCH_MEMORY | Q_PROJECTED | ONE_MEMORY, 80, 1, 1, 1, 50, 1000, 2000, 2000, 1000, "", 0},
};
/* clang-format on */

enum { ROWS = sizeof table / sizeof *table };

enum { VARIANTS = 5 }; /* itself, hot, of either half, and fast */

/* The table, each case with its variants behind it. */
static attn_bench_case all[VARIANTS * ROWS];
static size_t cases;

static attn_bench_case *add_variant(const attn_bench_case *row, unsigned flag, const char *suffix)
{
    attn_bench_case *variant = &all[cases++];
    *variant = *row;
    variant->flags |= flag;
    snprintf(variant->name, sizeof variant->name, "%.29s-%s", row->name, suffix);
    return variant;
}

static void expand(void)
{
    for (size_t r = 0; r < ROWS; r++) {
        const attn_bench_case *row = &table[r];
        all[cases++] = *row;
        if (row->flags & ATTN_BENCH_HAS_HOT) {
            attn_bench_case *hot = add_variant(row, ATTN_BENCH_HOT, "hot");
            memcpy(hot->beside, row->name, sizeof hot->beside);
            hot->beside_part = 1;
        }
        if (row->flags & ATTN_BENCH_HAS_HALVES) {
            add_variant(row, ATTN_BENCH_BF16, "bf16");
            add_variant(row, ATTN_BENCH_F16, "f16");
            if (row->flags & BACKWARD) continue;
            attn_bench_case *fast = add_variant(row, ATTN_BENCH_BF16 | ATTN_BENCH_FAST, "bf16-fast");
            memcpy(fast->beside, row->name, sizeof fast->beside);
            fast->beside_part = 1;
        }
    }
}

const attn_bench_case *attn_bench_case_at(size_t index)
{
    if (cases == 0) expand();
    return index < cases ? &all[index] : NULL;
}

const attn_bench_case *attn_bench_case_named(const char *name)
{
    const attn_bench_case *c;
    for (size_t i = 0; (c = attn_bench_case_at(i)) != NULL; i++) {
        if (strcmp(c->name, name) == 0) return c;
    }
    return NULL;
}

bool attn_bench_sees(const attn_bench_case *c, int64_t i, int64_t j)
{
    const int64_t position = c->keys - c->queries + i;
    if (c->flags & ATTN_BENCH_CAUSAL && j > position) return false;
    if (c->flags & ATTN_BENCH_WINDOW && (j < position - 10 || j > position + 10)) return false;
    if (c->flags & ATTN_BENCH_MASK_HALF && (i / 128 + j / 128) % 2 == 1) return false;
    return !(c->flags & ATTN_BENCH_MASK_ALL);
}

attn_dtype attn_bench_dtype(const attn_bench_case *c)
{
    return c->flags & ATTN_BENCH_BF16 ? ATTN_BF16 : c->flags & ATTN_BENCH_F16 ? ATTN_F16 : ATTN_F32;
}

int64_t attn_bench_number_bytes(const attn_bench_case *c)
{
    return attn_bench_dtype(c) == ATTN_F32 ? 4 : 2;
}

const char *attn_bench_dtype_name(const attn_bench_case *c)
{
    return c->flags & ATTN_BENCH_BF16 ? "bf16" : c->flags & ATTN_BENCH_F16 ? "f16" : "f32";
}

double attn_bench_flops(const attn_bench_case *c)
{
    double pairs = 0;
    for (int64_t i = 0; i < c->queries; i++) {
        for (int64_t j = 0; j < c->keys; j++) pairs += attn_bench_sees(c, i, j);
    }
    /* Backward has the score again, d_query and d_key; and d_weights and d_value. */
    const int64_t forward = c->flags & ATTN_BENCH_BACKWARD ? 0 : 2 * c->key_dim + 2 * c->value_dim;
    const int64_t backward = c->flags & (BACKWARD | TRAIN) ? 6 * c->key_dim + 4 * c->value_dim : 0;
    return pairs * (double)(c->batch * c->query_heads) * (double)(forward + backward);
}

double attn_bench_projection_flops(const attn_bench_case *c)
{
    const int64_t queries = c->flags & ATTN_BENCH_QUERY_PROJECTED ? 0 : c->query_heads * c->queries * c->query_dim;
    const int64_t keys = c->flags & ATTN_BENCH_KEY_PROJECTED ? 0 : c->key_heads * c->keys * c->key_dim;
    return 2.0 * (double)c->batch * (double)(queries + keys) * (double)c->hidden;
}

double attn_bench_bytes(const attn_bench_case *c)
{
    double keys = (double)c->keys;
    int64_t dims = c->key_dim + (c->flags & ATTN_BENCH_KEYS_ARE_VALUES ? 0 : c->value_dim);
    if (c->flags & ATTN_BENCH_MEMORY) dims = c->hidden + c->value_dim;
    if (c->flags & ATTN_BENCH_DECODE) keys = ATTN_BENCH_TOKENS * (keys + (ATTN_BENCH_TOKENS + 1) / 2.0);
    return (double)(attn_bench_number_bytes(c) * c->batch * c->key_heads) * keys * (double)dims;
}

double attn_bench_footprint(const attn_bench_case *c)
{
    return attn_bench_bytes(c) / (c->flags & ATTN_BENCH_DECODE ? ATTN_BENCH_TOKENS : 1);
}

double attn_bench_elements(const attn_bench_case *c)
{
    return (double)(c->batch * c->query_heads * c->queries) * (double)(c->keys * c->hidden);
}
