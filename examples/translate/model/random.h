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

uint64_t random_bits(random_stream *stream);
uint64_t random_below(random_stream *stream, uint64_t limit); /* 0 .. limit - 1; limit >= 1 */
double random_unit(random_stream *stream);                    /* 0 <= x < 1 */
double random_normal(random_stream *stream);                  /* mean 0, variance 1 */

#endif
