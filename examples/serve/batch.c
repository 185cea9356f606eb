/* SPDX-License-Identifier: BSD-3-Clause
 *
 * batch.c: see batch.h. */
#include "batch.h"

#include <stdlib.h>

static void add_row(batch *b, int token, int after, int64_t position)
{
    b->tokens[b->rows] = token;
    b->after[b->rows] = after;
    b->positions[b->rows++] = position;
}

void batch_add(batch *b, int kept, const int *tokens, int certain, const guess *guesses, int count)
{
    const int c = b->conversations++, first = b->rows, tree = first + certain;
    b->first[c] = first;
    b->kept[c] = kept;
    b->certain[c] = certain;
    b->guesses = count > b->guesses ? count : b->guesses;
    for (int i = 0; i < certain; i++) add_row(b, tokens[i], i ? first + i - 1 : -1, kept + i);
    for (int i = 0; i < count; i++) { /* a guess stands one behind the row that it follows, wherever its own row is */
        const int after = guesses[i].after < 0 ? tree - 1 : tree + guesses[i].after;
        add_row(b, guesses[i].token, after, b->positions[after] + 1);
    }
    b->first[c + 1] = b->rows;
}

int batch_guess(const batch *b, int conversation, int row, int token)
{
    for (int i = b->first[conversation] + b->certain[conversation]; i < b->first[conversation + 1]; i++) {
        if (b->after[i] == row && b->tokens[i] == token) return i;
    }
    return -1;
}

/* The sequences of the memory are the layers of conversation 0, those of 1, ... Layer l has the rows of a conversation
 * in one of these, and none in the others. */
static attn_tensor layer_offsets(const batch *b, int l, int64_t *offsets)
{
    attn_tensor tensor;
    const int64_t sequences = b->conversations * LAYERS;
    offsets[0] = 0;
    for (int64_t s = 0; s < sequences; s++) offsets[s + 1] = b->first[s / LAYERS + (s % LAYERS >= l)];
    check(attn_tensor_init(&tensor, offsets, ATTN_I64, 1, (const int64_t[]){sequences + 1}));
    return tensor;
}

/* What row i of conversation c sees of its last keys. The window is one of positions: of keys from before the step, and
 * of the rows that it follows. Its brothers and their children are not among them. */
static void show(const batch *b, int c, int i, unsigned char *columns, int count)
{
    const int end = b->first[c + 1], own = end - b->first[c]; /* the last column is that of row end - 1 */
    for (int64_t key = b->positions[i] - WINDOW + 1; key < b->kept[c]; key++) {
        if (key >= 0) columns[count - own - (b->kept[c] - key)] = 1;
    }
    for (int row = i; row >= 0 && b->positions[i] - b->positions[row] < WINDOW; row = b->after[row])
        columns[count - (end - row)] = 1;
}

/* A tree takes more places in the memory than positions, so that a window of places is too narrow by as many as there
 * are guesses. Let it be wider, and the mask say what is seen: of so many of the last keys that what is before them is
 * outside of the window of any row. */
static void forward_guesses(const batch *b, const model *m, model_input input, float *logits)
{
    int longest = 0;
    for (int c = 0; c < b->conversations; c++) {
        const int rows = b->first[c + 1] - b->first[c];
        longest = rows > longest ? rows : longest;
    }
    const int left = WINDOW - 1 + b->guesses, count = left + longest;
    unsigned char *columns = room((size_t)b->rows * (size_t)count);
    for (int c = 0; c < b->conversations; c++) {
        for (int i = b->first[c]; i < b->first[c + 1]; i++) show(b, c, i, columns + i * count, count);
    }
    attn_tensor mask;
    check(attn_tensor_init(&mask, columns, ATTN_BOOL, 2, (const int64_t[]){b->rows, count}));
    input.columns = &mask;
    check(attn_mechanism_set_window(m->mechanism, left, 0, ATTN_ALIGN_BOTTOM_RIGHT));
    model_forward(m, &input, logits);
    check(attn_mechanism_set_window(m->mechanism, WINDOW - 1, 0, ATTN_ALIGN_BOTTOM_RIGHT));
    free(columns);
}

void batch_forward(const batch *b, const model *m, attn_memory *memory, float *logits)
{
    if (b->rows == 0) return;
    int64_t offsets[LAYERS][CONVERSATIONS * LAYERS + 1], where[BUDGET];
    attn_tensor of_layers[LAYERS], positions;
    for (int l = 0; l < LAYERS; l++) of_layers[l] = layer_offsets(b, l, offsets[l]);
    for (int i = 0; i < b->rows; i++) where[i] = b->positions[i];
    check(attn_tensor_init(&positions, where, ATTN_I64, 1, (const int64_t[]){b->rows}));
    model_input input = {b->rows, b->tokens, memory, of_layers, NULL, NULL};
    if (b->guesses == 0) { /* causal, a window, and positions that the memory knows: nothing more to say */
        model_forward(m, &input, logits);
        return;
    }
    input.positions = &positions;
    forward_guesses(b, m, input, logits);
}
