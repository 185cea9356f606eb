/* SPDX-License-Identifier: BSD-3-Clause
 *
 * replay.c: see replay.h. */
#include "explain/replay.h"

#include "model/elementwise.h"
#include "refuse.h"

#include <string.h>

const char *replay_refuses(const model *m)
{
    const char *kind = m->options.kind;
    if (strcmp(kind, "none") == 0) return "it looks at nothing, so there are no weights to explain";
    if (strcmp(kind, "transformer") == 0) {
        return "its layers look many times at a sentence, and no one weight of a word stands for them all";
    }
    if (strcmp(kind, "local-p") == 0) {
        return "its weights, once multiplied by a Gauss curve, do not sum to 1, so they are no distribution";
    }
    return NULL;
}

void log_weights_of(size_t count, const real *weights, real *log_weights)
{
    for (size_t i = 0; i < count; i++) log_weights[i] = weights[i] > 0 ? real_log(weights[i]) : -(real)INFINITY;
}

/* logits [rows, words] become probabilities. */
static void to_probabilities(size_t rows, size_t words, real *logits)
{
    log_softmax(rows, words, logits);
    for (size_t i = 0; i < rows * words; i++) logits[i] = real_exp(logits[i]);
}

replay replay_begin(const model *m, const batch *sentence)
{
    const recurrent *unit = m->parts;
    const int n = unit->decoder.states, words = m->options.target_words;
    replay r = {.of = m, .words = words, .sources = sentence->source_length, .steps = sentence->target_length};
    r.first.value = r.again.value = m->parameters.value;
    r.expected = sentence->target_out;
    attn_must(attn_mechanism_create_dot(m->engine, &r.given));
    attn_must(attn_mechanism_set_scale(r.given, 0));
    r.walk = recurrent_forward(m, &r.first, sentence, true);
    r.weights = r.walk.weights;
    r.outputs = r.walk.logits;
    to_probabilities((size_t)r.steps, (size_t)words, r.outputs);
    r.from_word = pass_reals(&r.first, 3 * (size_t)r.steps * (size_t)n);
    dense_forward(&r.first, &unit->from_word, r.steps, r.walk.embedded, unit->embedding->columns, false, r.from_word,
                  3 * n);
    return r;
}

void replay_free(replay *r)
{
    attn_mechanism_destroy(r->given);
    pass_free(&r->first);
    pass_free(&r->again);
    *r = (replay){0};
}

bool replay_sees(const replay *r, int t, int j)
{
    if (strcmp(r->of->options.kind, "local-m") != 0) return true;
    const int last = r->sources - 1, centre = t < last ? t : last;
    return j >= centre - r->of->options.half_width && j <= centre + r->of->options.half_width;
}

double replay_greatest(const replay *r, int t)
{
    double greatest = 0;
    for (int j = 0; j < r->sources; j++) greatest = fmax(greatest, (double)r->weights[t * r->sources + j]);
    return greatest;
}

/* One sentence's states are the keys, and the values, of all rows: rows are queries of one sequence. What the queries
 * are does not matter: one vector of zeros stands for them all. */
typedef struct call {
    attn_tensor query, key, bias, context, logsumexp, weights;
    attn_forward_args args;
} call;

static attn_tensor of_rows(const real *data, int rows, int columns)
{
    return (attn_tensor){(real *)data, REAL_DTYPE, 2, {rows, columns}, {columns, 1}};
}

static void call_begin(call *c, const replay *r, const real *zeros, const replayed *rows)
{
    const int n = ((const recurrent *)r->of->parts)->decoder.states;
    c->args = (attn_forward_args)ATTN_FORWARD_ARGS_INIT;
    c->query = (attn_tensor){(real *)zeros, REAL_DTYPE, 2, {rows->rows, n}, {0, 1}}, c->args.query = &c->query;
    c->key = of_rows(r->walk.encoded.states, r->sources, n), c->args.key = &c->key;
    c->bias = of_rows(rows->log_weights, rows->rows, r->sources), c->args.bias = &c->bias;
    c->context = of_rows(rows->context, rows->rows, n), c->args.context = &c->context;
    c->logsumexp = (attn_tensor){rows->logsumexp, REAL_DTYPE, 1, {rows->rows}, {1}}, c->args.logsumexp = &c->logsumexp;
}

/* to[i] = from[steps[i]], rows of so many columns. */
static real *gathered(pass *p, int rows, const int *steps, const real *from, int columns)
{
    real *to = pass_reals(p, (size_t)rows * (size_t)columns);
    for (int i = 0; i < rows; i++) {
        memcpy(to + (ptrdiff_t)i * columns, from + (ptrdiff_t)steps[i] * columns, (size_t)columns * sizeof *to);
    }
    return to;
}

replayed replay_forward(replay *r, int rows, const int *steps, const real *log_weights)
{
    const recurrent *unit = r->of->parts;
    const int n = unit->decoder.states, embed = unit->embedding->columns;
    const size_t cells = (size_t)rows * (size_t)n;
    pass *p = &r->again;
    pass_restart(p);
    replayed done = {.rows = rows, .steps = steps, .log_weights = log_weights};
    done.weights = pass_reals(p, (size_t)rows * (size_t)r->sources);
    done.context = pass_reals(p, cells);
    done.logsumexp = pass_reals(p, (size_t)rows);
    call c;
    call_begin(&c, r, pass_zeros(p, (size_t)n), &done);
    c.weights = of_rows(done.weights, rows, r->sources), c.args.weights = &c.weights;
    attn_must(attn_forward(r->given, &c.args));

    const real *embedded = gathered(p, rows, steps, r->walk.embedded, embed);
    if (unit->before) { /* the context is in the step's input, and in the readout */
        const real *before = gathered(p, rows, steps, r->walk.decoder.states, n);
        done.decoder = gru_walk_begin(p, &unit->decoder, rows, 1);
        for (int i = 0; i < rows; i++) {
            memcpy(done.decoder.from_input + 3 * (ptrdiff_t)i * n, r->from_word + 3 * (ptrdiff_t)steps[i] * n,
                   3 * (size_t)n * sizeof(real));
        }
        dense_forward(p, &unit->from_fed, rows, done.context, n, true, done.decoder.from_input, 3 * n);
        memcpy(done.decoder.states, before, cells * sizeof(real));
        done.state = done.decoder.states + cells;
        gru_step(p, &unit->decoder, &done.decoder, 0, done.decoder.states, NULL, done.state);
        done.wide = pass_reals(p, 2 * cells);
    } else {
        done.state = gathered(p, rows, steps, r->walk.decoder.states + n, n);
    }
    done.joint = pass_reals(p, cells);
    recurrent_joint(r->of, p, rows, embedded, done.state, done.context, done.wide, done.joint);
    done.outputs = pass_reals(p, (size_t)rows * (size_t)r->words);
    dense_forward(p, &unit->output, rows, done.joint, n, false, done.outputs, r->words);
    to_probabilities((size_t)rows, (size_t)r->words, done.outputs);
    return done;
}

/* From the gradient by probabilities to that by the context. */
static void back_to_context(replay *r, replayed *done, const real *d_outputs, real *d_context)
{
    const recurrent *unit = r->of->parts;
    const int n = unit->decoder.states, rows = done->rows, words = r->words;
    pass *p = &r->again;
    real *d_logits = pass_reals(p, (size_t)rows * (size_t)words), *d_joint = pass_reals(p, (size_t)rows * (size_t)n);
    real *d_state = pass_zeros(p, (size_t)rows * (size_t)n), *d_before = pass_zeros(p, (size_t)rows * (size_t)n);
    for (int i = 0; i < rows; i++) {
        const real *output = done->outputs + (ptrdiff_t)i * words, *d_output = d_outputs + (ptrdiff_t)i * words;
        double mean = 0;
        for (int w = 0; w < words; w++) mean += (double)output[w] * (double)d_output[w];
        real *d_logit = d_logits + (ptrdiff_t)i * words;
        for (int w = 0; w < words; w++) d_logit[w] = output[w] * (d_output[w] - (real)mean);
    }
    dense_backward_input(p, &unit->output, rows, d_logits, words, false, d_joint, n);
    recurrent_joint_back(r->of, p, rows, NULL, done->state, done->context, done->wide, done->joint, d_joint, NULL,
                         d_state, d_context);
    if (!unit->before) return;
    gru_step_back(p, &unit->decoder, &done->decoder, 0, done->decoder.states, NULL, d_state, d_before);
    dense_backward_input(p, &unit->from_fed, rows, done->decoder.from_input, 3 * n, true, d_context, n);
}

void replay_backward(replay *r, replayed *done, const real *d_outputs, const real *d_weights, real *d_log_weights,
                     real *d_context)
{
    const int n = ((const recurrent *)r->of->parts)->decoder.states;
    pass *p = &r->again;
    real *by_context = pass_zeros(p, (size_t)done->rows * (size_t)n);
    if (d_outputs != NULL) back_to_context(r, done, d_outputs, by_context);
    if (d_context != NULL) memcpy(d_context, by_context, (size_t)done->rows * (size_t)n * sizeof(real));
    if (d_log_weights == NULL) return;
    call c;
    call_begin(&c, r, pass_zeros(p, (size_t)n), done);
    attn_backward_args args = ATTN_BACKWARD_ARGS_INIT;
    const attn_tensor flowing = of_rows(by_context, done->rows, n);
    const attn_tensor flowing_weights = of_rows(d_weights, done->rows, r->sources);
    const attn_tensor to_bias = of_rows(d_log_weights, done->rows, r->sources);
    args.forward = &c.args, args.accumulate = 1;
    args.d_context = &flowing;
    if (d_weights != NULL) args.d_weights = &flowing_weights;
    args.d_bias = &to_bias;
    attn_must(attn_backward(r->given, &args));
}
