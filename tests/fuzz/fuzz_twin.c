/* SPDX-License-Identifier: BSD-3-Clause
 *
 * fuzz_twin.c: see fuzz_twin.h.
 */
#include "fuzz_twin.h"

#include <float.h>
#include <math.h>

#include "twin_scene.h"

void fuzz_run_twin(const struct twin_problem *p, attn_dtype dtype, struct twin_result *result)
{
    const int64_t rows = p->batch * p->query_heads * p->queries, dim = p->value != NULL ? p->value_dim : p->key_dim;
    const double *values = p->value != NULL ? p->value : p->key;
    const double least = 0x1p-63 / (1.0 - p->dropout) / ((double)FLT_EPSILON * SCENE_FACTOR);
    fuzz_counted(COUNT_TWINS);
    twin_run(p, result);
    if (dtype != ATTN_F32 || p->hardmax) return;
    for (int64_t at = 0; at < rows * p->keys; at++) {
        const int64_t row = at / p->keys, j = at % p->keys, head = row / p->queries;
        const int64_t b = head / p->query_heads, h = head % p->query_heads / (p->query_heads / p->key_heads);
        if (result->scores[TWIN_MASKED][at] == -INFINITY) continue;
        result->scores_magnitude[TWIN_WEIGHTS][at] += least;
        const double *value = values + ((b * p->key_heads + h) * p->keys + j) * dim;
        for (int64_t d = 0; d < dim; d++) result->context_magnitude[row * dim + d] += least * fabs(value[d]);
    }
}
