/* SPDX-License-Identifier: BSD-3-Clause
 *
 * elementary_set.c: compiled once for each set of kernels, with that set's flags. ELEMENTARY_SET is its name. */
#include "elementary_set.h"

#include "kernels/elementary.h"

#define STRING_OF(x)   #x
#define STRING(x)      STRING_OF(x)
#define PASTE_OF(a, b) a##b
#define PASTE(a, b)    PASTE_OF(a, b)
#define THE_SET        PASTE(elementary_, ELEMENTARY_SET)

static void exp_of_all(size_t count, const float *x, float *y)
{
    for (size_t i = 0; i < count; i += WIDTH) store(vec_exp(load(x + i)), y + i);
}

static void tanh_of_all(size_t count, const float *x, float *y)
{
    for (size_t i = 0; i < count; i += WIDTH) store(vec_tanh(load(x + i)), y + i);
}

extern const elementary_set THE_SET;
const elementary_set THE_SET = {STRING(ELEMENTARY_SET), WIDTH, exp_of_all, tanh_of_all};
