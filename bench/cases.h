/* SPDX-License-Identifier: BSD-3-Clause
 *
 * cases.h: the shapes that are measured. Their names are stable: figures of different days are compared by them. */
#ifndef ATTN_BENCH_CASES_H
#define ATTN_BENCH_CASES_H

#include <attn/attn.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    ATTN_BENCH_CAUSAL = 1,
    ATTN_BENCH_ALIBI = 2,
    ATTN_BENCH_SOFTCAP = 4,
    ATTN_BENCH_WINDOW = 8,            /* 10 keys to the left, 10 to the right */
    ATTN_BENCH_MASK_HALF = 16,        /* a checkerboard of 128 x 128 tiles */
    ATTN_BENCH_MASK_ALL = 32,         /* nothing may be seen */
    ATTN_BENCH_STRIDED = 64,          /* [B, S, H, D] in memory */
    ATTN_BENCH_COLD = 128,            /* keys and values rotate through more than the last cache */
    ATTN_BENCH_HOT = 256,             /* inputs are four times as large */
    ATTN_BENCH_QUERY_PROJECTED = 512, /* additive */
    ATTN_BENCH_KEY_PROJECTED = 1024,
    ATTN_BENCH_KEYS_ARE_VALUES = 2048,
    ATTN_BENCH_HAS_HOT = 4096,   /* the table has a -hot variant too */
    ATTN_BENCH_BACKWARD = 8192,  /* attn_backward alone, after a forward call that is not timed */
    ATTN_BENCH_TRAIN = 16384,    /* forward and backward */
    ATTN_BENCH_LOCAL = 32768,    /* dot, predictive local attention, 10 keys on either side, W_p of query_dim rows */
    ATTN_BENCH_DOT = 65536,      /* the same without the window */
    ATTN_BENCH_MEMORY = 1 << 17, /* keys from an attn_memory, made ready before */
    ATTN_BENCH_DECODE =
        1 << 18,               /* ATTN_BENCH_TOKENS positions are appended to keys of them, and attended to, in turn */
    ATTN_BENCH_BF16 = 1 << 19, /* query, key, value and context, and what flows back; without either: float32 */
    ATTN_BENCH_F16 = 1 << 20,
    ATTN_BENCH_HAS_HALVES = 1 << 21, /* the table has -bf16 and -f16 variants too, and, of forward calls, -bf16-fast */
    ATTN_BENCH_PLAN = 1 << 22,       /* attn_plan_run in place of attn_forward, on other addresses at every call */
    ATTN_BENCH_FAST = 1 << 23        /* ATTN_PRECISION_FAST */
};

enum { ATTN_BENCH_TOKENS = 256 };

/* What a case is measured in. */
typedef enum attn_bench_unit {
    ATTN_BENCH_GFLOPS,      /* of exact work, against the multiply-add peak */
    ATTN_BENCH_BANDWIDTH,   /* bytes of keys and values, against reading as many */
    ATTN_BENCH_PEAK_FLOPS,  /* time of a (query, key, hidden) element in multiply-adds at their peak: less is better */
    ATTN_BENCH_NANOSECONDS, /* a call */
    ATTN_BENCH_MICROSECONDS /* a call */
} attn_bench_unit;

typedef struct attn_bench_case {
    char name[40];
    attn_bench_unit unit;
    unsigned flags;
    int64_t batch, query_heads, key_heads, queries, keys, query_dim, key_dim, value_dim;
    int64_t hidden;     /* of the additive score, else 0 */
    char beside[40];    /* another case to time in the same rounds, or "" */
    double beside_part; /* so much of its time would be equal */
} attn_bench_case;

/* Case number index, or NULL past the last. */
const attn_bench_case *attn_bench_case_at(size_t index);
const attn_bench_case *attn_bench_case_named(const char *name);

/* Whether query i may see key j, by causal, window and mask. */
bool attn_bench_sees(const attn_bench_case *c, int64_t i, int64_t j);

/* What query, key, value and context are stored in; the bytes of one such number; and its name, such as "bf16". */
attn_dtype attn_bench_dtype(const attn_bench_case *c);
int64_t attn_bench_number_bytes(const attn_bench_case *c);
const char *attn_bench_dtype_name(const attn_bench_case *c);

/* Multiply-adds, counted as two operations each, of all (query, key) pairs that may be seen, in the directions that are
 * timed; without projections. */
double attn_bench_flops(const attn_bench_case *c);

/* Of the projections of queries and keys, once for each. */
double attn_bench_projection_flops(const attn_bench_case *c);

/* Of keys and values as they are stored, once per key head; of keys that were made ready, those. */
double attn_bench_bytes(const attn_bench_case *c);

/* Of memory that attn_bench_bytes are read from; less where they are read in several calls. */
double attn_bench_footprint(const attn_bench_case *c);

/* (query, key, hidden) elements of an additive score. */
double attn_bench_elements(const attn_bench_case *c);

#endif
