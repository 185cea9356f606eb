/* SPDX-License-Identifier: BSD-3-Clause
 *
 * model.h: a translator of any kind, behind one face: its parameters, its loss and gradient on a batch, and the walk
 * from word to word when it is used. */
#ifndef TRANSLATE_MODEL_H
#define TRANSLATE_MODEL_H

#include "model/attention.h"
#include "model/batch.h"
#include "model/pass.h"

#include <stdbool.h>

typedef struct model_options {
    char kind[16]; /* a name of model_kinds */
    int source_words, target_words;
    int embed;                       /* of a word */
    int states;                      /* of a decoder's state, and of an encoder's, both directions joined */
    int hidden;                      /* of an additive score, and of what predicts a place */
    int half_width;                  /* of local attention */
    int most_words;                  /* of a source sentence: location has a score for each place */
    int layers, heads, feed_forward; /* of the transformer */
    bool reverse_source;             /* the source's words from the last to the first (Sutskever 2014) */
} model_options;

typedef struct model model;
typedef struct decoding decoding;

/* A kind of model: how it is made and used. */
typedef struct model_kind {
    const char *name;
    const char *about; /* in a line */
    void (*create)(model *m);
    void (*bind)(model *m);
    void (*destroy)(model *m);
    /* The loss of a batch, and with a gradient in the pass that too, divided by tokens: see model_loss. */
    struct model_loss (*loss)(const model *m, pass *p, const batch *b, double smoothing, double tokens);
    decoding *(*begin)(const model *m, const batch *b);
    void (*step)(decoding *d, const int *words, real *logits, real *weights, real *scores);
    void (*reorder)(decoding *d, const int *rows, int count);
    void (*end)(decoding *d);
} model_kind;

extern const model_kind model_kinds[];
extern const int model_kind_count;

struct model {
    model_options options;
    const model_kind *kind;
    attn_engine *engine;
    parameter_set parameters;
    void *parts; /* the kind's own */
};

/* Refuses options that cannot be. Parameters are zeros until parameters_draw. The model computes on the calling thread
 * alone; several threads may use one model at the same time. */
model *model_create(const model_options *options);
void model_destroy(model *m);

typedef struct model_loss {
    double sum;   /* over words, ends included, with smoothing: what is minimised */
    double plain; /* without */
    long words, right;
} model_loss;

/* Adds to p->gradient, unless that is NULL, the gradient of sum / tokens. Restarts the pass. */
model_loss model_batch_loss(const model *m, pass *p, const batch *b, double smoothing, double tokens);

/* Translating, all rows of a batch side by side, a word at a time; the batch's source is read, and may go then. */
decoding *decoding_begin(const model *m, const batch *b);

/* The rows of a decoding, and the greatest length of their sentences: what weights and scores have columns for. */
int decoding_rows(const decoding *d);
int decoding_length(const decoding *d);

/* Takes each row's word before (WORD_BEGIN at first) to logits [rows, target words] of the next; weights and scores
 * [rows, length] are what it looked at: either may be NULL. A model without attention has weights of 0. Where there are
 * heads, weights are their mean, and scores the logarithm of that. */
void decoding_step(decoding *d, const int *words, real *logits, real *weights, real *scores);

/* Row i becomes a copy of what row rows[i] was; there are count rows then. */
void decoding_reorder(decoding *d, const int *rows, int count);
void decoding_end(decoding *d);

#endif
