/* SPDX-License-Identifier: BSD-3-Clause
 *
 * draw.c: see draw.h. The stream is splitmix64 (Steele, Lea and Flood 2014). */
#include "text/draw.h"

static uint64_t next(grammar_random *random)
{
    uint64_t z = random->state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* The upper half, scaled: that no choice is favoured by more than count in 2^32 is even enough here. */
int draw_below(grammar_random *random, int count)
{
    return (int)(((next(random) >> 32) * (uint64_t)count) >> 32);
}

int draw_between(grammar_random *random, int low, int high)
{
    return low + draw_below(random, high - low + 1);
}

bool draw_chance(grammar_random *random, int percent)
{
    return draw_below(random, 100) < percent;
}

int draw_weighted(grammar_random *random, const int *weights, int count)
{
    int total = 0;
    for (int i = 0; i < count; i++) total += weights[i];
    int left = draw_below(random, total);
    int i = 0;
    while (left >= weights[i]) left -= weights[i++];
    return i;
}
