/* SPDX-License-Identifier: BSD-3-Clause
 *
 * backward_scene.h: a call of attn_backward on a random problem (twin_scene.h): the saved outputs of the forward call,
 * the gradients that flow in, those that are wanted, and what the twin says they should be.
 */
#ifndef ATTN_TESTS_BACKWARD_SCENE_H
#define ATTN_TESTS_BACKWARD_SCENE_H

#include "reference/twin_gradient.h"
#include "twin_scene.h"

/* The gradients that flow in, one bit each where there is a choice. */
enum { FLOW_CONTEXT, FLOW_WEIGHTS, FLOW_LOGSUMEXP, FLOWS, ALL_FLOWS = 7 };

enum { ALL_GRADIENTS = (1 << TWIN_GRADIENTS) - 1 };
extern const char *const gradient_names[TWIN_GRADIENTS];

struct backward {
    struct scene *scene;
    struct array context, logsumexp; /* what attn_forward wrote */
    struct array flow[FLOWS];
    unsigned wanted;                       /* a bit for each enum twin_gradient */
    struct array gradient[TWIN_GRADIENTS]; /* those that are wanted */
    const attn_tensor *params[SCENE_PARAMS];
    attn_forward_args forward;
    attn_backward_args args;
};

/* Runs attn_forward for context and log-sum-exp, and fills the gradients of flows (bits) with normal numbers. */
void backward_create(struct backward *backward, struct scene *scene, unsigned flows);
void backward_destroy(struct backward *backward);

/* The input that gradient g is the gradient of, or NULL; the gradients that the scene has; and the element of the bias
 * that is added to element at of the scores. */
struct array *backward_input(struct scene *scene, int g);
unsigned backward_has(struct scene *scene);
int64_t backward_bias_element(const struct scene *scene, int64_t at);

/* Has new outputs for those that are in wanted and that the scene has, in place of earlier ones. */
void backward_want(struct backward *backward, unsigned wanted);

/* attn_forward once more, after inputs have been changed; attn_backward. */
void backward_run_forward(struct backward *backward);
void backward_run(struct backward *backward);

/* What the twin makes of the same flows; and of its result gradient g in the library's shape: the caller frees both. */
void backward_run_twin(const struct backward *backward, struct twin_gradient_result *result);
void backward_expect(const struct backward *backward, const struct twin_gradient_result *twin, int g, double **value,
                     double **magnitude);

#endif
