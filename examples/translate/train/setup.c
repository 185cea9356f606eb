/* SPDX-License-Identifier: BSD-3-Clause
 *
 * setup.c: see setup.h. */
#include "train/setup.h"

#include "refuse.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OF(member) offsetof(setup, member)

const setup_field setup_fields[] = {
    {"model", SETUP_NAME, OF(model.kind), 0, 0, "which model; 'translate models' lists them"},
    {"embed", SETUP_INT, OF(model.embed), 1, 1 << 14, "size of a word's vector"},
    {"states", SETUP_INT, OF(model.states), 1, 1 << 14, "size of a state"},
    {"hidden", SETUP_INT, OF(model.hidden), 1, 1 << 14, "size inside an additive score"},
    {"half-width", SETUP_INT, OF(model.half_width), 1, 1 << 14, "of local attention"},
    {"most-words", SETUP_INT, OF(model.most_words), 1, 1 << 14, "in a sentence; longer ones are left out"},
    {"layers", SETUP_INT, OF(model.layers), 1, 16, "of the transformer, each side"},
    {"heads", SETUP_INT, OF(model.heads), 1, 256, "of the transformer"},
    {"feed-forward", SETUP_INT, OF(model.feed_forward), 1, 1 << 16, "size between the transformer's two layers"},
    {"reverse-source", SETUP_FLAG, OF(model.reverse_source), 0, 1, "read the source from its end (Sutskever 2014)"},
    {"steps", SETUP_LONG, OF(training.steps), 1, 1e9, "batches"},
    {"rows", SETUP_INT, OF(training.rows), 1, 1 << 16, "sentences in a batch"},
    {"shards", SETUP_INT, OF(training.shards), 1, 256, "threads, each with its part of a batch"},
    {"rate", SETUP_DOUBLE, OF(training.rate), 1e-9, 10, "of learning, at its greatest"},
    {"warmup", SETUP_LONG, OF(training.warmup), 0, 1e9, "steps in which the rate rises"},
    {"clip", SETUP_DOUBLE, OF(training.clip), 0, 1e9, "greatest norm of a gradient; 0: any"},
    {"dropout", SETUP_DOUBLE, OF(training.dropout), 0, 0.95, "probability"},
    {"smoothing", SETUP_DOUBLE, OF(training.smoothing), 0, 0.95, "of labels"},
    {"seed", SETUP_LONG, OF(training.seed), 0, 1e15, "of the start, the order and the dropout"},
    {"source-most", SETUP_INT, OF(training.source_most), 1, 1 << 20, "words in the source's vocabulary"},
    {"target-most", SETUP_INT, OF(training.target_most), 1, 1 << 20, "words in the target's"},
    {"least", SETUP_INT, OF(training.least), 1, 1 << 20, "times that a word must occur to be in one"},
};
const int setup_field_count = sizeof setup_fields / sizeof setup_fields[0];

setup setup_default(const char *kind)
{
    setup s = {.model = {.embed = 64,
                         .states = 128,
                         .hidden = 64,
                         .half_width = 5,
                         .most_words = 100,
                         .layers = 2,
                         .heads = 4,
                         .feed_forward = 512},
               .training = {.steps = 3000,
                            .rows = 64,
                            .shards = 2,
                            .rate = 0.003,
                            .warmup = 100,
                            .clip = 1,
                            .dropout = 0.1,
                            .smoothing = 0,
                            .seed = 1,
                            .source_most = 8000,
                            .target_most = 8000,
                            .least = 1}};
    snprintf(s.model.kind, sizeof s.model.kind, "%s", kind);
    if (strcmp(kind, "transformer") == 0) {
        s.training.rate = 0.001, s.training.warmup = 400, s.training.smoothing = 0.1;
    }
    return s;
}

const setup_field *setup_field_named(const char *name)
{
    for (int i = 0; i < setup_field_count; i++) {
        if (strcmp(setup_fields[i].name, name) == 0) return &setup_fields[i];
    }
    return NULL;
}

double number_told(const char *text, bool whole, double least, double most, const char *what)
{
    char *end;
    errno = 0;
    const double number = strtod(text, &end);
    if (end == text || *end != '\0' || errno != 0 || !(number >= least && number <= most) ||
        (whole && number != (double)(long)number)) {
        refuse("%s must be a %snumber from %.15g to %.15g, not '%s'", what, whole ? "whole " : "", least, most, text);
    }
    return number;
}

void setup_set(setup *s, const setup_field *field, const char *text, const char *what)
{
    char *at = (char *)s + field->offset;
    if (field->type == SETUP_NAME) {
        if (strlen(text) >= sizeof s->model.kind) refuse("%s: there is no model %s", what, text);
        snprintf(at, sizeof s->model.kind, "%s", text);
        return;
    }
    const double number = number_told(text, field->type != SETUP_DOUBLE, field->least, field->most, what);
    switch (field->type) {
    case SETUP_INT:
        *(int *)(void *)at = (int)number;
        break;
    case SETUP_LONG:
        *(long *)(void *)at = (long)number;
        break;
    case SETUP_FLAG:
        *(bool *)(void *)at = number != 0;
        break;
    default:
        *(double *)(void *)at = number;
    }
}

void setup_text(const setup *s, const setup_field *field, char *text, size_t size)
{
    const char *at = (const char *)s + field->offset;
    switch (field->type) {
    case SETUP_NAME:
        snprintf(text, size, "%s", at);
        break;
    case SETUP_INT:
        snprintf(text, size, "%d", *(const int *)(const void *)at);
        break;
    case SETUP_LONG:
        snprintf(text, size, "%ld", *(const long *)(const void *)at);
        break;
    case SETUP_FLAG:
        snprintf(text, size, "%d", *(const bool *)(const void *)at);
        break;
    default:
        snprintf(text, size, "%.17g", *(const double *)(const void *)at);
    }
}
