/* SPDX-License-Identifier: BSD-3-Clause
 *
 * limits.h: what the machine can do at most, measured: the yardsticks of the benchmark. */
#ifndef ATTN_BENCH_LIMITS_H
#define ATTN_BENCH_LIMITS_H

#include <stddef.h>

/* GFLOP/s of float32 fused multiply-adds that this many threads reach together, out of registers alone. Takes about
 * the given time. Each thread runs on a CPU of its own while there are enough; the fastest slice of a millisecond or so
 * counts, as a limit is what is possible. */
double attn_bench_fma_peak(int threads, double seconds);

/* GB/s (1e9 bytes) at which this many threads together read a buffer of this many bytes, each its own part, again and
 * again: from the cache that holds them, or from memory. The buffer is kept for the next call. */
double attn_bench_stream_read(int threads, size_t bytes, double seconds);

/* Bytes of the last-level cache; a guess where the system does not say. */
size_t attn_bench_last_cache(void);

/* The vector instructions that both loops are made of: "avx512", "avx2", "neon", "plain". */
const char *attn_bench_limits_set(void);

#endif
