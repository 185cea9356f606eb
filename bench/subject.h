/* SPDX-License-Identifier: BSD-3-Clause
 *
 * subject.h: a case made callable: random inputs, and a mechanism with its arguments on one engine. */
#ifndef ATTN_BENCH_SUBJECT_H
#define ATTN_BENCH_SUBJECT_H

#include "cases.h"

enum { ATTN_BENCH_MOST_MEMORIES = 64 };

/* The tensors of a case; any number of subjects compute on one of these. */
typedef struct attn_bench_inputs {
    const attn_bench_case *c;
    attn_tensor mask, slopes, W, U, v, W_p, v_p;
    attn_tensor logsumexp, d_context, d_query, d_key, d_value, d_v; /* where there is a backward pass */
    attn_tensor query[ATTN_BENCH_MOST_MEMORIES], context[ATTN_BENCH_MOST_MEMORIES];
    attn_tensor key[ATTN_BENCH_MOST_MEMORIES], value[ATTN_BENCH_MOST_MEMORIES];
    int memories; /* pairs of key and value: several where they must come from memory at every call, or from elsewhere
                   */
    int queries;  /* pairs of query and context: likewise elsewhere */
} attn_bench_inputs;

typedef struct attn_bench_subject {
    const attn_bench_inputs *inputs;
    attn_mechanism *mechanism;
    attn_forward_args args;
    attn_backward_args backward; /* reads args, where there is a backward pass */
    attn_memory *memory;         /* or NULL */
    attn_plan *plan;             /* or NULL */
    int64_t calls;               /* so far */
} attn_bench_subject;

/* Bytes that no cache holds: what rotates through a cold case, and what its limit reads. */
size_t attn_bench_cold_bytes(void);

/* The program ends, with a sentence, when memory does not suffice. */
void attn_bench_inputs_create(attn_bench_inputs *inputs, const attn_bench_case *c);

/* Returns what the library says, which may be that it does not support the case. Neither is ever destroyed: a process
 * measures one case. */
attn_status attn_bench_subject_create(attn_bench_subject *subject, const attn_bench_inputs *inputs,
                                      attn_engine *engine);

/* One call of what the case times: of attn_forward or attn_plan_run, on the next memory; of attn_backward, or both; or
 * as many as there are tokens. In the subject's own workspace or (if allocating) in the engine's. The subject stays
 * where it was made.
 */
attn_status attn_bench_call(attn_bench_subject *subject, bool allocating);

#endif
