/* SPDX-License-Identifier: BSD-3-Clause
 *
 * random.c: see random.h. */
#include "model/random.h"

#include <math.h>

random_stream random_begin(uint64_t seed, uint64_t purpose, uint64_t number)
{
    random_stream stream = {seed};
    stream.state = random_bits(&stream) ^ purpose;
    stream.state = random_bits(&stream) ^ number;
    stream.state = random_bits(&stream);
    return stream;
}

uint64_t random_below(random_stream *stream, uint64_t limit)
{
    const uint64_t whole = UINT64_MAX - UINT64_MAX % limit; /* a multiple of limit: no number is likelier */
    uint64_t bits;
    do {
        bits = random_bits(stream);
    } while (bits >= whole);
    return bits % limit;
}

double random_unit(random_stream *stream)
{
    return (double)(random_bits(stream) >> 11) * 0x1p-53;
}

double random_normal(random_stream *stream) /* Box and Muller */
{
    const double radius = sqrt(-2 * log(1 - random_unit(stream)));
    return radius * cos(2 * 3.14159265358979323846 * random_unit(stream));
}
