/* SPDX-License-Identifier: BSD-3-Clause
 *
 * recurrent_decoding.c: a recurrent translator in use: the encoder's states are in a memory, made ready once. */
#include "model/decoding.h"
#include "model/elementwise.h"
#include "model/embedding.h"
#include "model/recurrent.h"
#include "refuse.h"

#include <stdlib.h>
#include <string.h>

typedef struct recurrent_decoding {
    decoding head;
    attn_memory *memory; /* NULL without attention */
    real *state;         /* [rows, states] */
    real *fed;           /* [rows, states]: Luong's last attentional state, or the fixed vector */
} recurrent_decoding;

static real *kept(const real *numbers, size_t count)
{
    return memcpy(allocate(count, sizeof(real)), numbers, count * sizeof(real));
}

decoding *recurrent_begin(const model *m, const batch *b)
{
    const recurrent *r = m->parts;
    const int n = r->decoder.states;
    const size_t cells = (size_t)b->rows * (size_t)n;
    recurrent_decoding *d = allocate_zeros(1, sizeof *d);
    decoding_head(&d->head, m, b);
    pass *p = &d->head.pass;
    const encoded source = encoder_forward(p, &r->encoder, b);
    if (r->attends) {
        const attention_keys keys =
            attention_keys_begin(p, &r->attention, b->rows, b->source_length, b->source_lengths, source.states);
        d->memory = attention_memory(&r->attention, &keys);
    }
    real *first = pass_reals(p, cells);
    dense_forward(p, &r->bridge, b->rows, source.last + r->bridge_first, n, false, first, n);
    tanh_forward(cells, first);
    d->state = kept(first, cells);
    if (r->attends) {
        d->fed = allocate_zeros(cells, sizeof(real));
    } else {
        d->fed = kept(source.last, cells);
    }
    return &d->head;
}

void recurrent_step(decoding *head, const int *words, real *logits, real *weights, real *scores)
{
    recurrent_decoding *d = (recurrent_decoding *)(void *)head;
    const model *m = head->of;
    const recurrent *r = m->parts;
    pass *p = &head->pass;
    pass_restart(p);
    const int rows = head->rows, n = r->decoder.states, embed = r->embedding->columns;
    const size_t cells = (size_t)rows * (size_t)n;
    real *embedded = pass_reals(p, (size_t)rows * (size_t)embed), *context = d->fed, *after = pass_reals(p, cells);
    real *wide = pass_reals(p, 2 * cells), *joint = pass_reals(p, cells);
    embedding_forward(p, r->embedding, (size_t)rows, words, 1, embedded);
    if (r->attends) {
        context = pass_reals(p, cells);
    } else { /* it looks at nothing */
        const size_t places = (size_t)rows * (size_t)head->length;
        if (weights != NULL) memset(weights, 0, places * sizeof *weights);
        if (scores != NULL) memset(scores, 0, places * sizeof *scores);
    }
    if (r->attends && r->before) {
        attention_recall(&r->attention, d->memory, rows, head->length, head->step, d->state, context, weights, scores);
    }
    gru_walk walk = gru_walk_begin(p, &r->decoder, rows, 1);
    dense_forward(p, &r->from_word, rows, embedded, embed, false, walk.from_input, 3 * n);
    dense_forward(p, &r->from_fed, rows, r->before ? context : d->fed, n, true, walk.from_input, 3 * n);
    gru_step(p, &r->decoder, &walk, 0, d->state, NULL, after);
    memcpy(d->state, after, cells * sizeof(real));
    if (!r->before) {
        attention_recall(&r->attention, d->memory, rows, head->length, head->step, after, context, weights, scores);
    }
    recurrent_joint(m, p, rows, embedded, after, context, wide, joint);
    if (!r->before) memcpy(d->fed, joint, cells * sizeof(real));
    dense_forward(p, &r->output, rows, joint, n, false, logits, m->options.target_words);
}

void recurrent_reorder(decoding *head, const int *rows, int count)
{
    recurrent_decoding *d = (recurrent_decoding *)(void *)head;
    const size_t n = (size_t)((const recurrent *)head->of->parts)->decoder.states;
    decoding_pick(&d->state, n, rows, count);
    decoding_pick(&d->fed, n, rows, count);
    if (d->memory == NULL) return;
    const attn_tensor names = {(int *)rows, ATTN_I32, 1, {count}, {1}};
    attn_must(attn_memory_reorder(d->memory, &names));
}

void recurrent_end(decoding *head)
{
    recurrent_decoding *d = (recurrent_decoding *)(void *)head;
    attn_memory_destroy(d->memory);
    free(d->state);
    free(d->fed);
    free(d);
}
