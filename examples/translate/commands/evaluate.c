/* SPDX-License-Identifier: BSD-3-Clause
 *
 * evaluate.c: translate evaluate: a model's translations of held out sentences against those that are right, by length;
 * and what it looks at against the known alignment. */
#include "commands/commands.h"
#include "commands/options.h"
#include "commands/translator.h"
#include "measure/accuracy.h"
#include "measure/json.h"
#include "measure/table.h"
#include "refuse.h"
#include "train/progress.h"
#include "train/trainer.h"
#include "whole_file.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

typedef struct measured {
    length_table lengths;
    double loss, seconds;
    long words, said;
} measured;

/* Adds a batch's sentences: translated freely for words, told the right words for what is looked at. */
static void measure_batch(measured *sums, const checkpoint *c, const pair_list *pairs, const owned_batch *b, int beam,
                          double penalty)
{
    const int rows = b->view.rows;
    const bool reversed = c->setup.model.reverse_source;
    translation *free_ones = allocate((size_t)rows, sizeof *free_ones), *told = allocate((size_t)rows, sizeof *told);
    const double begun = seconds_now();
    translate_batch(c->model, &b->view, beam, penalty, reversed, free_ones);
    sums->seconds += seconds_now() - begun;
    force_batch(c->model, &b->view, reversed, false, told);
    for (int r = 0; r < rows; r++) {
        const sentence_pair *pair = &pairs->pairs[b->pair[r]];
        char **words = translation_words(&free_ones[r], &c->target, pair->source);
        length_bucket *bucket = length_table_add(&sums->lengths, pair->source_count, words, free_ones[r].count,
                                                 pair->target, pair->target_count);
        if (strcmp(c->setup.model.kind, "none") != 0) { /* which looks at nothing */
            alignment_error_add_weights(&bucket->alignment, told[r].weights, pair->target_count, pair->source_count,
                                        pair->links, pair->link_count);
        }
        sums->loss -= told[r].log_probability;
        sums->words += told[r].count;
        sums->said += free_ones[r].count + 1;
        words_free(words, free_ones[r].count);
        translation_free(&free_ones[r]);
        translation_free(&told[r]);
    }
    free(free_ones);
    free(told);
}

static void row(text_table *table, const char *name, const length_bucket *b)
{
    const double error = alignment_error_rate(&b->alignment);
    table_cell(table, "%s", name);
    table_cell(table, "%zu", b->right.sentences);
    table_cell(table, "%.1f", 100 * accuracy_exact(&b->right));
    table_cell(table, "%.1f", 100 * accuracy_tokens(&b->right));
    table_cell(table, "%.1f", bleu_score(&b->overlap));
    table_cell(table, isnan(error) ? "-" : "%.3f", error);
}

static void print_table(const measured *m)
{
    text_table table = table_begin("lrrrrr");
    const char *const heads[] = {"words", "sentences", "exact %", "words right %", "BLEU", "AER"};
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) table_cell(&table, "%s", heads[i]);
    for (int i = 0; i < LENGTH_BUCKETS; i++) {
        if (m->lengths.buckets[i].right.sentences > 0) row(&table, length_bucket_name(i), &m->lengths.buckets[i]);
    }
    const length_bucket total = length_table_total(&m->lengths);
    row(&table, "all", &total);
    table_print(&table, TABLE_PLAIN, stdout);
    table_free(&table);
}

static void json_bucket(json *out, const char *name, const length_bucket *b)
{
    json_object(out);
    json_key(out, "words"), json_string(out, name);
    json_key(out, "sentences"), json_integer(out, (long long)b->right.sentences);
    json_key(out, "exact"), json_number(out, accuracy_exact(&b->right));
    json_key(out, "right"), json_number(out, accuracy_tokens(&b->right));
    json_key(out, "bleu"), json_number(out, bleu_score(&b->overlap));
    json_key(out, "aer"), json_number(out, alignment_error_rate(&b->alignment));
    json_key(out, "precision"), json_number(out, alignment_precision(&b->alignment));
    json_key(out, "recall"), json_number(out, alignment_recall(&b->alignment));
    json_close(out);
}

static void write_json(const char *path, const char *model_path, const checkpoint *c, const measured *m, int beam,
                       double penalty)
{
    whole_file file = whole_file_begin(path);
    json out = json_begin(file.file);
    json_object(&out);
    json_key(&out, "checkpoint"), json_string(&out, model_path);
    json_key(&out, "setup"), json_object(&out);
    for (int i = 0; i < setup_field_count; i++) {
        char text[64];
        setup_text(&c->setup, &setup_fields[i], text, sizeof text);
        json_key(&out, setup_fields[i].name);
        if (setup_fields[i].type == SETUP_NAME) {
            json_string(&out, text);
        } else {
            json_number(&out, strtod(text, NULL));
        }
    }
    json_close(&out);
    json_key(&out, "step"), json_integer(&out, c->step);
    json_key(&out, "parameters"), json_integer(&out, (long long)c->model->parameters.total);
    json_key(&out, "beam"), json_integer(&out, beam);
    json_key(&out, "penalty"), json_number(&out, penalty);
    json_key(&out, "loss"), json_number(&out, m->loss / (double)m->words);
    json_key(&out, "words_per_second"), json_number(&out, (double)m->said / m->seconds);
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    json_key(&out, "peak_kilobytes"), json_integer(&out, usage.ru_maxrss);
    const length_bucket total = length_table_total(&m->lengths);
    json_key(&out, "all"), json_bucket(&out, "all", &total);
    json_key(&out, "lengths"), json_array(&out);
    for (int i = 0; i < LENGTH_BUCKETS; i++) {
        if (m->lengths.buckets[i].right.sentences > 0) {
            json_bucket(&out, length_bucket_name(i), &m->lengths.buckets[i]);
        }
    }
    json_close(&out);
    json_close(&out);
    whole_file_end(&file);
}

int command_evaluate(int count, char **words)
{
    int beam = 4, rows = 64;
    double penalty = 1;
    const char *path = NULL;
    bool quiet = false;
    const option options[] = {
        {"beam", OPTION_INT, &beam, 1, 256, "hypotheses that are followed; 1: the likeliest word each time (4)"},
        {"penalty", OPTION_DOUBLE, &penalty, 0, 10, "log p / length^N is compared (1)"},
        {"rows", OPTION_INT, &rows, 1, 1 << 14, "sentences at a time (64)"},
        {"json", OPTION_TEXT, &path, 0, 0, "write all figures to a file, too"},
        {"quiet", OPTION_FLAG, &quiet, 0, 0, "no bar"},
    };
    const command_line line = {
        .usage = "translate evaluate CHECKPOINT PAIRS [option...]",
        .about =
            "Exact match, words right at their place, BLEU (sacrebleu's, of tokens) and alignment error rate (Och\n"
            "and Ney 2003; of what is looked at for the right words), by the length of the source.",
        .options = options,
        .option_count = sizeof options / sizeof options[0],
        .least_arguments = 2,
        .most_arguments = 2,
    };
    const char *arguments[2];
    command_line_take(&line, count, words, arguments);
    checkpoint c = checkpoint_read(arguments[0]);
    pair_list pairs = {0};
    pair_list_read(&pairs, arguments[1]);
    if (pairs.count == 0) refuse("%s has no sentence", arguments[1]);
    for (size_t i = 0; i < pairs.count; i++) translator_fits(&c, pairs.pairs[i].source_count);
    dataset data = dataset_of(&pairs, &c.source, &c.target, c.setup.model.reverse_source);
    batch_order order = batch_order_sorted(&data, rows);
    measured sums = {0};
    progress p = progress_begin(0, (long)order.batches, quiet);
    for (size_t i = 0; i < order.batches; i++) {
        owned_batch b = batch_take(&data, &order, i, 0, 1);
        measure_batch(&sums, &c, &pairs, &b, beam, penalty);
        batch_free(&b);
        char told[64];
        snprintf(told, sizeof told, "batches  %.0f words/s", (double)sums.said / sums.seconds);
        progress_show(&p, (long)i + 1, told);
    }
    progress_end(&p);
    printf("%s, %zu numbers, step %ld: loss %.4f, perplexity %.3f\n", c.setup.model.kind, c.model->parameters.total,
           c.step, sums.loss / (double)sums.words, exp(sums.loss / (double)sums.words));
    print_table(&sums);
    if (path != NULL) write_json(path, arguments[0], &c, &sums, beam, penalty);
    batch_order_free(&order);
    dataset_free(&data);
    pair_list_free(&pairs);
    checkpoint_free(&c);
    return 0;
}
