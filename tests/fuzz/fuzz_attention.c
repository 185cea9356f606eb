/* SPDX-License-Identifier: BSD-3-Clause
 *
 * fuzz_attention.c: attn_forward, attn_backward and their workspaces, with any mechanism, modifiers, layouts and
 * outputs; with what is left of an input, the same problem in numbers of 16 and 8 bits, exactly and fast; and with what
 * is left of that, batches of sequences. What is checked of a call is in attention_checks.c and sequences_checks.c,
 * what of calls that must be refused in spoil.c.
 */
#include "attention_checks.h"
#include "sequences_checks.h"
#include "spoil.h"
#include "store.h"

/* Calls on both ways. */
static void call(struct problem *p, struct bytes *b)
{
    static struct forward_call ways[2];
    const unsigned outputs = take(b), check = take(b), choice = take(b);

    forward_outputs_create(&ways[0], p, b, outputs);
    ways[1] = forward_outputs_again(&ways[0]);
    for (int way = 0; way < 2; way++) {
        struct forward_call *one = &ways[way];
        one->engine = way == 0 ? BLAS_ONE : choice % 16 == 15 ? TILES_PORTABLE : TILES_ONE;
        forward_run(p, one);
        forward_check_result(p, one);
        /* One thing at a time: more of them in one execution find no more, and take longer. */
        if (check % 8 == 0) forward_check_alike(p, one, choice / 16);
        if (check % 8 == 1 && check / 8 % 2 == 0) forward_check_workspace(p, one, b);
        if (check % 8 == 1 && check / 8 % 2 == 1) forward_check_plan(p, one);
        if (check % 8 == 2 && check / 8 % 2 == 0) forward_check_unseen(p, one);
        if (check % 8 == 2 && check / 8 % 2 == 1) forward_check_stats(p, one, b);
    }
    if (check % 8 == 3) spoil_forward(p, &ways[choice % 2], b);
    if (check % 8 == 4) forward_check_allocations(p, &ways[choice % 2]);
    if (check % 8 > 4) check_backward(p, b, &ways[choice % 2], check / 8);
}

void fuzz_one(struct bytes *b)
{
    static struct problem p;
    problem_create(&p, b);
    call(&p, b);
    const struct stored stored = stored_of(take(b));
    if (stored.dtype != 0) {
        problem_store(&p, b, stored);
        struct bytes again = *b;
        call(&p, b);
        problem_make_fast(&p);
        call(&p, &again);
    }
    check_sequences(&p, b);
    problem_destroy(&p);
}
