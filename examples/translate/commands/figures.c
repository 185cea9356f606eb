/* SPDX-License-Identifier: BSD-3-Clause
 *
 * figures.c: translate figures: what textbooks say of attention, as numbers of a trained model. */
#include "commands/commands.h"
#include "commands/options.h"
#include "commands/translator.h"
#include "explain/hull.h"
#include "explain/likeness.h"
#include "explain/scaling.h"
#include "explain/temperature.h"
#include "measure/table.h"
#include "refuse.h"
#include "whole_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const int lengths[] = {10, 20, 50, 100, 200};
enum { LENGTHS = sizeof lengths / sizeof lengths[0], SQUEEZED_WORDS = 50 };

/* Whose encoder is as drawn at the beginning. */
static const char *const encoders[] = {"trained", "encoder untrained", "all untrained"};
enum { ENCODERS = sizeof encoders / sizeof encoders[0] };

typedef struct figures {
    temperature_point temperatures[TEMPERATURES];
    hull hull;
    scaling_point scalings[SCALINGS];
    likeness by_length[ENCODERS][LENGTHS];
    squeeze_point squeezes[SQUEEZES];
    int lengths;
} figures;

static void heads(text_table *table, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) table_cell(table, "%s", names[i]);
}

static void print_and_free(text_table *table)
{
    table_print(table, TABLE_PLAIN, stdout);
    table_free(table);
}

static void print_temperatures(const figures *f)
{
    printf("Temperature, the sentence's own scores\n");
    text_table table = table_begin("lrrr");
    static const char *const names[] = {"temperature", "entropy / log T", "words looked at", "greatest weight"};
    heads(&table, names, sizeof names / sizeof names[0]);
    for (int i = 0; i < TEMPERATURES; i++) {
        const temperature_point *p = &f->temperatures[i];
        table_cell(&table, p->temperature > 0 ? "%g" : "hardmax", p->temperature);
        table_cell(&table, "%.4f", p->entropy);
        table_cell(&table, "%.3f", p->effective);
        table_cell(&table, "%.4f", p->greatest);
    }
    print_and_free(&table);
    printf("\nContexts within the hull of the states: %ld looks, %ld outside; slack at least %.2g, in the mean %.3f; "
           "weights\n"
           "sum to 1 within %.1g\n\n",
           f->hull.looks, f->hull.outside, f->hull.least_slack, f->hull.mean_slack, f->hull.weights_sum);
}

static void print_scalings(const figures *f)
{
    printf(
        "Scores of normal numbers, %d keys; |J g|: what arrives at the scores of a gradient of normal numbers by the\n"
        "weights, root mean square and median\n",
        SCALING_KEYS);
    text_table table = table_begin("lrrrrr");
    static const char *const names[] = {"score", "d", "variance", "greatest weight", "|J g|", "median"};
    heads(&table, names, sizeof names / sizeof names[0]);
    for (int side = 0; side < 2; side++) {
        for (int i = 0; i < SCALINGS; i++) {
            const scaling_point *p = &f->scalings[i];
            const struct scaling_side *of = side == 0 ? &p->plain : &p->scaled;
            table_cell(&table, side == 0 ? "q.k" : "q.k / sqrt(d)");
            table_cell(&table, "%d", p->d);
            table_cell(&table, "%.2f", of->variance);
            table_cell(&table, "%.3f", of->greatest);
            table_cell(&table, "%.4f", of->gradient);
            table_cell(&table, "%.4f", of->usual_gradient);
        }
    }
    print_and_free(&table);
}

static void print_likenesses(const figures *f)
{
    printf("\nLonger and longer sources\n");
    text_table table = table_begin("lrrrrrrr");
    static const char *const names[] = {"encoder",         "words",           "entropy / log T",
                                        "words looked at", "greatest weight", "context from mean",
                                        "context moves",   "cosine of states"};
    heads(&table, names, sizeof names / sizeof names[0]);
    for (int side = 0; side < ENCODERS; side++) {
        for (int i = 0; i < f->lengths; i++) {
            const likeness *l = &f->by_length[side][i];
            table_cell(&table, "%s", encoders[side]);
            table_cell(&table, "%d", l->length);
            table_cell(&table, "%.4f", l->entropy);
            table_cell(&table, "%.2f", l->effective);
            table_cell(&table, "%.3f", l->greatest);
            table_cell(&table, "%.3f", l->from_mean);
            table_cell(&table, "%.3f", l->moves);
            table_cell(&table, "%.3f", l->cosine);
        }
    }
    print_and_free(&table);
}

static void print_squeezes(const figures *f)
{
    printf("\nStates moved towards their mean, %d words\n", SQUEEZED_WORDS);
    text_table table = table_begin("lrrrr");
    static const char *const names[] = {"left of the way", "entropy / log T", "words looked at", "context from mean",
                                        "cosine of states"};
    heads(&table, names, sizeof names / sizeof names[0]);
    for (int i = 0; i < SQUEEZES; i++) {
        table_cell(&table, "%g", f->squeezes[i].left);
        table_cell(&table, "%.4f", f->squeezes[i].entropy);
        table_cell(&table, "%.2f", f->squeezes[i].effective);
        table_cell(&table, "%.4f", f->squeezes[i].from_mean);
        table_cell(&table, "%.4f", f->squeezes[i].cosine);
    }
    print_and_free(&table);
}

static void write_json(const char *path, const char *of, const checkpoint *c, const figures *f)
{
    whole_file file = whole_file_begin(path);
    json out = json_begin(file.file);
    json_object(&out);
    json_key(&out, "checkpoint"), json_string(&out, of);
    json_key(&out, "model"), json_string(&out, c->setup.model.kind);
    json_key(&out, "temperature"), temperature_json(&out, f->temperatures);
    json_key(&out, "hull"), hull_json(&out, &f->hull);
    json_key(&out, "scaling_keys"), json_integer(&out, SCALING_KEYS);
    json_key(&out, "scaling"), scaling_json(&out, f->scalings);
    json_key(&out, "lengths"), json_object(&out);
    for (int side = 0; side < ENCODERS; side++) {
        json_key(&out, encoders[side]), json_array(&out);
        for (int i = 0; i < f->lengths; i++) likeness_json(&out, &f->by_length[side][i]);
        json_close(&out);
    }
    json_close(&out);
    json_key(&out, "squeeze"), squeeze_json(&out, f->squeezes);
    json_close(&out);
    whole_file_end(&file);
}

/* Of the first sentence alone. */
static void measure_sentence(figures *f, const checkpoint *c, const dataset *data, uint64_t seed)
{
    pair_list one = {data->pairs->pairs, 1, 1};
    if (one.pairs[0].source_count < 2) refuse("the sentence to look at has one word alone, so nothing can be chosen");
    dataset first = dataset_of(&one, &c->source, &c->target, c->setup.model.reverse_source);
    batch_order order = batch_order_sorted(&first, 1);
    owned_batch b = batch_take(&first, &order, 0, 0, 1);
    replay r = replay_begin(c->model, &b.view);
    random_stream chance = random_begin(seed, 8, 0);
    temperature_measure(&r, f->temperatures);
    f->hull = hull_measure(&r, 1000, &chance);
    replay_free(&r);
    batch_free(&b);
    batch_order_free(&order);
    dataset_free(&first);
}

static void keep_all_but_encoder(model *m, const checkpoint *c)
{
    const parameter_set *set = &m->parameters, *trained = &c->model->parameters;
    for (int i = 0; i < set->count; i++) {
        const parameter *p = &set->list[i];
        if (strncmp(p->name, "encoder.", 8) == 0) continue;
        memcpy(set->value + p->offset, trained->value + p->offset, (size_t)p->rows * (size_t)p->columns * sizeof(real));
    }
}

static void measure_lengths(figures *f, const checkpoint *c, const dataset *data, int samples, uint64_t seed)
{
    const bool bounded = strcmp(c->setup.model.kind, "location") == 0;
    const int most = bounded ? c->setup.model.most_words : lengths[LENGTHS - 1];
    for (int side = 0; side < ENCODERS; side++) {
        model *m = model_create(&c->setup.model);
        parameters_draw(&m->parameters, seed);
        if (side == 1) keep_all_but_encoder(m, c);
        for (f->lengths = 0; f->lengths < LENGTHS && lengths[f->lengths] <= most; f->lengths++) {
            f->by_length[side][f->lengths] =
                likeness_measure(side == 0 ? c->model : m, data, lengths[f->lengths], samples, seed);
        }
        model_destroy(m);
    }
    if (SQUEEZED_WORDS <= most) squeeze_measure(c->model, data, SQUEEZED_WORDS, samples, seed, f->squeezes);
}

int command_figures(int count, char **words)
{
    int samples = 20;
    long seed = 1;
    const char *path = NULL, *sentence = NULL;
    const option options[] = {
        {"sentence", OPTION_TEXT, &sentence, 0, 0, "pairs whose first is looked at for temperature (PAIRS)"},
        {"samples", OPTION_INT, &samples, 1, 1e6, "sources of each length (20)"},
        {"seed", OPTION_LONG, &seed, 0, 1e15, "of all that is random (1)"},
        {"json", OPTION_TEXT, &path, 0, 0, "write all figures to a file, too"},
    };
    const command_line line = {
        .usage = "translate figures CHECKPOINT PAIRS [option...]",
        .about =
            "What textbooks say of attention, measured: temperature makes one word of many; a context lies within the\n"
            "hull of the states; scores must be divided by sqrt(d); and states that are alike make the weights flat,\n"
            "the context the states' mean: a trained encoder and an untrained one, sources of 10 to 200 words.",
        .options = options,
        .option_count = sizeof options / sizeof options[0],
        .least_arguments = 2,
        .most_arguments = 2,
    };
    const char *arguments[2];
    command_line_take(&line, count, words, arguments);
    checkpoint c = checkpoint_read(arguments[0]);
    const char *why = replay_refuses(c.model);
    if (why != NULL) refuse("%s is of the kind %s: %s", arguments[0], c.setup.model.kind, why);
    pair_list pairs = {0}, looked_at = {0};
    pair_list_read(&pairs, arguments[1]);
    pair_list_read(&looked_at, sentence != NULL ? sentence : arguments[1]);
    if (pairs.count == 0 || looked_at.count == 0)
        refuse("%s has no sentence", pairs.count == 0 ? arguments[1] : sentence);
    translator_fits(&c, looked_at.pairs[0].source_count);
    dataset data = dataset_of(&pairs, &c.source, &c.target, c.setup.model.reverse_source);
    dataset first = dataset_of(&looked_at, &c.source, &c.target, c.setup.model.reverse_source);
    figures f = {.lengths = 0};
    measure_sentence(&f, &c, &first, (uint64_t)seed);
    scaling_measure(c.model->engine, (uint64_t)seed, f.scalings);
    measure_lengths(&f, &c, &data, samples, (uint64_t)seed);
    print_temperatures(&f);
    print_scalings(&f);
    print_likenesses(&f);
    print_squeezes(&f);
    if (path != NULL) write_json(path, arguments[0], &c, &f);
    dataset_free(&data);
    dataset_free(&first);
    pair_list_free(&pairs);
    pair_list_free(&looked_at);
    checkpoint_free(&c);
    return 0;
}
