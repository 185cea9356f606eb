/* SPDX-License-Identifier: BSD-3-Clause
 *
 * entail.h: decomposable attention (Parikh 2016): does the hypothesis b follow from the premise a?
 *
 *     x = [e; e']            words, and what stands around them: e' by attention within the sentence, with a learned
 *                            bias of the distance, cut at 10 (section 3.4); this alone knows the order of words
 *     f_i = F(a_i)           attend: beta_i what in b is aligned with a_i, alpha_j what in a with b_j (section 3.1)
 *     v1 = sum_i G([a_i; beta_i]), v2 = sum_j G([b_j; alpha_j])          compare (section 3.2)
 *     y = H([v1; v2])                                                     aggregate (section 3.3)
 *
 * F, G and H are of two layers with ReLU, H with a third that is linear. Attention within a sentence has heads, each
 * with a share of e and of F_intra(e); with one it is the paper's. */
#ifndef INFERENCE_ENTAIL_H
#define INFERENCE_ENTAIL_H

#include "model/dense.h"
#include "model/pass.h"
#include "pairs/label.h"

#include <stdbool.h>

/* What is looked at: with the mean in place of what is aligned, and with the hypothesis alone, it is a baseline. */
enum { LOOK_ATTEND, LOOK_MEAN, LOOK_HYPOTHESIS, LOOK_KINDS };
extern const char *const look_names[LOOK_KINDS];

typedef struct entail_options {
    int words; /* of the vocabulary */
    int embed, hidden, heads;
    bool plain; /* no attention within a sentence: words in no order */
    int look;
} entail_options;

enum { DISTANCE_MOST = 10 };

/* Two layers with ReLU. */
typedef struct feed_forward {
    dense first[2]; /* of the two inputs that are joined; the second may have none */
    dense second;
} feed_forward;

typedef struct entail {
    entail_options options;
    parameter_set parameters;
    const parameter *embedding, *distance;
    dense within; /* F_intra: one layer */
    feed_forward attend, compare, aggregate;
    dense output;
    attn_engine *engine;
    attn_mechanism *intra;
} entail;

/* Its parameters are zeros, until they are drawn. F's weights begin twice as large as the others', or all words would
 * look at all alike for long; G begins as a function of the difference of its inputs, so that a word and what is
 * aligned with it, where that is the same word, say nothing from the first step on. */
entail *entail_create(const entail_options *options);
void entail_draw(entail *m, uint64_t seed);
void entail_destroy(entail *m);

/* Numbers of words, padded to one length. Borrowed. */
typedef struct text_batch {
    int length;
    const int *words;   /* [rows, length] */
    const int *lengths; /* [rows], at least 1 */
} text_batch;

typedef struct entail_batch {
    int rows;
    text_batch premise, hypothesis;
    const int *labels; /* [rows], or NULL */
} entail_batch;

/* One sentence of each row, walked through; what is kept lives as the pass does. */
typedef struct entail_side {
    text_batch text;
    real *embedded, *within, *context, *logsumexp; /* [rows, length, embed]; logsumexp [rows, heads, length] */
    unsigned char *kept;
    real *states;                  /* x [rows, length, size] */
    real *inner, *projected;       /* of F [rows, length, hidden] */
    real *aligned, *row_logsumexp; /* beta or alpha [rows, length, size] */
    real *compared[2];             /* of G, both layers */
    unsigned char *compared_kept;
    real *d_states, *d_aligned, *d_projected;
} entail_side;

typedef struct entail_walk {
    entail_side premise, hypothesis;
    real *sums;      /* [v1; v2] [rows, 2 hidden] */
    real *layers[2]; /* of H */
    unsigned char *layer_kept;
    real *logits; /* [rows, 3] */
} entail_walk;

int entail_size(const entail *m); /* of x */

/* From words to logits. */
void entail_forward(const entail *m, pass *p, const entail_batch *b, entail_walk *w);

/* The same in parts, for whoever changes something between. entail_encode makes both sides' states, entail_attend what
 * is aligned with them, entail_conclude the logits from these. */
void entail_encode(const entail *m, pass *p, const entail_batch *b, entail_walk *w);
void entail_attend(const entail *m, pass *p, const entail_batch *b, entail_walk *w);
void entail_conclude(const entail *m, pass *p, const entail_batch *b, entail_walk *w);

/* Gradients of a loss by all parameters are added to the pass's, from those by the logits. */
void entail_backward(const entail *m, pass *p, const entail_batch *b, entail_walk *w, const real *d_logits);

/* The part of it up to states and what is aligned, which d_states and d_aligned of both sides receive. Without
 * gradients in the pass it is for the states alone. */
void entail_conclude_backward(const entail *m, pass *p, const entail_batch *b, entail_walk *w, const real *d_logits);
/* From d_states of the sides, to words' vectors: what comes back is [rows, length, embed]. */
real *entail_encode_backward(const entail *m, pass *p, int rows, entail_side *side);

/* The weights behind what is aligned, each row of which sums to 1 over the other sentence's valid words: hypothesis
 * words over premise words (alpha's) [rows, hypothesis length, premise length], and the other way round (beta's); with
 * their scores, or NULL. The library's step gives no weights, so a dot product's attention is asked for them. */
void entail_weights(const entail *m, const entail_batch *b, const entail_walk *w, real *of_hypothesis, real *of_premise,
                    real *scores_of_hypothesis, real *scores_of_premise);

/* Loss summed over rows, times scale in the gradients, which are added where the pass has some; *right, or NULL, is
 * added to. */
double entail_loss(const entail *m, pass *p, const entail_batch *b, double scale, long *right);

#endif
