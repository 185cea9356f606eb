/* SPDX-License-Identifier: BSD-3-Clause
 *
 * kernels/kernels.h: the table of kernels, the floor where numbers are touched. Each kernel is written once for any
 * element type and instruction set, and compiled once for each set; the engine holds a table per element type. Kernels
 * trust their arguments. `row` is a contiguous row of scores, n of them; strides count elements. */
#ifndef ATTN_I_KERNELS_KERNELS_H
#define ATTN_I_KERNELS_KERNELS_H

#include "attn/attn.h"
#include "kernels/arithmetic.h"
#include "kernels/stored.h"
#include "kernels/tile.h"
#include "runtime/cpu.h"

/* What the normaliser found in a row. */
typedef enum attn_i_seen {
    ATTN_I_SEEN_NONE, /* every score is minus infinity: the row is 0 */
    ATTN_I_SEEN_SOME,
    ATTN_I_SEEN_ALL
} attn_i_seen;

typedef struct attn_i_kernels {
    const char *name; /* of the instruction set */

    /* to[j] = from[j stride] */
    void (*gather)(int64_t n, const void *from, int64_t stride, void *to);
    /* to[j stride] = from[j]; minus zero becomes zero */
    void (*scatter)(int64_t n, const void *from, void *to, int64_t stride);
    /* to[j to_stride] = from[j stride] */
    void (*move)(int64_t n, const void *from, int64_t stride, void *to, int64_t to_stride);
    void (*fill)(int64_t n, double value, void *to, int64_t stride);

    /* row[j] = factor row[j] */
    void (*scale)(int64_t n, double factor, void *row);
    /* row[j] = cap tanh(row[j] / cap) */
    void (*softcap)(int64_t n, double cap, void *row);
    void (*add_bias)(int64_t n, const void *bias, int64_t stride, void *row);
    /* row[j] -= slope[0] |distance + j|; distance is that of the row's first key from the query */
    void (*add_alibi)(int64_t n, const void *slope, int64_t distance, void *row);
    /* row[j] = minus infinity where mask[j stride] is 0 */
    void (*hide)(int64_t n, const uint8_t *mask, int64_t stride, void *row);

    /* The normalisers turn scores into weights in place and tell the log-sum-exp at the same temperature. A score of
     * minus infinity was not seen: its weight is minus zero, a mark that adds nothing to a sum and tells it from a
     * weight that is too small to hold. */
    attn_i_seen (*softmax)(int64_t n, double temperature, void *row, double *logsumexp);
    attn_i_seen (*hardmax)(int64_t n, double temperature, void *row, double *logsumexp);
    /* What the softmax of a row of scores will be: its entropy, 0 where nothing is seen, NaN where the weights are; and
     * the first of its greatest, -1 in either case. */
    void (*measure)(int64_t n, double temperature, const void *row, double *entropy, int64_t *strongest);
    /* sums[j] += row[j] */
    void (*add_to_sums)(int64_t n, const void *row, double *sums);

    /* scores[j] = sum over a of v[a] tanh(query[a] + keys[j key_stride + a]), j < n */
    void (*tanh_scores)(int64_t hidden, const void *v, const void *query, int64_t n, const void *keys,
                        int64_t key_stride, void *scores);

    /* to[j] = change[j] (1 - tanh[j]^2): the gradient by x of what tanh = tanh(x) has as its own */
    void (*tanh_gradient)(int64_t n, const void *tanh, const void *change, void *to);

    /* cosines[i], sines[i] of position frequencies[i], within 2^-52 and then rounded; n is a multiple of 16 */
    void (*angles)(int64_t n, double position, const double *frequencies, void *cosines, void *sines);
    /* Turns pairs: of pair i one element lies at i step, the other `apart` behind it; so in `to`, which may be `from`
     * if all lies there alike. Cosines and sines can be read up to a multiple of 16. */
    void (*turn)(int64_t pairs, const void *cosines, const void *sines, const void *from, int64_t step, int64_t apart,
                 void *to, int64_t to_step, int64_t to_apart);

    /* row[j] *= keep, or = dropped where the draw drops key first_key + j of row `of` */
    void (*drop)(int64_t n, const attn_i_draw *draw, uint64_t of, int64_t first_key, double keep, double dropped,
                 void *row);

    /* Backward. row[j] = exp(row[j] / temperature - logsumexp), with the mark of the unseen */
    attn_i_seen (*weights_again)(int64_t n, double temperature, double logsumexp, void *row);
    /* The sum over j of weights[j] row[j], of what is seen */
    double (*weighted_sum)(int64_t n, const void *weights, const void *row);
    /* row[j] = factor weights[j] (row[j] - mean), the mark of the unseen where the weight has it */
    void (*softmax_gradient)(int64_t n, double mean, double factor, const void *weights, void *row);
    /* row[j] *= scale (1 - (capped[j] / cap)^2), or scale where capped is NULL; 0 stays as it is, mark or not */
    void (*cap_gradient)(int64_t n, double scale, double cap, const void *capped, void *row);
    /* The sum over j of -|distance + j| row[j] */
    double (*alibi_gradient)(int64_t n, int64_t distance, const void *row);
    /* to[j stride] += row[j] */
    void (*add_to)(int64_t n, const void *row, void *to, int64_t stride);
    /* to[0] += the sum of the row */
    void (*add_sum)(int64_t n, const void *row, void *to);
    /* With t = tanh(query[a] + key_j[a]) and c_j = d_scores[j]: d_query[a] += v[a] sum over j of c_j (1 - t^2),
     * d_key_j[a] += v[a] c_j (1 - t^2), d_v[a] += sum over j of c_j t. A NULL is not wanted. */
    void (*tanh_gradients)(int64_t hidden, const void *v, const void *query, int64_t n, const void *keys,
                           int64_t key_stride, const void *d_scores, void *d_query, void *d_keys, int64_t d_key_stride,
                           void *d_v);

    /* to[j] = row . rows[j], j < n */
    void (*dots)(int64_t depth, const void *row, int64_t n, const void *rows, int64_t stride, void *to);
    /* to += sum over j of weights[j] rows[j], and to[j] += weights[j] row, but for what is not seen */
    void (*add_rows)(int64_t n, const void *weights, const void *rows, int64_t stride, int64_t depth, void *to);
    void (*add_outer)(int64_t n, const void *weights, const void *row, int64_t depth, void *to, int64_t stride);
    /* row[j] *= factor[j] */
    void (*multiply)(int64_t n, const void *factor, void *row);
    /* Softmax down columns: each element of a row with what its column has. */
    /* most[j] = the greater of row[j] and most[j]; passes over NaN */
    void (*column_maximum)(int64_t n, const void *row, void *most);
    /* row[j] = exp(row[j] - reference[j]), 0 for minus infinity; sum[j] += row[j] unless sum is NULL */
    void (*column_exponentials)(int64_t n, const void *reference, void *row, void *sum);
    /* to[j] += weights[j] (row[j] - mean[j]), nothing where the weight is 0 */
    void (*column_gradient)(int64_t n, const void *mean, const void *weights, const void *row, void *to);

    /* 1 if every element is finite */
    int (*is_finite)(int64_t n, const void *row);
    /* to[j to_stride] = from[j stride], or 0 where that is not finite; 1 if all are finite */
    int (*gather_finite)(int64_t n, const void *from, int64_t stride, void *to, int64_t to_stride);
    /* to[j] += weight[0] from[j stride] for those that are not finite */
    void (*add_not_finite)(int64_t n, const void *weight, const void *from, int64_t stride, void *to);
    /* 1 if the weight has the mark of an unseen key */
    int (*is_unseen)(const void *weight);
} attn_i_kernels;

/* The set of that name for ATTN_F32 or ATTN_F64, or with name NULL the widest; NULL if this build or this CPU has not
 * that set. */
const attn_i_kernels *attn_i_kernels_choose(const attn_i_cpu *cpu, const char *name, attn_dtype dtype);

/* The same set's kernels of tiles. */
const attn_i_tile_kernels *attn_i_tile_kernels_choose(const attn_i_cpu *cpu, const char *name);

/* The same set's kernels of what is kept as ATTN_F32, ATTN_F16, ATTN_BF16 or ATTN_I8. */
const attn_i_stored_kernels *attn_i_stored_kernels_choose(const attn_i_cpu *cpu, const char *name, attn_dtype dtype);

/* The same set's arithmetic of float32. */
const attn_i_tile_arithmetic *attn_i_tile_float_choose(const attn_i_cpu *cpu, const char *name);

/* Kernels that multiply numbers of one type as they are kept, by an instruction that this CPU is quick at. */
typedef struct attn_i_fast_kernels {
    const char *set, *instruction;      /* of the set of that name */
    attn_dtype dtype;                   /* of keys and values */
    const attn_i_tile_arithmetic *tile; /* for queries of that type, too; NULL: tiles are of float32 */
    const attn_i_row_kernels *rows;     /* for few queries */
    int (*suits)(const attn_i_cpu *cpu);
} attn_i_fast_kernels;

/* Those for a type that go with the set of that name; NULL: there are none, or they would not be faster. */
const attn_i_fast_kernels *attn_i_fast_kernels_choose(const attn_i_cpu *cpu, const char *name, attn_dtype dtype);

/* The names of the sets that this CPU can run, from narrow to wide; NULL past the last. */
const char *attn_i_kernels_name(const attn_i_cpu *cpu, size_t index);

#endif
