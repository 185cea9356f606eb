/* SPDX-License-Identifier: BSD-3-Clause
 *
 * encode.c: words become vectors, and each looks at its own sentence (Parikh 2016, section 3.4):
 *
 *     e'_i = sum_j e_j softmax_j(F(e_i) . F(e_j) / sqrt(size of a head) + d[i - j])
 *
 * The division is not the paper's: with several heads it keeps scores small at first. */
#include "entail/parts.h"
#include "model/elementwise.h"
#include "model/embedding.h"
#include "refuse.h"

#include <string.h>

typedef struct intra_views {
    attn_tensor lengths, projected, embedded, context, logsumexp;
    attn_forward_args args;
} intra_views;

/* The arguments point into *v. */
static void intra_args(const entail *m, int rows, const entail_side *side, intra_views *v)
{
    const int heads = m->options.heads, size = m->options.embed / heads, length = side->text.length;
    v->lengths = view_of_lengths(side->text.lengths, rows);
    v->projected = view_of_heads(side->within, rows, heads, length, size);
    v->embedded = view_of_heads(side->embedded, rows, heads, length, size);
    v->context = view_of_heads(side->context, rows, heads, length, size);
    v->logsumexp = view_of_rows(side->logsumexp, rows, heads, length);
    v->args = (attn_forward_args)ATTN_FORWARD_ARGS_INIT;
    v->args.query = v->args.key = &v->projected;
    v->args.value = &v->embedded;
    v->args.key_lengths = &v->lengths;
    v->args.context = &v->context;
    v->args.logsumexp = &v->logsumexp;
}

void encode_side(const entail *m, pass *p, int rows, entail_side *side)
{
    const int embed = m->options.embed, words = rows * side->text.length;
    const size_t count = (size_t)words * (size_t)embed, line = (size_t)embed * sizeof(real);
    side->embedded = pass_reals(p, count);
    embedding_forward(p, m->embedding, (size_t)words, side->text.words, 1, side->embedded);
    side->kept = dropout_forward(p, count, side->embedded);
    side->states = side->embedded;
    if (m->options.plain) return;
    side->within = pass_reals(p, count);
    side->context = pass_reals(p, count);
    side->logsumexp = pass_reals(p, (size_t)words * (size_t)m->options.heads);
    dense_forward(p, &m->within, words, side->embedded, embed, false, side->within, embed);
    relu_forward(count, side->within);
    intra_views v;
    intra_args(m, rows, side, &v);
    attn_must(attn_forward(m->intra, &v.args));
    side->states = pass_reals(p, 2 * count);
    for (int i = 0; i < words; i++) {
        memcpy(side->states + (ptrdiff_t)(2 * i) * embed, side->embedded + (ptrdiff_t)i * embed, line);
        memcpy(side->states + (ptrdiff_t)(2 * i + 1) * embed, side->context + (ptrdiff_t)i * embed, line);
    }
}

real *entail_encode_backward(const entail *m, pass *p, int rows, entail_side *side)
{
    const int embed = m->options.embed, words = rows * side->text.length;
    const size_t count = (size_t)words * (size_t)embed, line = (size_t)embed * sizeof(real);
    if (m->options.plain) return side->d_states;
    real *d_embedded = pass_reals(p, count), *d_context = pass_reals(p, count);
    for (int i = 0; i < words; i++) {
        memcpy(d_embedded + (ptrdiff_t)i * embed, side->d_states + (ptrdiff_t)(2 * i) * embed, line);
        memcpy(d_context + (ptrdiff_t)i * embed, side->d_states + (ptrdiff_t)(2 * i + 1) * embed, line);
    }
    const int heads = m->options.heads, size = embed / heads, length = side->text.length;
    real *d_query = pass_zeros(p, count), *d_key = pass_zeros(p, count);
    real *unused = p->gradient == NULL ? pass_zeros(p, (size_t)m->distance->rows * (size_t)m->distance->columns) : NULL;
    const attn_tensor d_context_view = view_of_heads(d_context, rows, heads, length, size);
    const attn_tensor d_query_view = view_of_heads(d_query, rows, heads, length, size);
    const attn_tensor d_key_view = view_of_heads(d_key, rows, heads, length, size);
    const attn_tensor d_value_view = view_of_heads(d_embedded, rows, heads, length, size);
    attn_tensor d_distance;
    attn_must(attn_tensor_init(&d_distance, unused != NULL ? unused : pass_gradient(p, m->distance), REAL_DTYPE, 2,
                               (const int64_t[]){heads, m->distance->columns}));
    intra_views v;
    intra_args(m, rows, side, &v);
    attn_backward_args args = ATTN_BACKWARD_ARGS_INIT;
    args.accumulate = 1;
    args.forward = &v.args;
    args.d_context = &d_context_view;
    args.d_query = &d_query_view;
    args.d_key = &d_key_view;
    args.d_value = &d_value_view;
    args.d_relative = &d_distance;
    attn_must(attn_backward(m->intra, &args));
    add_to(count, d_key, d_query);
    relu_backward(count, side->within, d_query, d_query);
    if (p->gradient != NULL) dense_backward_weight(p, &m->within, words, d_query, embed, side->embedded, embed);
    dense_backward_input(p, &m->within, words, d_query, embed, true, d_embedded, embed);
    return d_embedded;
}

void embed_backward(const entail *m, pass *p, int rows, const entail_side *side, const real *d_embedded)
{
    const size_t words = (size_t)rows * (size_t)side->text.length, count = words * (size_t)m->options.embed;
    real *d = pass_reals(p, count);
    memcpy(d, d_embedded, count * sizeof *d);
    dropout_backward(p, count, side->kept, d);
    embedding_backward(p, m->embedding, words, side->text.words, 1, d);
}
