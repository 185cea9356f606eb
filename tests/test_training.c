/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_training.c: gradients that are good enough to learn with. Encoder states are random tokens with features of
 * their places, and query t is to find the token at place[t]: additive attention learns to copy and to reverse, general
 * attention a permutation, from the cross-entropy of a linear read-out of the context, or from a loss on the weights
 * alone. Adam and the read-out are written here, in plain C. What is asked for is hard alignment on fresh sequences.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "support.h"

enum {
    BATCH = 16,
    LENGTH = 10,
    TOKENS = 12,
    TOKEN_DIM = 12,
    PLACE_DIM = 10,
    STATE = TOKEN_DIM + PLACE_DIM,
    HIDDEN = 24,
    ROWS = BATCH * LENGTH
};
enum { MOST_PARAMETERS = 6 };

/* ----------------------------------------------------------------------------------------- parameters */

/* What is trained, with Adam's two moments. */
struct parameter {
    float *value, *gradient, *mean, *square;
    int64_t count;
    attn_tensor value_tensor, gradient_tensor;
    const char *name;
};

static float *numbers(int64_t count)
{
    float *data = must_allocate((size_t)count * sizeof *data);
    for (int64_t i = 0; i < count; i++) data[i] = 0.0F;
    return data;
}

static void parameter_create(struct parameter *p, const char *name, int32_t ndim, const int64_t *shape,
                             double deviation, struct rng *rng)
{
    p->name = name;
    p->count = 1;
    for (int32_t d = 0; d < ndim; d++) p->count *= shape[d];
    p->value = numbers(p->count);
    p->gradient = numbers(p->count);
    p->mean = numbers(p->count);
    p->square = numbers(p->count);
    for (int64_t i = 0; i < p->count; i++) p->value[i] = (float)(deviation * rng_normal(rng));
    MUST(attn_tensor_init(&p->value_tensor, p->value, ATTN_F32, ndim, shape));
    MUST(attn_tensor_init(&p->gradient_tensor, p->gradient, ATTN_F32, ndim, shape));
}

static void parameter_destroy(struct parameter *p)
{
    free(p->value);
    free(p->gradient);
    free(p->mean);
    free(p->square);
}

/* Adam (Kingma and Ba 2014, algorithm 1). */
static void parameter_step(struct parameter *p, int step, double rate)
{
    const double keep_mean = 0.9, keep_square = 0.99;
    const double mean_part = 1.0 - pow(keep_mean, step), square_part = 1.0 - pow(keep_square, step);
    for (int64_t i = 0; i < p->count; i++) {
        const double g = (double)p->gradient[i];
        p->mean[i] = (float)(keep_mean * (double)p->mean[i] + (1.0 - keep_mean) * g);
        p->square[i] = (float)(keep_square * (double)p->square[i] + (1.0 - keep_square) * g * g);
        const double size = sqrt((double)p->square[i] / square_part) + 1e-8;
        p->value[i] -= (float)(rate * (double)p->mean[i] / mean_part / size);
    }
}

/* ---------------------------------------------------------------------------------------------- pupil */

enum loss { BY_TOKENS, BY_ALIGNMENT };

/* A mechanism, its read-out, and a batch of sequences. */
struct pupil {
    struct rng rng;
    enum loss loss;
    int64_t place[LENGTH]; /* where query t is to look */
    attn_mechanism *mechanism;
    struct parameter parameters[MOST_PARAMETERS], *read_out; /* the mechanism's, in its order; then the read-out */
    int count;
    float embedding[TOKENS][TOKEN_DIM], features[LENGTH][PLACE_DIM];
    int tokens[BATCH][LENGTH];
    float *query, *states, *context, *weights, *logsumexp, *d_context, *d_weights;
    attn_tensor query_tensor, state_tensor, context_tensor, weight_tensor, logsumexp_tensor, d_context_tensor,
        d_weights_tensor;
    attn_forward_args forward;
    attn_backward_args backward;
    const attn_tensor *d_params[MOST_PARAMETERS];
};

/* Waves of all frequencies, so that no two places look alike. */
static void make_features(struct pupil *p)
{
    for (int t = 0; t < LENGTH; t++) {
        for (int f = 0; f < PLACE_DIM; f++) {
            p->features[t][f] = (float)cos(3.14159265358979 * (t + 0.5) * (f + 1) / LENGTH);
            if (f == PLACE_DIM - 1) p->features[t][f] = (float)(2 * t - LENGTH) / LENGTH;
        }
    }
    for (int token = 0; token < TOKENS; token++) {
        for (int d = 0; d < TOKEN_DIM; d++) p->embedding[token][d] = (float)rng_normal(&p->rng);
    }
}

static void make_tensors(struct pupil *p)
{
    const int64_t query[4] = {BATCH, 1, LENGTH, PLACE_DIM}, states[4] = {BATCH, 1, LENGTH, STATE},
                  weights[4] = {BATCH, 1, LENGTH, LENGTH}, rows[3] = {BATCH, 1, LENGTH};
    p->states = numbers(ROWS * STATE);
    p->context = numbers(ROWS * STATE);
    p->d_context = numbers(ROWS * STATE);
    p->weights = numbers(ROWS * LENGTH);
    p->d_weights = numbers(ROWS * LENGTH);
    p->logsumexp = numbers(ROWS);
    MUST(attn_tensor_init(&p->query_tensor, p->features, ATTN_F32, 4, query));
    p->query_tensor.stride[0] = 0; /* the same ones for every sequence */
    MUST(attn_tensor_init(&p->state_tensor, p->states, ATTN_F32, 4, states));
    MUST(attn_tensor_init(&p->context_tensor, p->context, ATTN_F32, 4, states));
    MUST(attn_tensor_init(&p->d_context_tensor, p->d_context, ATTN_F32, 4, states));
    MUST(attn_tensor_init(&p->weight_tensor, p->weights, ATTN_F32, 4, weights));
    MUST(attn_tensor_init(&p->d_weights_tensor, p->d_weights, ATTN_F32, 4, weights));
    MUST(attn_tensor_init(&p->logsumexp_tensor, p->logsumexp, ATTN_F32, 3, rows));
}

static void make_parameters(struct pupil *p)
{
    const int64_t read_out[2] = {TOKENS, STATE};
    int32_t count;
    MUST(attn_mechanism_param_count(p->mechanism, &count));
    for (int32_t i = 0; i < count; i++) {
        attn_param_info info = ATTN_PARAM_INFO_INIT;
        MUST(attn_mechanism_param_info(p->mechanism, i, &info));
        parameter_create(&p->parameters[i], info.name, info.ndim, info.shape, 0.3, &p->rng);
        if (info.name[0] == 'g') p->parameters[i].value[0] = 1.0F;
        MUST(attn_mechanism_bind_param(p->mechanism, info.name, &p->parameters[i].value_tensor));
        p->d_params[i] = &p->parameters[i].gradient_tensor;
    }
    p->read_out = &p->parameters[count];
    parameter_create(p->read_out, "the read-out", 2, read_out, 0.1, &p->rng);
    p->count = count + 1;
}

/* Takes the mechanism over. */
static void pupil_create(struct pupil *p, attn_mechanism *mechanism, enum loss loss, uint64_t seed)
{
    const attn_forward_args forward = ATTN_FORWARD_ARGS_INIT;
    const attn_backward_args backward = ATTN_BACKWARD_ARGS_INIT;
    p->rng.state = seed;
    p->loss = loss;
    p->mechanism = mechanism;
    for (int t = 0; t < LENGTH; t++) p->place[t] = t;
    make_features(p);
    make_tensors(p);
    make_parameters(p);
    p->forward = forward;
    p->forward.query = &p->query_tensor;
    p->forward.key = &p->state_tensor; /* the values too */
    p->forward.context = &p->context_tensor;
    p->forward.weights = &p->weight_tensor;
    p->forward.logsumexp = &p->logsumexp_tensor;
    p->backward = backward;
    p->backward.forward = &p->forward;
    p->backward.d_context = loss == BY_TOKENS ? &p->d_context_tensor : NULL;
    p->backward.d_weights = loss == BY_ALIGNMENT ? &p->d_weights_tensor : NULL;
    p->backward.d_params = p->d_params;
}

static void pupil_destroy(struct pupil *p)
{
    attn_mechanism_destroy(p->mechanism);
    for (int i = 0; i < p->count; i++) parameter_destroy(&p->parameters[i]);
    free(p->states);
    free(p->context);
    free(p->d_context);
    free(p->weights);
    free(p->d_weights);
    free(p->logsumexp);
}

static void draw_sequences(struct pupil *p)
{
    for (int row = 0; row < ROWS; row++) {
        const int t = row % LENGTH, token = (int)rng_integer(&p->rng, 0, TOKENS - 1);
        float *state = p->states + (size_t)row * STATE;
        p->tokens[row / LENGTH][t] = token;
        for (int d = 0; d < TOKEN_DIM; d++) state[d] = p->embedding[token][d];
        for (int d = 0; d < PLACE_DIM; d++) state[TOKEN_DIM + d] = p->features[t][d];
    }
}

/* The token that this row is to find. */
static int wanted_token(const struct pupil *p, int row)
{
    return p->tokens[row / LENGTH][p->place[row % LENGTH]];
}

/* The probabilities of the tokens: softmax of the read-out. Returns the likeliest. */
static int read_token(const struct pupil *p, int row, double *probability)
{
    const float *context = p->context + (size_t)row * STATE;
    double sum = 0.0;
    int best = 0;
    for (int token = 0; token < TOKENS; token++) {
        double score = 0.0;
        for (int d = 0; d < STATE; d++) score += (double)p->read_out->value[token * STATE + d] * (double)context[d];
        sum += probability[token] = exp(score);
        if (probability[token] > probability[best]) best = token;
    }
    for (int token = 0; token < TOKENS; token++) probability[token] /= sum;
    return best;
}

/* The mean cross-entropy of one row's part in the loss; and where gradients are wanted, that of its context, and its
 * share of the read-out's. */
static double row_of_tokens(struct pupil *p, int row, bool gradients)
{
    const float *context = p->context + (size_t)row * STATE;
    float *d_context = p->d_context + (size_t)row * STATE;
    const int wanted = wanted_token(p, row);
    double probability[TOKENS];
    read_token(p, row, probability);
    for (int token = 0; gradients && token < TOKENS; token++) {
        const float d_score = (float)((probability[token] - (token == wanted)) / ROWS);
        for (int d = 0; d < STATE; d++) {
            if (token == 0) d_context[d] = 0.0F;
            d_context[d] += d_score * p->read_out->value[token * STATE + d];
            p->read_out->gradient[token * STATE + d] += d_score * context[d];
        }
    }
    return -log(probability[wanted]) / ROWS;
}

/* The same of a loss that sees nothing but the weight at the right place. */
static double row_of_alignment(struct pupil *p, int row)
{
    const int64_t place = p->place[row % LENGTH];
    const double weight = fmax((double)p->weights[row * LENGTH + place], 1e-12);
    for (int j = 0; j < LENGTH; j++) p->d_weights[row * LENGTH + j] = 0.0F;
    p->d_weights[row * LENGTH + place] = (float)(-1.0 / weight / ROWS);
    return -log(weight) / ROWS;
}

/* The loss of the sequences that were drawn. */
static double pupil_loss(struct pupil *p, bool gradients)
{
    double loss = 0.0;
    MUST(attn_forward(p->mechanism, &p->forward));
    for (int64_t i = 0; i < p->read_out->count; i++) p->read_out->gradient[i] = 0.0F;
    for (int row = 0; row < ROWS; row++) {
        loss += p->loss == BY_TOKENS ? row_of_tokens(p, row, gradients) : row_of_alignment(p, row);
    }
    if (gradients) MUST(attn_backward(p->mechanism, &p->backward));
    return loss;
}

/* More steps than any seed has needed; an emulator takes half as many. */
static void pupil_train(struct pupil *p, int steps)
{
    const double rate = 0.02;
    if (few_cases()) steps /= 2;
    for (int step = 1; step <= steps; step++) {
        draw_sequences(p);
        pupil_loss(p, true);
        for (int i = 0; i < p->count; i++) parameter_step(&p->parameters[i], step, rate);
    }
}

/* On sequences that it has not seen: every token is right, where tokens were taught, every query looks most at its
 * place, and there is next to nothing left for the others. */
static void assert_learned(struct pupil *p, const char *what)
{
    enum { BATCHES = 5 };
    int tokens = 0, places = 0;
    double weight = 0.0, probability[TOKENS];
    for (int batch = 0; batch < BATCHES; batch++) {
        draw_sequences(p);
        pupil_loss(p, false);
        for (int row = 0; row < ROWS; row++) {
            const float *weights = p->weights + (size_t)row * LENGTH;
            int64_t best = 0;
            for (int64_t j = 1; j < LENGTH; j++) best = weights[j] > weights[best] ? j : best;
            tokens += read_token(p, row, probability) == wanted_token(p, row);
            places += best == p->place[row % LENGTH];
            weight += (double)weights[p->place[row % LENGTH]] / (ROWS * BATCHES);
        }
    }
    print_message("%s: mean weight at the right place %.4f\n", what, weight);
    if (p->loss == BY_TOKENS) assert_int_equal(tokens, ROWS * BATCHES);
    assert_int_equal(places, ROWS * BATCHES);
    assert_true(weight > 0.95);
}

/* ---------------------------------------------------------------------------------------------- tests */

static attn_mechanism *additive(uint32_t flags)
{
    attn_mechanism *mechanism;
    MUST(attn_mechanism_create_additive(engine, PLACE_DIM, STATE, HIDDEN, flags, &mechanism));
    return mechanism;
}

static attn_mechanism *general(void)
{
    attn_mechanism *mechanism;
    MUST(attn_mechanism_create_general(engine, PLACE_DIM, STATE, &mechanism));
    return mechanism;
}

static void additive_learns_to_copy(void **state)
{
    struct pupil p;
    (void)state;
    pupil_create(&p, additive(0), BY_TOKENS, 1);
    pupil_train(&p, 400);
    assert_learned(&p, "additive, copying");
    pupil_destroy(&p);
}

static void normalised_additive_learns_to_reverse(void **state)
{
    struct pupil p;
    (void)state;
    pupil_create(&p, additive(ATTN_ADDITIVE_BIAS | ATTN_ADDITIVE_NORMALISED), BY_TOKENS, 2);
    for (int t = 0; t < LENGTH; t++) p.place[t] = LENGTH - 1 - t;
    pupil_train(&p, 600);
    assert_learned(&p, "additive, normalised, reversing");
    pupil_destroy(&p);
}

static void additive_learns_from_a_loss_on_the_weights_alone(void **state)
{
    struct pupil p;
    (void)state;
    pupil_create(&p, additive(ATTN_ADDITIVE_BIAS), BY_ALIGNMENT, 3);
    pupil_train(&p, 400);
    assert_learned(&p, "additive, supervised");
    pupil_destroy(&p);
}

static void general_learns_a_permutation(void **state)
{
    struct pupil p;
    (void)state;
    pupil_create(&p, general(), BY_TOKENS, 4);
    rng_shuffle(&p.rng, p.place, LENGTH);
    pupil_train(&p, 300);
    assert_learned(&p, "general, a permutation");
    pupil_destroy(&p);
}

/* A step against the gradient of one parameter alone lowers the loss by the step's length times the gradient's. */
static void check_steps(struct pupil *p)
{
    draw_sequences(p);
    for (int i = 0; i < p->count; i++) {
        struct parameter *moved = &p->parameters[i];
        const double before = pupil_loss(p, true);
        double square = 0.0;
        if (moved == p->read_out && p->loss == BY_ALIGNMENT) continue;
        for (int64_t k = 0; k < moved->count; k++) square += (double)moved->gradient[k] * (double)moved->gradient[k];
        assert_true(square > 0.0);
        const double step = 1e-3 / sqrt(square), want = step * square;
        for (int64_t k = 0; k < moved->count; k++) moved->value[k] -= (float)(step * (double)moved->gradient[k]);
        const double lowered = before - pupil_loss(p, false);
        if (!(fabs(lowered - want) <= 0.05 * want + 2e-6)) {
            fail_msg("%s of %s: a step lowers the loss by %g, not %g", moved->name, attn_mechanism_name(p->mechanism),
                     lowered, want);
        }
    }
}

static void a_step_against_each_gradient_lowers_the_loss(void **state)
{
    (void)state;
    for (int k = 0; k < 6; k++) {
        const uint32_t all = ATTN_ADDITIVE_BIAS | ATTN_ADDITIVE_NORMALISED;
        struct pupil p;
        pupil_create(&p, k % 3 == 0 ? general() : additive(k % 3 == 1 ? 0 : all), k < 3 ? BY_TOKENS : BY_ALIGNMENT,
                     10 + (uint64_t)k);
        check_steps(&p);
        pupil_destroy(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_step_against_each_gradient_lowers_the_loss),
        cmocka_unit_test(additive_learns_to_copy),
        cmocka_unit_test(normalised_additive_learns_to_reverse),
        cmocka_unit_test(additive_learns_from_a_loss_on_the_weights_alone),
        cmocka_unit_test(general_learns_a_permutation),
    };
    return cmocka_run_group_tests_name("training", tests, engine_setup, engine_teardown);
}
