/* SPDX-License-Identifier: BSD-3-Clause
 *
 * position/position.c: tables of positions: the sinusoids of Vaswani 2017, the ALiBi slopes of Press 2022. */
#include "position/position.h"

#include "handles/status.h"
#include "handles/tensor.h"
#include "runtime/size.h"

#include <inttypes.h>

#define MOST_POSITION (INT64_C(1) << 53)

static const double least_base = 1e-100, most_base = 1e100;

attn_status attn_i_position_check(const char *name, int64_t first, int64_t last)
{
    if (first < -MOST_POSITION || last > MOST_POSITION) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "%s has position %" PRId64 ", but -2^53 to 2^53 are taken", name,
                           first < -MOST_POSITION ? first : last);
    }
    return ATTN_OK;
}

attn_status attn_i_position_check_from(int64_t first, int64_t count)
{
    int64_t last = INT64_MAX;
    if (count == 0) return ATTN_OK;
    if (!attn_i_add(first, count - 1, &last)) last = INT64_MAX;
    return attn_i_position_check("first", first, last);
}

attn_status attn_i_position_check_base(double base)
{
    if (base >= least_base && base <= most_base) return ATTN_OK; /* NaN is not */
    return attn_i_fail(ATTN_ERR_ARGUMENT, "base is %g, but 1e-100 to 1e100 are taken", base);
}

/* An output of these tables. */
static attn_status check_output(const attn_tensor *tensor, const char *name, int32_t most_dims, attn_i_view *view)
{
    attn_status status = attn_i_tensor_check_real(tensor, name, most_dims, view);
    return status == ATTN_OK ? attn_i_view_is_output(view, name) : status;
}

static void put(const attn_i_view *view, int64_t row, int64_t column, double value)
{
    char *to = view->data + (row * view->stride[2] + column * view->stride[3]) * view->size;
    if (view->size == (int64_t)sizeof(float)) {
        *(float *)(void *)to = (float)value;
    } else {
        *(double *)(void *)to = value;
    }
}

enum { SOME_PAIRS = 64 };

/* By as many pairs as there is room for frequencies: each is then computed once. */
static void fill_sinusoids(const attn_i_view *table, int64_t first, double base)
{
    const int64_t rows = table->shape[2], columns = table->shape[3], pairs = attn_i_divide_up(columns, 2);
    double frequencies[SOME_PAIRS];
    for (int64_t from = 0; from < pairs; from += SOME_PAIRS) {
        const int64_t count = attn_i_min(pairs - from, SOME_PAIRS);
        for (int64_t i = 0; i < count; i++) frequencies[i] = attn_i_frequency(base, from + i, columns);
        for (int64_t t = 0; t < rows; t++) {
            for (int64_t i = 0; i < count; i++) {
                const double angle = (double)(first + t) * frequencies[i];
                const int64_t column = 2 * (from + i);
                put(table, t, column, sin(angle));
                if (column + 1 < columns) put(table, t, column + 1, cos(angle));
            }
        }
    }
}

attn_status attn_position_sinusoidal(const attn_tensor *table, int64_t first, double base)
{
    attn_i_view view = {.data = NULL};
    attn_status status = check_output(table, "table", 2, &view);
    if (status == ATTN_OK) status = attn_i_position_check_base(base);
    if (status == ATTN_OK) status = attn_i_position_check_from(first, view.shape[2]);
    if (status != ATTN_OK) return attn_i_fail_in("attn_position_sinusoidal", status);
    if (!attn_i_view_is_empty(&view)) fill_sinusoids(&view, first, base);
    return ATTN_OK;
}

attn_status attn_position_alibi_slopes(const attn_tensor *slopes)
{
    attn_i_view view = {.data = NULL};
    attn_status status = check_output(slopes, "slopes", 1, &view);
    if (status != ATTN_OK) return attn_i_fail_in("attn_position_alibi_slopes", status);
    const int64_t heads = view.shape[3];
    int64_t power = 1; /* of two, the next lower */
    while (power <= heads / 2) power *= 2;
    for (int64_t h = 0; h < heads; h++) {
        const int64_t odd = 2 * (h - power) + 1; /* of 2 power heads */
        put(&view, 0, h,
            h < power ? exp2(-8.0 * (double)(h + 1) / (double)power) : exp2(-4.0 * (double)odd / (double)power));
    }
    return ATTN_OK;
}
