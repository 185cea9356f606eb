/* SPDX-License-Identifier: BSD-3-Clause
 *
 * short_pairs.h: the pairs of a file that a model is trained on. */
#ifndef TRANSLATE_SHORT_PAIRS_H
#define TRANSLATE_SHORT_PAIRS_H

#include "text/pair.h"

#include <stdbool.h>

/* Those of at most so many words on either side; refuses a file that has none. Unless quiet, says how many are left
 * out. */
pair_list short_pairs_read(const char *path, int most, bool quiet);

#endif
