/* SPDX-License-Identifier: BSD-3-Clause
 *
 * attack.h: adversarial weights (Jain and Wallace 2019, section 4.2.2): for each step by itself, weights as far from
 * the model's own as can be found that move the output by next to nothing:
 *
 *     maximise JSD(a, a')   where   TVD(output with a, output with a') <= epsilon
 */
#ifndef TRANSLATE_ATTACK_H
#define TRANSLATE_ATTACK_H

#include "explain/replay.h"

typedef struct attack_options {
    double epsilon;
    int starts, iterations; /* from so many beginnings, so many steps of Adam each */
    double rate;            /* of Adam, on log-weights */
    double penalty;         /* on what exceeds epsilon: the objective is JSD - penalty max(0, TVD - epsilon) */
} attack_options;

attack_options attack_default(void);

typedef struct attacked {
    double divergence; /* Jensen-Shannon, 0 to ln 2; 0 where nothing was found but the model's own weights */
    double moved;      /* total variation of the output, at most epsilon */
} attacked;

/* found [steps]; weights [steps, sources] receives what was found, or NULL. */
void attack_steps(replay *r, const attack_options *o, random_stream *chance, attacked *found, real *weights);

#endif
