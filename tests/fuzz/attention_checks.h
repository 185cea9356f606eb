/* SPDX-License-Identifier: BSD-3-Clause
 *
 * attention_checks.h: calls of attn_forward and attn_backward on a problem, and what must hold of their results.
 */
#ifndef ATTN_TESTS_FUZZ_ATTENTION_CHECKS_H
#define ATTN_TESTS_FUZZ_ATTENTION_CHECKS_H

#include "problem.h"

enum { CONTEXT, WEIGHTS, SCORES, LOGSUMEXP, OUTPUTS };

/* A call of attn_forward: the problem's arguments, and outputs of its own. */
struct forward_call {
    enum fuzz_engine engine;
    struct array outputs[OUTPUTS];
    unsigned wanted; /* bits of the above */
    attn_forward_args args;
};

/* Outputs of any layout, by the bits of `choice`; and others like them. */
void forward_outputs_create(struct forward_call *call, struct problem *problem, struct bytes *bytes, unsigned choice);
struct forward_call forward_outputs_again(const struct forward_call *call);

/* Fills args.outputs anew, which point into the call. */
void forward_bind(struct forward_call *call);

/* Calls attn_forward, which must succeed. */
void forward_run(struct problem *problem, struct forward_call *call);

/* What was written is all of the outputs and nothing else, and is within the twin's bounds, where they hold; weights
 * are not negative and add up to 1 or to nothing; finite inputs have finite results. */
void forward_check_result(struct problem *problem, const struct forward_call *call);

/* The same bits with other threads and executors; in a workspace of exactly what is needed; by a plan, where it was
 * made, with outputs elsewhere, and with inputs, lengths and positions that are others; and whatever is in keys that no
 * query sees, and in their values. */
void forward_check_alike(struct problem *problem, const struct forward_call *call, unsigned choice);
void forward_check_workspace(struct problem *problem, const struct forward_call *call, struct bytes *bytes);
void forward_check_plan(struct problem *problem, const struct forward_call *call);
void forward_check_unseen(struct problem *problem, const struct forward_call *call);

/* With what is told of the weights beside it (attn_weights_stats), in tensors of any layout, all of the above holds,
 * and so does what a softmax, or a hardmax, has: entropies, indices and sums of weights are in their ranges. */
void forward_check_stats(struct problem *problem, const struct forward_call *call, struct bytes *bytes);

/* Every allocation that a call makes fails once: then it is refused and nothing is written. It makes one at most, and
 * none in a workspace. */
void forward_check_allocations(struct problem *problem, const struct forward_call *call);

/* attn_backward after this forward call, on both ways: in backward_checks.c. */
void check_backward(struct problem *problem, struct bytes *bytes, const struct forward_call *call, unsigned choice);

#endif
