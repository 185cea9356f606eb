/* SPDX-License-Identifier: BSD-3-Clause
 *
 * bleu.h: BLEU of a corpus (Papineni et al. 2002), one reference to a sentence, as sacrebleu computes it by default
 * (Post 2018), on tokens as they are given: corpus_bleu(hypotheses, [references], tokenize='none', force=True).
 *
 *     BLEU = 100 BP exp((ln p1 + ln p2 + ln p3 + ln p4) / 4),    BP = min(1, exp(1 - r / c))
 *
 * p_n is the share of the hypotheses' n-grams that are in their reference too, each counted at most as often as it is
 * there; c and r are the tokens of the hypotheses and of the references. An order without a match gets
 * p_n = 1 / (2^k total_n), k counting such orders (Chen and Cherry 2014, smoothing 3). Where nothing at all matches, or
 * no hypothesis has four tokens, the score is 0. */
#ifndef TRANSLATE_BLEU_H
#define TRANSLATE_BLEU_H

#include <stddef.h>

enum { BLEU_ORDER = 4 };

/* Sums over the sentences; to begin with, all zeros. Those of two corpora may be added up. */
typedef struct bleu {
    size_t matches[BLEU_ORDER], grams[BLEU_ORDER]; /* n-grams of the hypotheses, n = 1 first: matched, and all */
    size_t hypothesis_tokens, reference_tokens;
} bleu;

void bleu_add(bleu *sums, char *const *hypothesis, int hypothesis_count, char *const *reference, int reference_count);
void bleu_add_sums(bleu *sums, const bleu *more);

/* 0 to 100. */
double bleu_score(const bleu *sums);

/* The factor for hypotheses that are too short, 0 to 1; 1 where there is nothing to translate. */
double bleu_brevity_penalty(const bleu *sums);

#endif
