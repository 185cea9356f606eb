/* SPDX-License-Identifier: BSD-3-Clause
 *
 * attention.h: a recurrent decoder's attention to the encoder's states, one query a sentence and step, by libattn:
 * forward, backward, and over a memory once a model is used. */
#ifndef TRANSLATE_ATTENTION_H
#define TRANSLATE_ATTENTION_H

#include "model/dense.h"

typedef enum score {
    SCORE_ADDITIVE, /* v tanh(W q + U k + b)    Bahdanau 2014 */
    SCORE_DOT,      /* q.k                      Luong 2015, here and below */
    SCORE_GENERAL,  /* q W k */
    SCORE_CONCAT,   /* v tanh(W [q; k]) */
    SCORE_LOCATION, /* (W q)_j */
    SCORE_LOCAL_M,  /* general, within half_width of the step's own number */
    SCORE_LOCAL_P,  /* general, within half_width of a predicted place */
    SCORE_EVEN /* 0 for every key: the context is the mean of the states (Wiegreffe and Pinter 2019, section 3.1) */
} score;

enum { ATTENTION_PARAMETERS_MOST = 8 };

typedef struct attention {
    attn_mechanism *mechanism;
    score kind;
    int query_dim, key_dim;
    int ready_dim; /* of a key made ready: key_dim, or what it is projected to once a sentence */
    int count;     /* of the mechanism's parameters, in its order: a run of columns of one of the model's each */
    const parameter *of[ATTENTION_PARAMETERS_MOST];
    int first[ATTENTION_PARAMETERS_MOST]; /* the columns' beginning */
    bool projects;                        /* keys, by this: */
    dense key_projection;
} attention;

typedef struct attention_sizes {
    int query_dim, key_dim;
    int hidden;     /* of additive and concat, and of the place's prediction */
    int half_width; /* of local attention */
    int most_keys;  /* of location */
} attention_sizes;

attention attention_create(attn_engine *engine, parameter_set *set, score kind, const attention_sizes *sizes);

/* Binds the parameters, once they have values. */
void attention_bind(attention *a, const parameter_set *set);
void attention_free(attention *a);

/* Whether, from now on, every key that is seen is looked at alike, whatever the scores; not beside any other use. */
void attention_set_even(attention *a, bool even);

/* What queries of a batch look at; time-major: [length, rows, ..]. */
typedef struct attention_keys {
    int rows, length;
    const int *lengths; /* [rows] */
    const real *states; /* [length, rows, key_dim]: the values */
    real *ready;        /* [length, rows, ready_dim]: the states, or their projections */
    real *d_states;     /* gradients, or NULL */
    real *d_ready;      /* d_states where the keys are the values */
} attention_keys;

attention_keys attention_keys_begin(pass *p, const attention *a, int rows, int length, const int *lengths,
                                    const real *states);

/* Makes room for the gradients, zeros; and, after the last step back, sends those by projected keys on to the states.
 */
void attention_keys_back_begin(pass *p, const attention *a, attention_keys *keys);
void attention_keys_back_end(const pass *p, const attention *a, attention_keys *keys);

/* context [rows, key_dim] of query [rows, query_dim] at a step; logsumexp [rows] is for the way back. bias [rows,
 * length] is added to the scores, weights [rows, length] receives them after softmax; either may be NULL. */
void attention_forward(const attention *a, const attention_keys *keys, int step, const real *query, const real *bias,
                       real *context, real *logsumexp, real *weights);

/* d_query += , and the keys' and parameters' gradients: from d_context and, where a loss looks at them, d_weights
 * [rows, length]; either may be NULL. A gradient that is NULL is not wanted; p NULL: none of the parameters'. */
void attention_backward(const pass *p, const attention *a, attention_keys *keys, int step, const real *query,
                        const real *bias, const real *context, const real *logsumexp, const real *d_context,
                        const real *d_weights, real *d_query);

/* A memory of the keys, for steps whose rows come and go (attn_memory_reorder). */
attn_memory *attention_memory(const attention *a, const attention_keys *keys);
/* The same over it; weights and scores [rows, length], or NULL. */
void attention_recall(const attention *a, const attn_memory *memory, int rows, int length, int step, const real *query,
                      real *context, real *weights, real *scores);

#endif
