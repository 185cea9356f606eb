/* SPDX-License-Identifier: BSD-3-Clause
 *
 * alignments.h: files of alignments, "attn-alignments 1": what several models looked at, one run each. JSON:
 *
 *   {"format": "attn-alignments 1",
 *    "title": TEXT, "note": TEXT,               optional
 *    "runs": [RUN, ...]}                        1 to 64
 *
 *   RUN: {"model": TEXT,                        no two runs have the same
 *    "source": [TEXT, ...], "target": [TEXT, ...],     1 to 100 words each
 *    "weights": [[NUMBER, ...], ...],           a row for each target word, in it a number for each source word:
 *                                               finite, not negative
 *    and, optional:
 *    "scores": [[NUMBER or null, ...], ...],    the same before softmax, after all modifiers but the temperature;
 *                                               null, which is minus infinity, where a word could not be seen
 *    "factor": [[NUMBER, ...], ...],            by which softmax was multiplied; only with scores
 *    "temperature": NUMBER,                     by which scores were divided; 1 without it
 *    "gold": [[SOURCE, TARGET, "sure" or "possible"], ...],  indices from 0; "sure" where the third is left out
 *    "note": TEXT, "reference": [TEXT, ...]}    a line of results; the words of the sentence that was wanted
 *
 * weights = softmax(scores / temperature) * factor must hold to 0.01. Texts are of one line. Other names are for
 * others.
 */
#ifndef ATTN_TOOLS_ALIGNMENTS_H
#define ATTN_TOOLS_ALIGNMENTS_H

#include "plot.h"

/* Whether a path is that of such a file: it ends in .json. */
bool alignments_is_file(const char *path);

/* Reads a file into p, title and note with it; run is the model's name, or its index from 0, or NULL for all. Fails
 * where something is wrong with it. */
void alignments_read(plot *p, const char *path, const char *run);

#endif
