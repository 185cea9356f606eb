/* SPDX-License-Identifier: BSD-3-Clause
 *
 * beam.c: translate_batch of translation.h. All sentences go side by side, each with `beam` rows of a decoding; when a
 * sentence is done its rows leave. What every row has said and looked at is kept as a chain of steps, each of which
 * knows the one before. */
#include "model/elementwise.h"
#include "refuse.h"
#include "search/translation.h"

#include <stdlib.h>
#include <string.h>

typedef struct link { /* a word that was said; its chain is read backwards */
    int word, before; /* the place of the link before, or -1 */
    size_t weights;   /* where its weights are */
} link;

typedef struct hypothesis {
    double log_probability;
    int last; /* its last link, -1 at the beginning */
    int row;  /* of the decoding */
    int word; /* what comes next, of a candidate */
} hypothesis;

typedef struct sentence {
    int row; /* of the batch */
    int source_count, most;
    hypothesis *live; /* [beam] */
    int live_count;
    double best; /* of what has ended, as penalised */
    int best_last, ended;
    double best_log_probability;
} sentence;

typedef struct search {
    const model *model;
    int beam, said;
    double penalty;
    bool reversed;
    link *links;
    int link_count, link_capacity;
    real *weights; /* of all links */
    size_t weight_count, weight_capacity;
    hypothesis *candidates;
} search;

static double penalised(const search *s, double log_probability, int words)
{
    return log_probability / pow(words, s->penalty);
}

/* Keeps the link of a row's next word, with what the row looked at. */
static int keep_link(search *s, int word, int before, const real *weights, int count)
{
    if (s->link_count == s->link_capacity) {
        s->link_capacity *= 2;
        s->links = reallocate(s->links, (size_t)s->link_capacity, sizeof *s->links);
    }
    if (s->weight_count + (size_t)count > s->weight_capacity) {
        s->weight_capacity = 2 * (s->weight_count + (size_t)count);
        s->weights = reallocate(s->weights, s->weight_capacity, sizeof *s->weights);
    }
    memcpy(s->weights + s->weight_count, weights, (size_t)count * sizeof *weights);
    s->links[s->link_count] = (link){word, before, s->weight_count};
    s->weight_count += (size_t)count;
    return s->link_count++;
}

static int better(const void *a, const void *b)
{
    const hypothesis *x = a, *y = b;
    if (x->log_probability != y->log_probability) return x->log_probability < y->log_probability ? 1 : -1;
    return x->row != y->row ? x->row - y->row : x->word - y->word;
}

/* The best 2 beam continuations of a row, in order of their words, into candidates; how many. Twice the beam, since as
 * many as that may end. */
static int best_words(const search *s, const hypothesis *h, const real *row, hypothesis *candidates)
{
    const int wanted = 2 * s->beam, words = s->model->options.target_words;
    int count = 0;
    for (int w = 0; w < words; w++) {
        if (w == WORD_PADDING || w == WORD_BEGIN) continue;
        const double total = h->log_probability + (double)row[w];
        if (count == wanted && !(total > candidates[count - 1].log_probability)) continue;
        int at = count < wanted ? count++ : count - 1;
        for (; at > 0 && candidates[at - 1].log_probability < total; at--) candidates[at] = candidates[at - 1];
        candidates[at] = (hypothesis){total, h->last, h->row, w};
    }
    return count;
}

static void has_ended(search *s, sentence *of, const hypothesis *h)
{
    const double value = penalised(s, h->log_probability, s->said + 1);
    of->ended++;
    if (of->best_last != -2 && !(value > of->best)) return;
    of->best = value, of->best_last = h->last, of->best_log_probability = h->log_probability;
}

/* Takes a sentence a word further. logits are logarithms of probabilities already. */
static void advance(search *s, sentence *of, const real *logits, const real *weights, int length)
{
    const int words = s->model->options.target_words;
    int count = 0;
    for (int i = 0; i < of->live_count; i++) {
        count += best_words(s, &of->live[i], logits + (ptrdiff_t)of->live[i].row * words, s->candidates + count);
    }
    qsort(s->candidates, (size_t)count, sizeof *s->candidates, better);
    of->live_count = 0;
    for (int i = 0; i < count && of->live_count < s->beam; i++) {
        hypothesis *h = &s->candidates[i];
        if (h->word == WORD_END) {
            if (i < s->beam) has_ended(s, of, h); /* among the best, not merely what was left over */
        } else {
            h->last = keep_link(s, h->word, h->last, weights + (ptrdiff_t)h->row * length, of->source_count);
            of->live[of->live_count++] = *h;
        }
    }
}

/* Whether nothing that is live can come out better any more. A longer hypothesis may gain by its length alone. */
static bool is_done(const search *s, const sentence *of)
{
    if (of->live_count == 0 || s->said >= of->most) return true;
    if (of->best_last == -2) return false;
    const int longest = s->penalty > 0 ? of->most : s->said + 1;
    return of->ended >= s->beam || penalised(s, of->live[0].log_probability, longest) <= of->best;
}

static void finish(search *s, const sentence *of, translation *made)
{
    int last = of->best_last, count = 0;
    double log_probability = of->best_log_probability;
    if (last == -2) { /* none came to an end */
        last = of->live_count > 0 ? of->live[0].last : -1;
        log_probability = of->live_count > 0 ? of->live[0].log_probability : 0;
    }
    for (int at = last; at >= 0; at = s->links[at].before) count++;
    *made = (translation){.source_count = of->source_count, .count = count, .log_probability = log_probability};
    made->words = allocate((size_t)count, sizeof *made->words);
    made->weights = allocate((size_t)count * (size_t)of->source_count, sizeof *made->weights);
    for (int at = last, i = count - 1; at >= 0; at = s->links[at].before, i--) {
        made->words[i] = s->links[at].word;
        for (int j = 0; j < of->source_count; j++) {
            const int from = s->reversed ? of->source_count - 1 - j : j;
            made->weights[(ptrdiff_t)i * of->source_count + j] =
                (double)s->weights[s->links[at].weights + (size_t)from];
        }
    }
}

/* The rows that the sentences' live hypotheses come from, in order; they are renumbered. */
static int gather_rows(sentence *sentences, int count, int *rows, int *words, const link *links)
{
    int kept = 0;
    for (int i = 0; i < count; i++) {
        for (int k = 0; k < sentences[i].live_count; k++, kept++) {
            hypothesis *h = &sentences[i].live[k];
            rows[kept] = h->row;
            h->row = kept;
            words[kept] = h->last >= 0 ? links[h->last].word : WORD_BEGIN;
        }
    }
    return kept;
}

static bool as_they_are(const int *rows, int count, int were)
{
    for (int i = 0; i < count; i++) {
        if (rows[i] != i) return false;
    }
    return count == were;
}

void translate_batch(const model *m, const batch *b, int beam, double penalty, bool reversed, translation *made)
{
    search s = {.model = m, .beam = beam, .penalty = penalty, .reversed = reversed};
    const size_t most_rows = (size_t)b->rows * (size_t)beam, words = (size_t)m->options.target_words;
    s.link_capacity = 1024, s.links = allocate((size_t)s.link_capacity, sizeof *s.links);
    s.weight_capacity = 1024, s.weights = allocate(s.weight_capacity, sizeof *s.weights);
    s.candidates = allocate(2 * (size_t)beam * (size_t)beam, sizeof *s.candidates);
    sentence *sentences = allocate((size_t)b->rows, sizeof *sentences);
    hypothesis *live = allocate(most_rows, sizeof *live);
    int *rows = allocate(most_rows, sizeof *rows), *next = allocate(most_rows, sizeof *next);
    real *logits = allocate(most_rows * words, sizeof *logits);
    real *weights = allocate(most_rows * (size_t)b->source_length, sizeof *weights);
    decoding *d = decoding_begin(m, b);
    int count = b->rows;
    for (int i = 0; i < count; i++) {
        const int length = b->source_lengths[i];
        sentences[i] = (sentence){.row = i, .source_count = length, .most = 2 * length + 10, .live_count = 1};
        sentences[i].live = live + (ptrdiff_t)i * beam, sentences[i].best_last = -2;
        sentences[i].live[0] = (hypothesis){0, -1, i, 0};
    }
    int were = b->rows;
    while (count > 0) {
        const int kept = gather_rows(sentences, count, rows, next, s.links);
        if (!as_they_are(rows, kept, were)) decoding_reorder(d, rows, kept);
        were = kept;
        decoding_step(d, next, logits, weights, NULL);
        log_softmax((size_t)kept, words, logits);
        for (int i = 0; i < count; i++) advance(&s, &sentences[i], logits, weights, decoding_length(d));
        s.said++;
        int left = 0;
        for (int i = 0; i < count; i++) {
            if (is_done(&s, &sentences[i])) {
                finish(&s, &sentences[i], &made[sentences[i].row]);
            } else {
                sentences[left++] = sentences[i];
            }
        }
        count = left;
    }
    decoding_end(d);
    free(s.links);
    free(s.weights);
    free(s.candidates);
    free(sentences);
    free(live);
    free(rows);
    free(next);
    free(logits);
    free(weights);
}
