/* SPDX-License-Identifier: BSD-3-Clause
 *
 * model.c: see model.h. Attention is the library's; norms, the feed-forward network and the products with its matrices
 * are plain loops here. */
#include "model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

void check(attn_status status)
{
    if (status == ATTN_OK) return;
    fprintf(stderr, "%s\n", attn_last_error());
    exit(1);
}

void *room(size_t bytes)
{
    void *pointer = calloc(1, bytes);
    if (pointer == NULL) abort();
    return pointer;
}

/* Fills data with numbers between middle - most and middle + most, which depend on the tensor's number alone. */
static void fill(float *data, size_t count, uint32_t tensor, float middle, float most)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t bits = (uint32_t)i + tensor * 0x9e3779b9u; /* mixed: a counter becomes noise */
        bits = (bits ^ bits >> 16) * 0x7feb352du;
        bits = (bits ^ bits >> 15) * 0x846ca68bu;
        bits ^= bits >> 16;
        data[i] = middle + most * ((float)(bits >> 8) / 8388608.0f - 1.0f);
    }
}

/* A matrix whose products with numbers of about 1 are of about `size`: one of the model's own, or, with a name, a
 * parameter of an attention layer. */
static void create_matrix(float *data, int rows, int columns, uint32_t tensor, double size, attn_multihead *layer,
                          const char *name)
{
    attn_tensor matrix;
    fill(data, (size_t)rows * (size_t)columns, tensor, 0, (float)(size * sqrt(3.0 / columns)));
    if (layer == NULL) return;
    check(attn_tensor_init(&matrix, data, ATTN_F32, 2, (const int64_t[]){rows, columns}));
    check(attn_multihead_bind_param(layer, name, &matrix));
}

static void create_block(const attn_mechanism *mechanism, block *b, uint32_t tensor)
{
    enum { Q = QUERY_HEADS * HEAD_DIM, K = KEY_HEADS * HEAD_DIM };
    attn_rope_options rope = ATTN_ROPE_OPTIONS_INIT;
    attn_multihead_options options = ATTN_MULTIHEAD_OPTIONS_INIT;
    rope.layout = ATTN_ROPE_HALVES;
    options.query_heads = QUERY_HEADS;
    options.key_heads = KEY_HEADS;
    options.query_dim = DIM;
    options.head_dim = HEAD_DIM;
    options.rope = &rope;
    check(attn_multihead_create(mechanism, &options, &b->attention));
    create_matrix(&b->W_q[0][0], Q, DIM, tensor, 3, b->attention, "W_q"); /* scores of about 3: attention chooses */
    create_matrix(&b->W_k[0][0], K, DIM, tensor + 1, 1, b->attention, "W_k");
    create_matrix(&b->W_v[0][0], K, DIM, tensor + 2, 1, b->attention, "W_v");
    create_matrix(&b->W_o[0][0], DIM, Q, tensor + 3, 0.2, b->attention, "W_o");
    create_matrix(&b->gate[0][0], HIDDEN, DIM, tensor + 4, 1, NULL, NULL);
    create_matrix(&b->up[0][0], HIDDEN, DIM, tensor + 5, 1, NULL, NULL);
    create_matrix(&b->down[0][0], DIM, HIDDEN, tensor + 6, 0.1, NULL, NULL);
    fill(b->attention_gain, DIM, tensor + 7, 1, 0.25f);
    fill(b->network_gain, DIM, tensor + 8, 1, 0.25f);
}

model *model_create(void)
{
    model *m = room(sizeof *m);
    check(attn_engine_create(NULL, &m->engine));
    check(attn_mechanism_create_scaled_dot(m->engine, &m->mechanism));
    check(attn_mechanism_set_causal(m->mechanism, ATTN_ALIGN_BOTTOM_RIGHT));
    check(attn_mechanism_set_window(m->mechanism, WINDOW - 1, 0, ATTN_ALIGN_BOTTOM_RIGHT));
    fill(&m->embedding[0][0], (size_t)VOCABULARY * DIM, 1, 0, 1);
    create_matrix(&m->output[0][0], VOCABULARY, DIM, 2, 3, NULL, NULL);
    fill(m->gain, DIM, 3, 1, 0.25f);
    for (int l = 0; l < LAYERS; l++) create_block(m->mechanism, &m->blocks[l], 10 * (uint32_t)(l + 1));
    return m;
}

void model_destroy(model *m)
{
    for (int l = 0; l < LAYERS; l++) attn_multihead_destroy(m->blocks[l].attention);
    attn_mechanism_destroy(m->mechanism);
    attn_engine_destroy(m->engine);
    free(m);
}

attn_memory *model_memory(const model *m, int64_t sequences, int64_t page)
{
    attn_memory *memory;
    attn_memory_options options = ATTN_MEMORY_OPTIONS_INIT;
    options.dtype = ATTN_F32;
    options.batch = sequences;
    options.key_heads = KEY_HEADS;
    options.key_dim = options.value_dim = HEAD_DIM;
    options.page = page;
    check(attn_memory_create(m->mechanism, &options, &memory));
    return memory;
}

/* to = W from, or, to add to what is there, to += W from: W [outputs, inputs], a row at a time. */
static void multiply(const float *W, int64_t rows, int outputs, int inputs, const float *from, float *to, int add)
{
    for (int64_t r = 0; r < rows; r++) {
        for (int o = 0; o < outputs; o++) {
            float sum = 0;
            for (int i = 0; i < inputs; i++) sum += W[o * inputs + i] * from[r * inputs + i];
            to[r * outputs + o] = add ? to[r * outputs + o] + sum : sum;
        }
    }
}

/* Root mean square normalisation (Zhang 2019). */
static void normalise(const float *gain, int64_t rows, const float *from, float *to)
{
    for (int64_t r = 0; r < rows; r++, from += DIM, to += DIM) {
        float squares = 0;
        for (int i = 0; i < DIM; i++) squares += from[i] * from[i];
        const float factor = 1 / sqrtf(squares / DIM + 1e-5f);
        for (int i = 0; i < DIM; i++) to[i] = from[i] * factor * gain[i];
    }
}

/* x += attention(normed), by layer l: over the keys and values of its own sequences in the memory. */
static void attend(const block *b, int l, const model_input *input, float *normed, float *attended, float *x)
{
    attn_tensor in, out;
    attn_forward_args attention = ATTN_FORWARD_ARGS_INIT;
    attn_multihead_args args = ATTN_MULTIHEAD_ARGS_INIT;
    check(attn_tensor_init(&in, normed, ATTN_F32, 2, (const int64_t[]){input->rows, DIM}));
    check(attn_tensor_init(&out, attended, ATTN_F32, 2, (const int64_t[]){input->rows, DIM}));
    attention.query_offsets = input->memory ? &input->offsets[l] : NULL;
    attention.mask = input->columns;
    attention.mask_align = input->columns ? ATTN_ALIGN_BOTTOM_RIGHT : ATTN_ALIGN_NONE;
    args.query = &in;
    args.output = &out;
    args.memory = input->memory;
    args.positions = input->positions;
    args.attention = &attention;
    check(attn_multihead_forward(b->attention, &args));
    for (int64_t i = 0; i < input->rows * DIM; i++) x[i] += attended[i];
}

/* x += down (silu(gate normed) * up normed)  (Shazeer 2020). */
static void feed_forward(const block *b, int64_t rows, const float *normed, float *hidden, float *x)
{
    float *up = hidden + rows * HIDDEN;
    multiply(&b->gate[0][0], rows, HIDDEN, DIM, normed, hidden, 0);
    multiply(&b->up[0][0], rows, HIDDEN, DIM, normed, up, 0);
    for (int64_t i = 0; i < rows * HIDDEN; i++) hidden[i] = hidden[i] / (1 + expf(-hidden[i])) * up[i];
    multiply(&b->down[0][0], rows, DIM, HIDDEN, hidden, x, 1);
}

void model_forward(const model *m, const model_input *input, float *logits)
{
    const int64_t rows = input->rows;
    float *x = room(sizeof(float) * (size_t)(rows * (3 * DIM + 2 * HIDDEN)));
    float *normed = x + rows * DIM, *attended = normed + rows * DIM, *hidden = attended + rows * DIM;
    for (int64_t i = 0; i < rows * DIM; i++) x[i] = m->embedding[input->tokens[i / DIM]][i % DIM];
    for (int l = 0; l < LAYERS; l++) {
        const block *b = &m->blocks[l];
        normalise(b->attention_gain, rows, x, normed);
        attend(b, l, input, normed, attended, x);
        normalise(b->network_gain, rows, x, normed);
        feed_forward(b, rows, normed, hidden, x);
    }
    normalise(m->gain, rows, x, normed);
    multiply(&m->output[0][0], rows, VOCABULARY, DIM, normed, logits, 0);
    free(x);
}

int model_best(const float *logits)
{
    int best = 0;
    for (int t = 1; t < VOCABULARY; t++) best = logits[t] > logits[best] ? t : best;
    return best;
}
