/* SPDX-License-Identifier: BSD-3-Clause
 *
 * random.h: random numbers that are the same on every machine (SplitMix64, Steele 2014). */
#ifndef TRANSLATE_RANDOM_H
#define TRANSLATE_RANDOM_H

#include <stdint.h>

typedef struct random_stream {
    uint64_t state;
} random_stream;

/* A stream of its own for each (seed, purpose, number). */
random_stream random_begin(uint64_t seed, uint64_t purpose, uint64_t number);

/* What random_bits would give after n calls more; and as if there had been n. */
static inline uint64_t random_bits_ahead(const random_stream *stream, uint64_t n)
{
    uint64_t z = stream->state + (n + 1) * 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static inline void random_skip(random_stream *stream, uint64_t n)
{
    stream->state += n * 0x9e3779b97f4a7c15u;
}

static inline uint64_t random_bits(random_stream *stream)
{
    const uint64_t bits = random_bits_ahead(stream, 0);
    random_skip(stream, 1);
    return bits;
}

uint64_t random_below(random_stream *stream, uint64_t limit); /* 0 .. limit - 1; limit >= 1 */
double random_unit(random_stream *stream);                    /* 0 <= x < 1 */
double random_normal(random_stream *stream);                  /* mean 0, variance 1 */

#endif
