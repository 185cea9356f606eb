/* SPDX-License-Identifier: BSD-3-Clause
 *
 * translator.h: single sentences through a checkpoint's model. */
#ifndef TRANSLATE_TRANSLATOR_H
#define TRANSLATE_TRANSLATOR_H

#include "search/translation.h"
#include "text/dataset.h"
#include "train/checkpoint.h"

/* Refuses a sentence that is too long for the model: location has weights for so many places only. */
void translator_fits(const checkpoint *c, int source_count);

/* Translates the pair's source; its target is not looked at. */
translation translate_pair(const checkpoint *c, const sentence_pair *pair, int beam, double penalty);

/* Tells the model the pair's target; with scores. */
translation force_pair(const checkpoint *c, const sentence_pair *pair);

#endif
