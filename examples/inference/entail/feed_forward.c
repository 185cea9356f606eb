/* SPDX-License-Identifier: BSD-3-Clause
 *
 * feed_forward.c: the networks F, G and H, and views for the library; see parts.h. */
#include "entail/parts.h"
#include "model/elementwise.h"
#include "refuse.h"

void feed_forward_forward(const feed_forward *f, pass *p, int rows, const real *x, const real *z, real **inner,
                          unsigned char **kept, real **outer)
{
    const int hidden = f->second.outputs;
    const size_t count = (size_t)rows * (size_t)hidden;
    *inner = pass_reals(p, count), *outer = pass_reals(p, count);
    dense_forward(p, &f->first[0], rows, x, f->first[0].inputs, false, *inner, hidden);
    if (z != NULL) dense_forward(p, &f->first[1], rows, z, f->first[1].inputs, true, *inner, hidden);
    relu_forward(count, *inner);
    *kept = dropout_forward(p, count, *inner);
    dense_forward(p, &f->second, rows, *inner, hidden, false, *outer, hidden);
    relu_forward(count, *outer);
}

void feed_forward_backward(const feed_forward *f, pass *p, int rows, const real *x, const real *z, const real *inner,
                           const unsigned char *kept, const real *outer, real *dy, real *d_x, real *d_z)
{
    const int hidden = f->second.outputs;
    const size_t count = (size_t)rows * (size_t)hidden;
    real *d_inner = pass_reals(p, count);
    relu_backward(count, outer, dy, dy);
    if (p->gradient != NULL) dense_backward_weight(p, &f->second, rows, dy, hidden, inner, hidden);
    dense_backward_input(p, &f->second, rows, dy, hidden, false, d_inner, hidden);
    dropout_backward(p, count, kept, d_inner);
    relu_backward(count, inner, d_inner, d_inner);
    const real *inputs[] = {x, z};
    real *d_inputs[] = {d_x, d_z};
    for (int i = 0; i < 2; i++) {
        const dense *first = &f->first[i];
        if (inputs[i] == NULL) continue;
        if (p->gradient != NULL) {
            dense_backward_weight(p, first, rows, d_inner, hidden, inputs[i], first->inputs);
        }
        dense_backward_input(p, first, rows, d_inner, hidden, true, d_inputs[i], first->inputs);
    }
}

attn_tensor view_of_heads(const real *data, int rows, int heads, int length, int size)
{
    const int64_t apart = (int64_t)heads * size;
    return (attn_tensor){.data = (void *)(uintptr_t)data,
                         .dtype = REAL_DTYPE,
                         .ndim = 4,
                         .shape = {rows, heads, length, size},
                         .stride = {length * apart, size, apart, 1}};
}

attn_tensor view_of_rows(const real *data, int rows, int heads, int length)
{
    attn_tensor view;
    attn_must(attn_tensor_init(&view, (void *)(uintptr_t)data, REAL_DTYPE, 3, (const int64_t[]){rows, heads, length}));
    return view;
}

attn_tensor view_of_lengths(const int *lengths, int rows)
{
    attn_tensor view;
    attn_must(attn_tensor_init(&view, (void *)(uintptr_t)lengths, ATTN_I32, 1, (const int64_t[]){rows}));
    return view;
}
