/* SPDX-License-Identifier: BSD-3-Clause
 *
 * twin.h: the library's twin: attention in double precision by plain loops over contiguous row-major arrays, written
 * from the formulas and knowing nothing of the library. It also tells how much rounding each result may carry.
 */
#ifndef ATTN_TESTS_TWIN_H
#define ATTN_TESTS_TWIN_H

#include <stdbool.h>
#include <stdint.h>

enum twin_score { TWIN_DOT, TWIN_SCALED_DOT, TWIN_GENERAL, TWIN_ADDITIVE, TWIN_CONCAT, TWIN_LOCATION };

enum twin_align { TWIN_NONE, TWIN_TOP_LEFT, TWIN_BOTTOM_RIGHT };

struct twin_problem {
    enum twin_score score;
    int64_t batch, query_heads, key_heads, queries, keys, query_dim, key_dim, value_dim;
    int64_t hidden_dim; /* additive and concat */

    const double *query; /* [batch, query_heads, queries, query_dim] */
    const double *key;   /* [batch, key_heads, keys, key_dim]; location does not read it */
    const double *value; /* [batch, key_heads, keys, value_dim]; NULL: the keys */

    /* general: W [query_dim, key_dim]; additive: W [hidden_dim, query_dim], U [hidden_dim, key_dim], v [hidden_dim];
     * concat: W [hidden_dim, query_dim + key_dim], v; location: W [at least keys, query_dim].
     * For additive, W or U NULL means that this input comes projected, b [hidden_dim] NULL that there is none, and
     * g [1] NULL that v is not normalised. */
    const double *W, *U, *v, *b, *g;

    bool scale_given; /* otherwise 1, or 1 / sqrt(key_dim) for scaled dot */
    double scale;
    double softcap;     /* 0: none */
    double temperature; /* 0 stands for 1 */
    bool hardmax;
    double tie; /* hardmax: scores nearer to the best than tie * (both error magnitudes) could come out either way */

    const double *bias;         /* [batch, query_heads, queries, keys] or NULL */
    const unsigned char *mask;  /* the same shape, not 0: may be seen; or NULL */
    const int64_t *key_lengths; /* [batch] or NULL */
    int64_t query_start;
    enum twin_align causal, window, alibi;
    int64_t left, right;  /* of the window */
    const double *slopes; /* [query_heads] */
    const double *sinks;  /* [query_heads] or NULL */

    enum { TWIN_NO_RELATIVE, TWIN_CLIPPED, TWIN_T5, TWIN_T5_CAUSAL } relative;
    enum twin_align relative_align;
    const double *table; /* [table_rows, table_columns], table_rows being query_heads or 1 */
    int64_t table_rows, table_columns, max_distance;

    enum { TWIN_GLOBAL, TWIN_MONOTONIC, TWIN_PREDICTIVE, TWIN_PREDICTIVE_FLOOR } local;
    int64_t half_width, local_hidden;
    const double *W_p, *v_p; /* [local_hidden, query_dim], [local_hidden] */

    bool tiles; /* bounds allow for what a tile of scores holds: see twin.c */

    double dropout; /* 0: none */
    uint64_t dropout_seed, dropout_offset;
};

enum { TWIN_RAW, TWIN_CAPPED, TWIN_MASKED, TWIN_WEIGHTS, TWIN_STAGES };

/* Every result comes with a magnitude: an implementation that computes in a type of precision epsilon should be
 * within a small number times epsilon * magnitude of the value. How they are derived stands in twin.c. */
struct twin_result {
    double *context, *context_magnitude;                         /* [batch, query_heads, queries, value_dim] */
    double *logsumexp, *logsumexp_magnitude;                     /* [batch, query_heads, queries] */
    double *scores[TWIN_STAGES], *scores_magnitude[TWIN_STAGES]; /* [batch, query_heads, queries, keys] */
    double *undropped, *undropped_magnitude;                     /* the weights before dropout, likewise */
    double *entropy, *entropy_magnitude;                         /* of these; as logsumexp */
    double *key_sums, *key_sums_magnitude;                       /* [batch, query_heads, keys] */
};

/* Computes everything into fresh memory. */
void twin_run(const struct twin_problem *problem, struct twin_result *result);
void twin_free(struct twin_result *result);

#endif
