/* SPDX-License-Identifier: BSD-3-Clause
 *
 * twin_gradient.h: the gradients of the twin (twin.h), as plainly computed as it is, and how much rounding each may
 * carry. test_twin_gradient.c holds them against difference quotients of the twin.
 */
#ifndef ATTN_TESTS_TWIN_GRADIENT_H
#define ATTN_TESTS_TWIN_GRADIENT_H

#include "reference/twin.h"

/* The gradients of a loss that flow in; any may be NULL. */
struct twin_flow {
    const double *d_context;   /* [batch, query_heads, queries, value_dim] */
    const double *d_weights;   /* [batch, query_heads, queries, keys] */
    const double *d_logsumexp; /* [batch, query_heads, queries] */
    /* The context as the implementation has it, from which it may take sum_j a_ij da_ij, where that was rounded more
     * than the rest, and how much of a magnitude one of what it differs by is; or NULL. */
    const double *context;
    double context_unit;
};

enum twin_gradient {
    TWIN_D_QUERY,
    TWIN_D_KEY,    /* where the keys are the values, of both together */
    TWIN_D_VALUE,  /* none where the keys are the values */
    TWIN_D_BIAS,   /* [batch, query_heads, queries, keys], also where there is no bias */
    TWIN_D_SLOPES, /* [query_heads]; none without ALiBi */
    TWIN_D_TABLE,  /* of relative biases */
    TWIN_D_W,      /* of location [keys, query_dim]: what lies below has gradient 0 */
    TWIN_D_U,
    TWIN_D_V,
    TWIN_D_B,
    TWIN_D_G,
    TWIN_D_WP, /* of predictive local attention */
    TWIN_D_VP,
    TWIN_GRADIENTS
};

/* Gradients of the shapes of what they are the gradients of, or as said above; of what the problem has not, the count
 * is 0. The magnitudes are as in struct twin_result, for an implementation that makes the weights anew from a
 * log-sum-exp of its precision, and takes sum_j a_ij da_ij from a context of its precision. */
struct twin_gradient_result {
    int64_t count[TWIN_GRADIENTS];
    double *value[TWIN_GRADIENTS], *magnitude[TWIN_GRADIENTS];
};

/* Computes everything into fresh memory; forward is what twin_run made of the problem. */
void twin_gradient_run(const struct twin_problem *problem, const struct twin_result *forward,
                       const struct twin_flow *flow, struct twin_gradient_result *result);
void twin_gradient_free(struct twin_gradient_result *result);

#endif
