/* SPDX-License-Identifier: BSD-3-Clause
 *
 * align.c: inference align: both alignments of pairs of sentences, for attn plot. */
#include "cli/cli.h"
#include "commands/options.h"
#include "entail/checkpoint.h"
#include "entail/trainer.h"
#include "measure/json.h"
#include "model/elementwise.h"
#include "refuse.h"
#include "whole_file.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void json_reals(json *out, const char *key, const real *values, int rows, int columns)
{
    const size_t count = (size_t)rows * (size_t)columns;
    double *exact = allocate(count, sizeof *exact);
    for (size_t i = 0; i < count; i++) exact[i] = (double)values[i];
    json_matrix(out, key, exact, rows, columns);
    free(exact);
}

/* A run: rows are the words that look, columns those that are looked at. */
static void json_run(json *out, const char *name, const char *note, char *const *source, int columns,
                     char *const *target, int rows, const real *scores, const real *weights)
{
    json_object(out);
    json_key(out, "model"), json_string(out, name);
    json_key(out, "note"), json_string(out, note);
    json_strings(out, "source", source, columns);
    json_strings(out, "target", target, rows);
    json_reals(out, "scores", scores, rows, columns);
    json_reals(out, "weights", weights, rows, columns);
    json_close(out);
}

/* That the weights are those behind what the model took for aligned: attention's own, computed anew from the scores,
 * against the library's step, which does not give them. */
static void must_agree(const entail *m, const entail_side *from, const entail_side *to, const real *weights)
{
    const int size = entail_size(m), rows = from->text.length, columns = to->text.length;
    for (int r = 0; r < rows; r++) {
        for (int k = 0; k < size; k++) {
            double sum = 0, most = 1;
            for (int i = 0; i < columns; i++) {
                sum += (double)weights[r * columns + i] * (double)to->states[i * size + k];
                most = fmax(most, fabs((double)to->states[i * size + k]));
            }
            if (fabs(sum - (double)from->aligned[r * size + k]) > 1e-4 * most) {
                give_up("the weights of word %d are not those of what is aligned with it", r + 1);
            }
        }
    }
}

static void write_pair(json *out, const checkpoint *c, const sentence_pair *pair, int label, size_t number)
{
    pair_list one = {(sentence_pair *)pair, 1, 1};
    dataset data = dataset_of(&one, &c->words, &c->words, false);
    const size_t first = 0;
    taken_batch b = taken_batch_of(&data, NULL, &first, 1);
    pass p = {.value = c->model->parameters.value};
    entail_walk w;
    entail_forward(c->model, &p, &b.view, &w);
    const int rows = b.view.hypothesis.length, columns = b.view.premise.length;
    real *matrix[4];
    for (int i = 0; i < 4; i++) matrix[i] = pass_reals(&p, (size_t)rows * (size_t)columns);
    entail_weights(c->model, &b.view, &w, matrix[0], matrix[1], matrix[2], matrix[3]);
    must_agree(c->model, &w.hypothesis, &w.premise, matrix[0]);
    must_agree(c->model, &w.premise, &w.hypothesis, matrix[1]);
    log_softmax(1, LABELS, w.logits);
    double p_of[LABELS];
    for (int k = 0; k < LABELS; k++) p_of[k] = exp((double)w.logits[k]);
    const int best = likeliest_label(p_of);
    char note[128];
    snprintf(note, sizeof note, "%s, %.1f %%; %s", label_names[best], 100 * p_of[best],
             label < 0       ? "no label was told"
             : best == label ? "right"
                             : label_names[label]);
    char names[2][64]; /* one file has no two runs of one name */
    snprintf(names[0], sizeof names[0], "hypothesis over premise, %zu", number);
    snprintf(names[1], sizeof names[1], "premise over hypothesis, %zu", number);
    json_run(out, names[0], note, pair->source, columns, pair->target, rows, matrix[2], matrix[0]);
    json_run(out, names[1], note, pair->target, rows, pair->source, columns, matrix[3], matrix[1]);
    pass_free(&p);
    taken_batch_free(&b);
    dataset_free(&data);
}

int command_align(int count, char **words)
{
    const char *out = "-";
    long most = 8;
    const option options[] = {
        {"o", OPTION_TEXT, &out, 0, 0, "the file to write; standard output without it"},
        {"most", OPTION_LONG, &most, 1, 1000000, "examples, the first ones (8)"},
    };
    const command_line line = {
        .usage = "inference align CHECKPOINT EXAMPLES [-o ALIGNMENTS.json] [option...]",
        .about =
            "Writes both alignments of each example: the hypothesis's words over the premise's, and the other way\n"
            "round, for attn plot.",
        .options = options,
        .option_count = sizeof options / sizeof options[0],
        .least_arguments = 2,
        .most_arguments = 2,
    };
    const char *arguments[2];
    command_line_take(&line, count, words, arguments);
    checkpoint c = checkpoint_read(arguments[0]);
    if (c.model->options.look != LOOK_ATTEND) refuse("%s aligns nothing: it is a baseline", arguments[0]);
    example_list examples = {0};
    example_list_read(&examples, arguments[1]);
    whole_file file = whole_file_begin(out);
    json j = json_begin(file.file);
    json_object(&j);
    json_key(&j, "format"), json_string(&j, "attn-alignments 1");
    json_key(&j, "title"), json_string(&j, "Decomposable attention: what is aligned with what");
    json_key(&j, "runs"), json_array(&j);
    for (size_t i = 0; i < examples.pairs.count && i < (size_t)most; i++) {
        write_pair(&j, &c, &examples.pairs.pairs[i], examples.labels[i], i + 1);
    }
    json_close(&j);
    json_close(&j);
    whole_file_end(&file);
    example_list_free(&examples);
    checkpoint_free(&c);
    return 0;
}
