/* SPDX-License-Identifier: BSD-3-Clause
 *
 * explain.c: translate explain: whether a model's weights explain what it says, asked as Jain and Wallace (2019) and
 * Wiegreffe and Pinter (2019) asked. */
#include "commands/commands.h"
#include "commands/options.h"
#include "commands/translator.h"
#include "explain/even.h"
#include "explain/explanation.h"
#include "explain/rivals.h"
#include "measure/table.h"
#include "refuse.h"
#include "train/progress.h"
#include "whole_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OTHERS_MOST = 30 };

/* The file's first sentences. */
static pair_list first_pairs(const checkpoint *c, const char *path, int most)
{
    pair_list all = {0}, kept = {0};
    pair_list_read(&all, path);
    for (size_t i = 0; i < all.count && kept.count < (size_t)most; i++) {
        translator_fits(c, all.pairs[i].source_count);
        pair_list_take(&kept, &all.pairs[i]);
    }
    pair_list_free(&all);
    if (kept.count == 0) refuse("%s has no sentence", path);
    return kept;
}

static void quality_row(text_table *table, const char *name, const quality *q)
{
    table_cell(table, "%s", name);
    table_cell(table, "%.4f", q->loss);
    table_cell(table, "%.2f", 100 * q->right);
    table_cell(table, "%.2f", q->bleu);
    table_cell(table, "%.1f", 100 * q->exact);
}

static void print_qualities(const quality *own, const quality *even)
{
    text_table table = table_begin("lrrrr");
    const char *const heads[] = {"weights", "loss", "words right %", "BLEU", "exact %"};
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) table_cell(&table, "%s", heads[i]);
    quality_row(&table, "the model's", own);
    quality_row(&table, "all alike", even);
    printf("\nWith all words looked at alike, in use alone\n");
    table_print(&table, TABLE_PLAIN, stdout);
    table_free(&table);
}

static void print_rivals(const rivals *sums, const char *const *paths, int count)
{
    text_table table = table_begin("lrrrr");
    const char *const heads[] = {"other model", "JSD of weights", "median", "TVD of outputs", "same word %"};
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) table_cell(&table, "%s", heads[i]);
    for (int i = 0; i < count; i++) {
        table_cell(&table, "%s", paths[i]);
        table_cell(&table, "%.3f", sample_mean(&sums[i].divergence));
        table_cell(&table, "%.3f", sample_quantile(&sums[i].divergence, 0.5));
        table_cell(&table, "%.4f", sample_mean(&sums[i].variation));
        table_cell(&table, "%.1f", 100 * (double)sums[i].same / (double)sums[i].divergence.count);
    }
    printf("\nOther models, step by step\n");
    table_print(&table, TABLE_PLAIN, stdout);
    table_free(&table);
}

static void write_json(const char *path, const char *of, const checkpoint *c, const explanation *e,
                       const explanation_options *o, const quality *own, const quality *even, const rivals *sums,
                       const char *const *others, int count)
{
    whole_file file = whole_file_begin(path);
    json out = json_begin(file.file);
    json_object(&out);
    json_key(&out, "checkpoint"), json_string(&out, of);
    json_key(&out, "model"), json_string(&out, c->setup.model.kind);
    json_key(&out, "step"), json_integer(&out, c->step);
    explanation_json(e, o, &out);
    quality_json(&out, "own_weights", own);
    quality_json(&out, "even_weights", even);
    json_key(&out, "others"), json_array(&out);
    for (int i = 0; i < count; i++) {
        json_object(&out);
        json_key(&out, "checkpoint"), json_string(&out, others[i]);
        rivals_json(&sums[i], &out);
        json_close(&out);
    }
    json_close(&out);
    json_close(&out);
    whole_file_end(&file);
}

int command_explain(int count, char **words)
{
    int most = 50;
    long seed = 1;
    const char *path = NULL;
    bool quiet = false;
    explanation_options o = {.permutations = 100, .attack = attack_default()};
    const option options[] = {
        {"most", OPTION_INT, &most, 1, 1e6, "sentences, the file's first (50)"},
        {"permutations", OPTION_INT, &o.permutations, 1, 1e5, "of each step's weights (100)"},
        {"epsilon", OPTION_DOUBLE, &o.attack.epsilon, 0, 1, "how far adversarial weights may move the output (0.01)"},
        {"starts", OPTION_INT, &o.attack.starts, 1, 100, "beginnings of the search for them (3)"},
        {"iterations", OPTION_INT, &o.attack.iterations, 0, 1e5, "steps of the search (150)"},
        {"seed", OPTION_LONG, &seed, 0, 1e15, "of all that is random (1)"},
        {"json", OPTION_TEXT, &path, 0, 0, "write all figures to a file, too"},
        {"quiet", OPTION_FLAG, &quiet, 0, 0, "no bar"},
    };
    const command_line line = {
        .usage = "translate explain CHECKPOINT PAIRS [OTHER-CHECKPOINT...] [option...]",
        .about =
            "Do weights explain what is said? Rank correlation of the weights with gradients and with leaving words\n"
            "out; permuted weights; adversarial weights (Jain and Wallace 2019). The model with all words looked at\n"
            "alike, and other models - of other seeds, or adversaries - beside it (Wiegreffe and Pinter 2019).",
        .options = options,
        .option_count = sizeof options / sizeof options[0],
        .least_arguments = 2,
        .most_arguments = 2 + OTHERS_MOST,
    };
    const char *arguments[2 + OTHERS_MOST];
    const int others = command_line_take(&line, count, words, arguments) - 2;
    o.seed = (uint64_t)seed;
    checkpoint c = checkpoint_read(arguments[0]), other[OTHERS_MOST];
    const char *why = replay_refuses(c.model);
    if (why != NULL) refuse("%s is of the kind %s: %s", arguments[0], c.setup.model.kind, why);
    for (int i = 0; i < others; i++) {
        other[i] = checkpoint_read(arguments[2 + i]);
        rivals_fit(&c, &other[i], arguments[2 + i]);
    }
    pair_list pairs = first_pairs(&c, arguments[1], most);
    dataset data = dataset_of(&pairs, &c.source, &c.target, c.setup.model.reverse_source);
    batch_order order = batch_order_sorted(&data, 1);
    explanation e = {0};
    rivals sums[OTHERS_MOST] = {0};
    progress p = progress_begin(0, (long)order.batches, quiet);
    for (size_t i = 0; i < order.batches; i++) {
        owned_batch b = batch_take(&data, &order, i, 0, 1);
        explanation_add(&e, c.model, &b.view, &o, i);
        for (int k = 0; k < others; k++) rivals_add(&sums[k], c.model, other[k].model, &b.view);
        batch_free(&b);
        progress_show(&p, (long)i + 1, "sentences");
    }
    progress_end(&p);
    if (e.steps == 0)
        refuse("%s has sentences of one word alone, among which there is nothing to choose", arguments[1]);
    const quality own = quality_measure(&c, &data, false), even = quality_measure(&c, &data, true);
    printf("%s, step %ld: ", c.setup.model.kind, c.step);
    explanation_print(&e, &o, stdout);
    print_qualities(&own, &even);
    if (others > 0) print_rivals(sums, arguments + 2, others);
    if (path != NULL) write_json(path, arguments[0], &c, &e, &o, &own, &even, sums, arguments + 2, others);
    for (int i = 0; i < others; i++) {
        rivals_free(&sums[i]);
        checkpoint_free(&other[i]);
    }
    explanation_free(&e);
    batch_order_free(&order);
    dataset_free(&data);
    pair_list_free(&pairs);
    checkpoint_free(&c);
    return 0;
}
