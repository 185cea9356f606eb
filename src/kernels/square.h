/* SPDX-License-Identifier: BSD-3-Clause
 *
 * kernels/square.h: WIDTH vectors as a square: its transpose, and the sums of its rows. */
#ifndef ATTN_I_KERNELS_SQUARE_H
#define ATTN_I_KERNELS_SQUARE_H

#include "kernels/tile_math.h"

#define LIST(...) __VA_ARGS__

/* The lanes of those numbers, counted through a and then b. Before its version 12 GCC has its own word for it. */
#if defined(__clang__) || __GNUC__ >= 12
#define SHUFFLED(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLED(a, b, ...) __builtin_shuffle(a, b, (truth){__VA_ARGS__})
#endif

/* STEP(distance, low, high) for each distance 1, 2, 4 .. WIDTH / 2. Of two vectors a and b, `low` has a's lanes without
 * the distance's bit, and in the place of the others b's; `high` the rest of both. */
#if defined(__AVX512F__)
#define FOR_EACH_DISTANCE(STEP)                                                                                        \
    STEP(1, LIST(0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30),                                           \
         LIST(1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31))                                              \
    STEP(2, LIST(0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29),                                            \
         LIST(2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31))                                             \
    STEP(4, LIST(0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27),                                            \
         LIST(4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31))                                             \
    STEP(8, LIST(0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23),                                              \
         LIST(8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31))
#elif defined(__AVX2__)
#define FOR_EACH_DISTANCE(STEP)                                                                                        \
    STEP(1, LIST(0, 8, 2, 10, 4, 12, 6, 14), LIST(1, 9, 3, 11, 5, 13, 7, 15))                                          \
    STEP(2, LIST(0, 1, 8, 9, 4, 5, 12, 13), LIST(2, 3, 10, 11, 6, 7, 14, 15))                                          \
    STEP(4, LIST(0, 1, 2, 3, 8, 9, 10, 11), LIST(4, 5, 6, 7, 12, 13, 14, 15))
#else
#define FOR_EACH_DISTANCE(STEP)                                                                                        \
    STEP(1, LIST(0, 4, 2, 6), LIST(1, 5, 3, 7))                                                                        \
    STEP(2, LIST(0, 1, 4, 5), LIST(2, 3, 6, 7))
#endif

/* Exchanges, of two rows that lie `distance` apart in a square, what lies on the wrong side of its diagonal. */
#define EXCHANGE(distance, low, high)                                                                                  \
    UNROLL for (int i = 0; i < WIDTH; i++)                                                                             \
    {                                                                                                                  \
        if ((i & (distance)) == 0) {                                                                                   \
            const vec a = v[i], b = v[i + (distance)];                                                                 \
            v[i] = SHUFFLED(a, b, low);                                                                                \
            v[i + (distance)] = SHUFFLED(a, b, high);                                                                  \
        }                                                                                                              \
    }

static ALWAYS_INLINE void transpose(vec v[WIDTH])
{
    FOR_EACH_DISTANCE(EXCHANGE)
}

/* Adds the lanes of two vectors that lie `distance` apart, the sums of a where the bit is not set, those of b where it
 * is. */
#define FOLD(distance, low, high)                                                                                      \
    UNROLL for (int i = 0; i < WIDTH; i += 2 * (distance))                                                             \
    {                                                                                                                  \
        const vec a = v[i], b = v[i + (distance)];                                                                     \
        v[i] = SHUFFLED(a, b, low) + SHUFFLED(a, b, high);                                                             \
    }

#define FOLD_WHOLE(distance, low, high)                                                                                \
    UNROLL for (int i = 0; i < WIDTH; i += 2 * (distance))                                                             \
    {                                                                                                                  \
        const truth a = v[i], b = v[i + (distance)];                                                                   \
        v[i] = SHUFFLED(a, b, low) + SHUFFLED(a, b, high);                                                             \
    }

/* Lane l of the result is the sum of v[l]'s lanes. */
static ALWAYS_INLINE vec sums_of(vec v[WIDTH])
{
    FOR_EACH_DISTANCE(FOLD)
    return v[0];
}

/* The same of whole numbers. */
static ALWAYS_INLINE truth whole_sums_of(truth v[WIDTH])
{
    FOR_EACH_DISTANCE(FOLD_WHOLE)
    return v[0];
}

/* The same of one vector; and its greatest lane. */
#define FOLD_ONE(distance, low, high)     v = SHUFFLED(v, v, low) + SHUFFLED(v, v, high);
#define FOLD_GREATER(distance, low, high) v = greater_of(SHUFFLED(v, v, low), SHUFFLED(v, v, high));

static ALWAYS_INLINE float sum_of(vec v)
{
    FOR_EACH_DISTANCE(FOLD_ONE)
    return v[0];
}

/* Of lanes none of which is NaN. */
static ALWAYS_INLINE float greatest_of(vec v)
{
    FOR_EACH_DISTANCE(FOLD_GREATER)
    return v[0];
}

#endif
