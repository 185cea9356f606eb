/* SPDX-License-Identifier: BSD-3-Clause
 *
 * label.h: what a hypothesis is to a premise. */
#ifndef INFERENCE_LABEL_H
#define INFERENCE_LABEL_H

enum label { ENTAILED, CONTRADICTED, NEUTRAL, LABELS };
extern const char *const label_names[LABELS];

#endif
