/* SPDX-License-Identifier: BSD-3-Clause
 *
 * model.h: a small decoder of Llama's kind: blocks of attention (grouped heads, rotary positions, a sliding window) and
 * a gated feed-forward network, each behind a norm. Its weights are random, the same every time. */
#ifndef SERVE_MODEL_H
#define SERVE_MODEL_H

#include <attn/attn.h>

enum {
    VOCABULARY = 96, /* printable ASCII, and the end of a line */
    LAYERS = 3,
    DIM = 64,
    QUERY_HEADS = 8,
    KEY_HEADS = 2,
    HEAD_DIM = 16,
    HIDDEN = 128,
    WINDOW = 24 /* the keys that a query sees, itself among them */
};

typedef struct block {
    attn_multihead *attention; /* its projections are the four that follow */
    float W_q[QUERY_HEADS * HEAD_DIM][DIM], W_k[KEY_HEADS * HEAD_DIM][DIM], W_v[KEY_HEADS * HEAD_DIM][DIM];
    float W_o[DIM][QUERY_HEADS * HEAD_DIM];
    float gate[HIDDEN][DIM], up[HIDDEN][DIM], down[DIM][HIDDEN];
    float attention_gain[DIM], network_gain[DIM]; /* of the norms */
} block;

typedef struct model {
    attn_engine *engine;
    attn_mechanism *mechanism; /* of all layers: one memory can be for all of them */
    block blocks[LAYERS];
    float embedding[VOCABULARY][DIM], output[VOCABULARY][DIM], gain[DIM];
} model;

/* Rows of tokens, of one sequence or of several, one behind the other. */
typedef struct model_input {
    int64_t rows;
    const int *tokens;
    attn_memory *memory;  /* of keys and values that there are already, or NULL: one sequence, from its beginning */
    attn_tensor *offsets; /* with a memory: for each layer, whose rows are whose */
    const attn_tensor *columns;   /* what each row sees of the last keys, or NULL: what causal and window say */
    const attn_tensor *positions; /* of the rows, or NULL: where their sequences end */
} model_input;

/* Ends the program with the library's words, unless a call went well. */
void check(attn_status status);

/* So many bytes, all 0, or the end of the program. */
void *room(size_t bytes);

model *model_create(void);
void model_destroy(model *m);

/* An empty memory for the keys and values of so many sequences, a layer's being a sequence of its own. */
attn_memory *model_memory(const model *m, int64_t sequences, int64_t page);

/* Computes logits [rows, VOCABULARY] of the token after each row. */
void model_forward(const model *m, const model_input *input, float *logits);

/* The most likely token. */
int model_best(const float *logits);

#endif
