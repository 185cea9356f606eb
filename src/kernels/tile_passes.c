/* SPDX-License-Identifier: BSD-3-Clause
 *
 * kernels/tile_passes.c: the kernels that go over a tile of scores row by row: modifiers, what may not be seen,
 * maximum, exponentials; and their like for single rows. */
#include "kernels/tile_math.h"
#include "kernels/tiles.h"

#define HIDDEN (-INFINITY)

/* body for each row j and vector from lane l of the spans, x being the place in the tile. */
#define FOR_EACH_VECTOR(body)                                                                                          \
    for (int l = spans.first * ATTN_I_SPAN_LANES; l < spans.end * ATTN_I_SPAN_LANES; l += WIDTH) {                     \
        for (int64_t j = 0; j < count; j++) {                                                                          \
            float *x = tile + j * ATTN_I_LANES + l;                                                                    \
            body                                                                                                       \
        }                                                                                                              \
    }

void KERNEL(tile_scale)(int64_t count, attn_i_spans spans, float factor, float *tile)
{
    FOR_EACH_VECTOR(store(load(x) * factor, x);)
}

void KERNEL(tile_softcap)(int64_t count, attn_i_spans spans, float cap, float *tile)
{
    const vec c = splat(cap);
    FOR_EACH_VECTOR(store(c * vec_tanh(load(x) / c), x);)
}

void KERNEL(tile_add)(int64_t count, attn_i_spans spans, float factor, const float *bias, float *tile)
{
    FOR_EACH_VECTOR(store(load(x) + load(bias + (x - tile)) * factor, x);)
}

void KERNEL(tile_add_diagonals)(int64_t count, attn_i_spans spans, int64_t lanes, float factor, const float *from,
                                int64_t step, float *tile)
{
    FOR_EACH_VECTOR(store(load(x) + load_part(from + l - j * step, lanes - l, 0) * factor, x);)
}

void KERNEL(tile_sum_diagonals)(int64_t count, attn_i_spans spans, int64_t lanes, const float *tile, int64_t step,
                                float *to)
{
    for (int64_t j = 0; j < count; j++) {
        float *place = to - j * step;
        for (int l = spans.first * ATTN_I_SPAN_LANES; l < spans.end * ATTN_I_SPAN_LANES && l < lanes; l += WIDTH) {
            store_part(load_part(place + l, lanes - l, 0) + load(tile + j * ATTN_I_LANES + l), lanes - l, place + l);
        }
    }
}

void KERNEL(tile_alibi)(int64_t count, attn_i_spans spans, const float *slope, const float *distance, float *tile)
{
    FOR_EACH_VECTOR(store(load(x) - load(slope + l) * magnitude(load(distance + l) + (float)j), x);)
}

void KERNEL(tile_mask)(int64_t count, attn_i_spans spans, const float *mask, float *tile)
{
    FOR_EACH_VECTOR(store(choose(load(mask + (x - tile)) == splat(0), splat(HIDDEN), load(x)), x);)
}

void KERNEL(tile_edges)(int64_t count, attn_i_spans spans, const attn_i_lanes *state, int64_t first_key, float *tile)
{
    FOR_EACH_VECTOR(const truth unseen = unseen_by(state, l, (int32_t)(first_key + j));
                    store(choose(unseen, splat(HIDDEN), load(x)), x);)
}

void KERNEL(tile_cap_gradient)(int64_t count, attn_i_spans spans, float cap, const float *capped, float *tile)
{
    const vec c = splat(1 / cap);
    FOR_EACH_VECTOR(const vec d = load(x); const vec t = load(capped + (x - tile)) * c;
                    store(choose(d == splat(0), d, d * (1 - t * t)), x);)
}

void KERNEL(tile_gradient)(int64_t count, attn_i_spans spans, const float *weights, const float *mean, float *tile)
{
    FOR_EACH_VECTOR(const vec weight = load(weights + (x - tile)); const vec d = weight * (load(x) - load(mean + l));
                    store(choose(weight == splat(0), splat(0), d), x);)
}

void KERNEL(tile_maximum)(int64_t count, attn_i_spans spans, const float *tile, float *most)
{
    for (int l = spans.first * ATTN_I_SPAN_LANES; l < spans.end * ATTN_I_SPAN_LANES; l += WIDTH) {
        vec even = load(most + l), odd = even; /* one comparison need not wait for the one before */
        int64_t j = 0;
        for (; j + 1 < count; j += 2) {
            even = greater_of(load(tile + j * ATTN_I_LANES + l), even);
            odd = greater_of(load(tile + (j + 1) * ATTN_I_LANES + l), odd);
        }
        if (j < count) even = greater_of(load(tile + j * ATTN_I_LANES + l), even);
        store(greater_of(even, odd), most + l);
    }
}

void KERNEL(tile_exponentials)(int64_t count, attn_i_spans spans, const float *reference, float *tile)
{
    bits_vec powers = {0};
    FOR_EACH_VECTOR(const vec score = load(x); const vec own = load(reference + l);
                    /* Too large to be a part of the offset, the reference is taken off first. */
                    const truth far = (own > splat(ATTN_I_FAR)) | (own < splat(-ATTN_I_FAR));
                    const vec base = choose(far, splat(0), own); const vec left = choose(far, score - own, score);
                    const vec weight = power_above(left, base - splat(ATTN_I_ROOM), power_offset(base), &powers);
                    const vec seen = choose(score == splat(HIDDEN), splat(0), weight); store(keep_nan(score, seen), x);)
}

void KERNEL(tile_measure)(int64_t count, attn_i_spans spans, const float *reference, float *tile, float *sum,
                          float *moment)
{
    bits_vec powers = {0};
    for (int l = spans.first * ATTN_I_SPAN_LANES; l < spans.end * ATTN_I_SPAN_LANES; l += WIDTH) {
        const vec own = load(reference + l);
        const truth far = (own > splat(ATTN_I_FAR)) | (own < splat(-ATTN_I_FAR)); /* see tile_exponentials */
        const vec base = choose(far, splat(0), own), floor = base - splat(ATTN_I_ROOM), offset = power_offset(base);
        vec s = splat(0), m = splat(0);
        for (int64_t j = 0; j < count; j++) {
            float *x = tile + j * ATTN_I_LANES + l;
            const vec score = load(x), left = choose(far, score - own, score);
            vec weight = power_above(left, floor, offset, &powers);
            weight = choose(score == splat(HIDDEN), splat(0), weight);
            weight = keep_nan(score, weight);
            store(weight, x);
            s += weight;
            m += weight * (greater_of(floor, left) - base);
        }
        store(load(sum + l) + s, sum + l);
        store(load(moment + l) + m, moment + l);
    }
}

void KERNEL(tile_find)(int64_t count, attn_i_spans spans, const float *most, int32_t first, const float *tile,
                       int32_t *at)
{
    for (int l = spans.first * ATTN_I_SPAN_LANES; l < spans.end * ATTN_I_SPAN_LANES; l += WIDTH) {
        const vec greatest = load(most + l);
        truth found;
        memcpy(&found, at + l, sizeof found);
        for (int64_t j = count - 1; j >= 0; j--) {
            const truth here = load(tile + j * ATTN_I_LANES + l) == greatest;
            found = (here & ((truth){0} + (first + (int32_t)j))) | (~here & found);
        }
        memcpy(at + l, &found, sizeof found);
    }
}

void KERNEL(tile_multiply)(int64_t count, const float *factor, float *tile)
{
    const attn_i_spans spans = {0, ATTN_I_SPANS};
    FOR_EACH_VECTOR(store(load(x) * load(factor + l), x);)
}

/* 2^n, n whole, in two factors: past what one can hold the result vanishes or is subnormal. */
static ALWAYS_INLINE vec times_power(vec x, vec n)
{
    n = choose(n < splat(-252), splat(-252), n);
    n = choose(n > splat(252), splat(252), n);
    const bits_vec whole = (bits_vec)(n + ROUND) - (bits)ROUND_BITS;
    const bits_vec half = ((whole + (bits)HALVING) >> 1) - (bits)(HALVING / 2);
    return x * power_of_two(half) * power_of_two(whole - half);
}

void KERNEL(row_weights)(int64_t n, double reference, double factor, float *row)
{
    /* Scores that are too large to be rounded by ROUND have the reference taken off first, see tile_exponentials. */
    const int far = reference > (double)ATTN_I_FAR || reference < -(double)ATTN_I_FAR;
    const vec base = splat(far ? 0 : (float)reference), taken = splat(far ? (float)reference : 0);
    const vec f = splat((float)factor);
    for (int64_t j = 0; j < n; j += WIDTH) {
        /* What is hidden, and what lies past the row, has the reference for its score meanwhile: nothing is taken from
         * an infinity, which would raise an exception. */
        const vec score = load_part(row + j, n - j, HIDDEN);
        const truth hidden = score == splat(HIDDEN);
        /* No further off than this, or it might be infinite, and its distance to a whole number none. */
        const vec left = greater_of(splat(-0x1p100f), choose(hidden, base, score - taken));
        const vec whole = (left + ROUND) - ROUND, r = left - whole;
        vec p = splat(power_terms[0] * 0x1p64f);
        UNROLL for (int i = 1; i < 6; i++) p = p * r + splat(power_terms[i] * 0x1p64f);
        const vec weight = times_power(f * p, whole - base);
        const vec seen = choose(hidden, splat(0), weight);
        store_part(keep_nan(score, seen), n - j, row + j);
    }
}

int64_t KERNEL(mask_count)(int64_t n, const uint8_t *mask, int64_t stride)
{
    int32_t some = 0; /* n is a tile's */
    for (int64_t j = 0; j < n && stride == 1; j++) some += mask[j] != 0;
    for (int64_t j = 0; j < n && stride != 1; j++) some += mask[j * stride] != 0;
    return some;
}

void KERNEL(mask_row)(int64_t n, const uint8_t *mask, int64_t stride, float *to)
{
    for (int64_t j = 0; j < n && stride == 1; j++) to[j] = (float)(mask[j] != 0);
    for (int64_t j = 0; j < n && stride != 1; j++) to[j] = (float)(mask[j * stride] != 0);
}
