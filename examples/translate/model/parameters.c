/* SPDX-License-Identifier: BSD-3-Clause
 *
 * parameters.c: see parameters.h. */
#include "model/parameters.h"

#include "refuse.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

const parameter *parameters_add(parameter_set *set, parameter_start start, int rows, int columns, const char *format,
                                ...)
{
    if (set->count == PARAMETERS_MOST) refuse("a model of more than %d parameters: ask for fewer layers", set->count);
    parameter *p = &set->list[set->count++];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(p->name, sizeof p->name, format, arguments);
    va_end(arguments);
    p->rows = rows, p->columns = columns, p->start = start, p->offset = set->total;
    set->total += ((size_t)rows * (size_t)columns + 15) / 16 * 16; /* each begins a cache line */
    return p;
}

void parameters_allocate(parameter_set *set)
{
    set->value = allocate_zeros(set->total, sizeof(real));
}

void parameters_draw(parameter_set *set, uint64_t seed)
{
    for (int i = 0; i < set->count; i++) {
        const parameter *p = &set->list[i];
        random_stream stream = random_begin(seed, 1, (uint64_t)i);
        const size_t count = (size_t)p->rows * (size_t)p->columns;
        const double fan = p->start == START_GLOROT ? (p->rows + p->columns) / 6.0 : p->columns;
        for (size_t e = 0; e < count; e++) {
            double number = p->start == START_ONE;
            if (p->start == START_UNIFORM || p->start == START_GLOROT) {
                number = (2 * random_unit(&stream) - 1) / sqrt(fan);
            } else if (p->start == START_NORMAL) {
                number = random_normal(&stream) / sqrt(fan);
            }
            set->value[p->offset + e] = (real)number;
        }
    }
}

void parameters_free(parameter_set *set)
{
    free(set->value);
    set->value = NULL;
}
