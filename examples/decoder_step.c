/* SPDX-License-Identifier: BSD-3-Clause
 *
 * decoder_step.c: one step of Bahdanau's decoder over a batch of sentences of different lengths: the additive score of
 * the decoder's states against padded annotations (Bahdanau 2014, appendix A.1.2). Shows parameters by name, what an
 * application counts them for, key lengths, and a workspace that is allocated once for all steps. */
#include <attn/attn.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { BATCH = 3, LENGTH = 7, STATE = 16, ANNOTATION = 32, HIDDEN = 16, STEPS = 2 };

static void check(attn_status status)
{
    if (status == ATTN_OK) return;
    fprintf(stderr, "%s\n", attn_last_error());
    exit(1);
}

/* Numbers between -1 and 1, the same every time; a trained model would come with its own. */
static float *numbers(size_t count, unsigned seed)
{
    float *data = malloc(count * sizeof *data);
    if (data == NULL) abort();
    for (size_t i = 0; i < count; i++) {
        seed = seed * 1664525u + 1013904223u;
        data[i] = (float)(seed >> 8) / 8388608.0f - 1.0f;
    }
    return data;
}

int main(void)
{
    attn_engine *engine;
    attn_mechanism *additive;
    check(attn_engine_create(NULL, &engine));
    check(attn_mechanism_create_additive(engine, STATE, ANNOTATION, HIDDEN, ATTN_ADDITIVE_BIAS, &additive));

    /* The mechanism says what its parameters are. */
    float *parameters[8] = {NULL};
    int32_t count;
    int64_t total;
    check(attn_mechanism_param_count(additive, &count));
    check(attn_mechanism_param_total(additive, &total));
    for (int32_t i = 0; i < count; i++) {
        attn_param_info info = ATTN_PARAM_INFO_INIT;
        attn_tensor tensor;
        check(attn_mechanism_param_info(additive, i, &info));
        parameters[i] = numbers((size_t)info.elements, (unsigned)i + 1);
        check(attn_tensor_init(&tensor, parameters[i], ATTN_F32, info.ndim, info.shape));
        check(attn_mechanism_bind_param(additive, info.name, &tensor));
    }
    printf("%s: %d parameter tensors, %lld numbers\n", attn_mechanism_name(additive), (int)count, (long long)total);

    int64_t lengths[BATCH] = {7, 4, 1};
    float *states = numbers(BATCH * STATE, 10), *annotations = numbers(BATCH * LENGTH * ANNOTATION, 11);
    float contexts[BATCH][ANNOTATION], weights[BATCH][LENGTH];
    attn_tensor query, key, key_lengths, context, weight;
    check(attn_tensor_init(&query, states, ATTN_F32, 4, (const int64_t[]){BATCH, 1, 1, STATE}));
    check(attn_tensor_init(&key, annotations, ATTN_F32, 4, (const int64_t[]){BATCH, 1, LENGTH, ANNOTATION}));
    check(attn_tensor_init(&key_lengths, lengths, ATTN_I64, 1, (const int64_t[]){BATCH}));
    check(attn_tensor_init(&context, contexts, ATTN_F32, 4, (const int64_t[]){BATCH, 1, 1, ANNOTATION}));
    check(attn_tensor_init(&weight, weights, ATTN_F32, 4, (const int64_t[]){BATCH, 1, 1, LENGTH}));

    attn_forward_args args = ATTN_FORWARD_ARGS_INIT;
    args.query = &query;
    args.key = &key; /* the annotations are the values too */
    args.key_lengths = &key_lengths;
    args.context = &context;
    args.weights = &weight;
    check(attn_forward_workspace(additive, &args, &args.workspace_size));
    args.workspace = malloc(args.workspace_size);
    if (args.workspace == NULL) abort();

    for (int step = 0; step < STEPS; step++) {
        check(attn_forward(additive, &args)); /* allocates nothing */
        printf("step %d\n", step);
        for (int b = 0; b < BATCH; b++) {
            printf("  sentence %d of %d words:", b, (int)lengths[b]);
            for (int j = 0; j < LENGTH; j++) printf(" %.3f", (double)weights[b][j]);
            printf("\n");
            /* Here the recurrent cell would take the context; a stand-in keeps the example short. */
            for (int d = 0; d < STATE; d++) states[b * STATE + d] = tanhf(states[b * STATE + d] + contexts[b][d]);
        }
    }

    free(args.workspace);
    free(states);
    free(annotations);
    for (int32_t i = 0; i < count; i++) free(parameters[i]);
    attn_mechanism_destroy(additive);
    attn_engine_destroy(engine);
    return 0;
}
