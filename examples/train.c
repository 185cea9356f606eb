/* SPDX-License-Identifier: BSD-3-Clause
 *
 * train.c: additive attention (Bahdanau 2014, appendix A.1.2) learns to look words up. A sentence has a value for each
 * of its words, a query names one of them, and the context should be that word's value. Each step is forward, loss,
 * backward, and a step of gradient descent on the parameters, which stay bound while they change. */
#include <attn/attn.h>

#include <stdio.h>
#include <stdlib.h>

enum { SENTENCES = 16, LENGTH = 6, VOCABULARY = 8, VALUE = 4, HIDDEN = 16, STEPS = 200, SAY_EVERY = 25, PARAMS = 4 };

static const float rate = 4;

static void check(attn_status status)
{
    if (status == ATTN_OK) return;
    fprintf(stderr, "%s\n", attn_last_error());
    exit(1);
}

static unsigned seed = 7;

static unsigned number(unsigned below)
{
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % below;
}

static float between(float most) /* -most .. most */
{
    return most * ((float)number(1u << 16) / 32768.0f - 1.0f);
}

static float query[SENTENCES][1][VOCABULARY], key[SENTENCES][LENGTH][VOCABULARY], value[SENTENCES][LENGTH][VALUE];
static float wanted[SENTENCES][1][VALUE], context[SENTENCES][1][VALUE], d_context[SENTENCES][1][VALUE];
static double logsumexp[SENTENCES]; /* more exact than a float, where scores may be large */

/* Sentences of different words; word w is a vector with a 1 at w. */
static void make_sentences(void)
{
    for (int s = 0; s < SENTENCES; s++) {
        unsigned words[VOCABULARY];
        for (unsigned w = 0; w < VOCABULARY; w++) words[w] = w;
        for (unsigned j = 0; j < LENGTH; j++) {
            const unsigned other = j + number(VOCABULARY - j), word = words[other];
            words[other] = words[j];
            words[j] = word;
            key[s][j][word] = 1;
            for (int d = 0; d < VALUE; d++) value[s][j][d] = between(1);
        }
        const unsigned asked = number(LENGTH);
        query[s][0][words[asked]] = 1;
        for (int d = 0; d < VALUE; d++) wanted[s][0][d] = value[s][asked][d];
    }
}

/* The mean of squares, and its gradient. */
static double loss_of(void)
{
    double loss = 0;
    for (int s = 0; s < SENTENCES; s++) {
        for (int d = 0; d < VALUE; d++) {
            const float error = context[s][0][d] - wanted[s][0][d];
            loss += (double)(error * error) / (SENTENCES * VALUE);
            d_context[s][0][d] = 2 * error / (SENTENCES * VALUE);
        }
    }
    return loss;
}

/* One head, [B, 1, T, D]. */
static attn_tensor batch_of(void *data, int64_t rows, int64_t columns)
{
    attn_tensor tensor;
    check(attn_tensor_init(&tensor, data, ATTN_F32, 4, (const int64_t[]){SENTENCES, 1, rows, columns}));
    return tensor;
}

int main(void)
{
    attn_engine *engine;
    attn_mechanism *additive;
    check(attn_engine_create(NULL, &engine));
    check(attn_mechanism_create_additive(engine, VOCABULARY, VOCABULARY, HIDDEN, ATTN_ADDITIVE_BIAS, &additive));

    float *param[PARAMS], *d_param[PARAMS];
    int64_t elements[PARAMS];
    attn_tensor gradients[PARAMS];
    const attn_tensor *d_params[PARAMS];
    for (int32_t i = 0; i < PARAMS; i++) { /* W, U, v, b */
        attn_param_info info = ATTN_PARAM_INFO_INIT;
        attn_tensor tensor;
        check(attn_mechanism_param_info(additive, i, &info));
        elements[i] = info.elements;
        param[i] = malloc((size_t)info.elements * sizeof(float));
        d_param[i] = malloc((size_t)info.elements * sizeof(float));
        if (param[i] == NULL || d_param[i] == NULL) abort();
        for (int64_t k = 0; k < info.elements; k++) param[i][k] = between(0.5f);
        check(attn_tensor_init(&tensor, param[i], ATTN_F32, info.ndim, info.shape));
        check(attn_mechanism_bind_param(additive, info.name, &tensor));
        check(attn_tensor_init(&gradients[i], d_param[i], ATTN_F32, info.ndim, info.shape));
        d_params[i] = &gradients[i];
    }

    make_sentences();
    const attn_tensor q = batch_of(query, 1, VOCABULARY), k = batch_of(key, LENGTH, VOCABULARY);
    const attn_tensor v = batch_of(value, LENGTH, VALUE), c = batch_of(context, 1, VALUE);
    const attn_tensor d_c = batch_of(d_context, 1, VALUE);
    attn_tensor l;
    check(attn_tensor_init(&l, logsumexp, ATTN_F64, 3, (const int64_t[]){SENTENCES, 1, 1}));

    attn_forward_args forward = ATTN_FORWARD_ARGS_INIT;
    forward.query = &q, forward.key = &k, forward.value = &v;
    forward.context = &c, forward.logsumexp = &l; /* what backward reads */
    attn_backward_args backward = ATTN_BACKWARD_ARGS_INIT;
    backward.forward = &forward, backward.d_context = &d_c, backward.d_params = d_params;

    double first = 0, loss = 0;
    for (int step = 0; step <= STEPS; step++) {
        check(attn_forward(additive, &forward));
        loss = loss_of();
        if (step == 0) first = loss;
        if (step % SAY_EVERY == 0) printf("step %3d  loss %.4f\n", step, loss);
        check(attn_backward(additive, &backward));
        for (int i = 0; i < PARAMS; i++) {
            for (int64_t e = 0; e < elements[i]; e++) param[i][e] -= rate * d_param[i][e];
        }
    }

    for (int i = 0; i < PARAMS; i++) {
        free(param[i]);
        free(d_param[i]);
    }
    attn_mechanism_destroy(additive);
    attn_engine_destroy(engine);
    return loss < first / 10 ? 0 : 1;
}
