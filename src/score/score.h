/* SPDX-License-Identifier: BSD-3-Clause
 *
 * score/score.h: what a score function is to the pipeline. A score function is one file that fills one of these and
 * defines the public function that creates its mechanism; nothing else in the library knows it by name. */
#ifndef ATTN_I_SCORE_SCORE_H
#define ATTN_I_SCORE_SCORE_H

#include "call/problem.h"
#include "kernels/tile.h"
#include "runtime/memory.h"
#include "score/projection.h"
#include "softmax/context.h"

/* A score function's parameters as its functions want them during one call. */
typedef struct attn_i_score_state {
    int own_products;          /* set by the way before the layout: projections by our kernels, not the BLAS; */
    int steady;                /* and by those that give a row the same bits however many there are */
    attn_i_projection queries; /* what prepare_queries multiplies by, [Dq, query width] */
    attn_i_projection keys;    /* what prepare_keys multiplies by, [Dk, key width] */
    attn_i_operand places;     /* what plays the keys' part where there are none, [Dq, keys] */
    void *v, *b;               /* contiguous vectors, or NULL; v padded by zeros to whole spans of lanes */
} attn_i_score_state;

/* A block of scores to compute: prepared queries [rows, query width], the prepared keys [keys, key width] that it
 * spans, the first of them being key `first` of the sequence, and the scores [rows, keys]. */
typedef struct attn_i_score_block {
    attn_i_matrix queries, keys, scores;
    int64_t first;
} attn_i_score_block;

/* A score function that is no product, in the fused way (see kernels/tile.h): prepared keys are converted once to what
 * the scores are computed from, and so are the queries of each pass. */
struct attn_i_score_sums;

typedef struct attn_i_lane_score {
    /* Elements from one converted key to the next, and of a pass' converted queries. */
    int64_t (*key_elements)(const attn_i_problem *);
    int64_t (*query_elements)(const attn_i_problem *);
    /* `from` may be where the converted key goes. */
    void (*convert_key)(const attn_i_problem *, const float *from, float *to);
    /* Back again, within roundings. */
    void (*restore_key)(const attn_i_problem *, const float *from, float *to);
    void (*convert_queries)(const attn_i_problem *, const attn_i_score_state *, int64_t count, const float *const *from,
                            float *to);
    /* The unscaled scores of `count` keys with the first `rows` lanes. */
    void (*scores)(const attn_i_problem *, const attn_i_score_state *, const float *queries, int64_t rows,
                   attn_i_rows keys, int64_t count, float *tile);
    /* Backward: what the gradients of such scores, in lanes first .. first + rows - 1, 0 where nothing is seen, add to
     * rows of prepared queries and keys, whole spans wide, and to `own`, of so many elements, for parameters. */
    int64_t (*own_elements)(const attn_i_problem *);
    void (*gradients)(const attn_i_problem *, const attn_i_score_state *, const float *queries, int64_t first,
                      int64_t rows, attn_i_rows keys, int64_t count, const float *d_scores, attn_i_sum_rows d_queries,
                      attn_i_sum_rows d_keys, float *own);
    /* `own` being complete. */
    void (*add_own)(const attn_i_problem *, const float *own, struct attn_i_score_sums *);
} attn_i_lane_score;

/* What the gradients of one call's scores are summed in. A matrix or vector without data is not wanted. */
typedef struct attn_i_score_sums {
    attn_i_matrix params[ATTN_I_MOST_PARAMS]; /* in the mechanism's order; what the BLAS can write to */
    attn_i_context_scratch clean;             /* for products with keys that may hold what is not finite */
    char *part;                               /* of the score function's own, laid out by it: */
    double *v, *b;
} attn_i_score_sums;

/* Gradients of one block: of its scores, and what they add to. */
typedef struct attn_i_score_gradient {
    attn_i_score_block block;  /* its scores are the gradients of the scores, with the mark of the unseen */
    const unsigned char *seen; /* an attn_i_seen for each row */
    attn_i_matrix d_queries;   /* of the prepared queries: overwritten. Or without data */
    attn_i_matrix d_keys;      /* of the prepared keys: added to. Or without data */
} attn_i_score_gradient;

typedef struct attn_i_score {
    attn_i_rule rule; /* first: a mechanism has its address, and finds all of this by it */

    /* The dimensions that prepared queries and keys have; 0: they are used as they come. Prepared rows are contiguous;
     * a key that is used as it comes can be read by the BLAS, and has contiguous rows if `contiguous_keys`. */
    int64_t (*query_width)(const attn_i_problem *);
    int64_t (*key_width)(const attn_i_problem *);
    int contiguous_keys;

    /* Lays out the state's scratch (see attn_i_arena); then, once it exists, fills it. */
    void (*layout)(const attn_i_problem *, attn_i_arena *, attn_i_score_state *);
    void (*load)(const attn_i_problem *, attn_i_score_state *);

    /* From rows as they come to prepared rows. Only called where the width is not 0. */
    void (*prepare_queries)(const attn_i_problem *, const attn_i_score_state *, attn_i_matrix from, attn_i_matrix to);
    void (*prepare_keys)(const attn_i_problem *, const attn_i_score_state *, attn_i_matrix from, attn_i_matrix to);

    /* How the fused way computes them; NULL: they are the products of prepared queries and keys. */
    const attn_i_lane_score *lanes;

    /* Computes the unscaled scores of all blocks. */
    void (*scores)(const attn_i_problem *, const attn_i_score_state *, const attn_i_score_block *, int64_t count);

    /* The unscaled scores of one prepared query with `count` keys from key `first` on, the prepared keys, or what plays
     * their part, being all of the sequence's. On any thread. */
    void (*row_scores)(const attn_i_problem *, const attn_i_score_state *, const void *query, attn_i_matrix keys,
                       int64_t first, int64_t count, void *to);

    /* Backward. What the gradients of such scores, with the mark of the unseen, add: to that of the query, of the keys
     * (from key `first` on, rows d_stride apart) and to `own`, as many elements as own_elements says, for parameters.
     */
    void (*row_gradients)(const attn_i_problem *, const attn_i_score_state *, const void *query, attn_i_matrix keys,
                          int64_t first, int64_t count, const void *d_scores, void *d_query, void *d_keys,
                          int64_t d_stride, void *own);
    int64_t (*own_elements)(const attn_i_problem *); /* NULL: none */
    void (*add_own)(const attn_i_problem *, const void *own, attn_i_score_sums *);

    /* From the gradients of a block's scores to those of its prepared queries and keys. What is not finite in
     * the queries has been made 0: where it was seen, the gradients of the scores are not finite. */
    void (*gradients)(const attn_i_problem *, const attn_i_score_state *, const attn_i_score_gradient *,
                      attn_i_score_sums *);
    /* From those of prepared rows to those of rows as they came, where there is a width: d_from = ... or, of keys,
     * d_from += ...; without data it is not wanted. `from` are the rows as they came. */
    void (*query_gradients)(const attn_i_problem *, const attn_i_score_state *, attn_i_matrix from, attn_i_matrix d_to,
                            attn_i_matrix d_from, attn_i_score_sums *);
    void (*key_gradients)(const attn_i_problem *, const attn_i_score_state *, attn_i_matrix from, attn_i_matrix d_to,
                          attn_i_matrix d_from, attn_i_score_sums *);
    /* Lays out sums of the function's own, and adds them to the parameters' in the end; or both NULL. */
    void (*layout_sums)(const attn_i_problem *, attn_i_arena *, attn_i_score_sums *);
    void (*finish_sums)(const attn_i_problem *, const attn_i_score_state *, attn_i_score_sums *);
} attn_i_score;

static inline const attn_i_score *attn_i_score_of(const attn_i_problem *problem)
{
    return (const attn_i_score *)problem->mechanism->rule;
}

/* What several score functions answer alike. */
attn_status attn_i_score_check_nothing(const attn_mechanism *, int64_t query_dim, int64_t key_dim, int64_t keys);
double attn_i_score_scale_one(int64_t key_dim);
int64_t attn_i_score_width_none(const attn_i_problem *);
void attn_i_score_layout_nothing(const attn_i_problem *, attn_i_arena *, attn_i_score_state *);
void attn_i_score_load_nothing(const attn_i_problem *, attn_i_score_state *);
/* queries keys^T, block by block */
void attn_i_score_products(const attn_i_problem *, const attn_i_score_state *, const attn_i_score_block *,
                           int64_t count);
/* A map for the rows of all queries, or all keys. */
attn_i_projection attn_i_score_query_map(const attn_i_problem *, attn_i_arena *, const attn_i_score_state *,
                                         attn_i_matrix map);
attn_i_projection attn_i_score_key_map(const attn_i_problem *, attn_i_arena *, const attn_i_score_state *,
                                       attn_i_matrix map);
/* to = from projected */
void attn_i_score_map_queries(const attn_i_problem *, const attn_i_score_state *, attn_i_matrix from, attn_i_matrix to);
void attn_i_score_map_keys(const attn_i_problem *, const attn_i_score_state *, attn_i_matrix from, attn_i_matrix to);

/* Rows of scores, and their gradients, where they are products. */
void attn_i_score_row_products(const attn_i_problem *, const attn_i_score_state *, const void *query,
                               attn_i_matrix keys, int64_t first, int64_t count, void *to);
void attn_i_score_row_product_gradients(const attn_i_problem *, const attn_i_score_state *, const void *query,
                                        attn_i_matrix keys, int64_t first, int64_t count, const void *d_scores,
                                        void *d_query, void *d_keys, int64_t d_stride, void *own);
/* Gradients where scores are products of prepared queries and keys. */
void attn_i_score_product_gradients(const attn_i_problem *, const attn_i_score_state *, const attn_i_score_gradient *,
                                    attn_i_score_sums *);
/* d_map += from^T d_to; and d_from = or, if `accumulate`, += d_to map^T. */
void attn_i_score_map_gradients(const attn_i_problem *, const attn_i_projection *, attn_i_matrix from,
                                attn_i_matrix d_to, attn_i_matrix d_from, attn_i_matrix d_map, int accumulate);
/* The same for rows of keys, which may hold what is not finite. */
void attn_i_score_key_map_gradients(const attn_i_problem *, const attn_i_projection *, const attn_i_context_scratch *,
                                    attn_i_matrix from, attn_i_matrix d_to, attn_i_matrix d_from, attn_i_matrix d_map);
/* Where the gradient of this parameter is summed; data NULL where it is not wanted. */
attn_i_matrix attn_i_score_param_sum(const attn_i_problem *, const attn_i_score_sums *, const char *name);

/* A parameter, as the call computes with it, as a matrix, a vector being one row; data NULL where the mechanism has no
 * such parameter. */
attn_i_matrix attn_i_score_param(const attn_i_problem *, const char *name);

#endif
