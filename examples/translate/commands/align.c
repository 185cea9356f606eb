/* SPDX-License-Identifier: BSD-3-Clause
 *
 * align.c: translate align: what models look at while they say a sentence, as the file that attn plot draws. */
#include "commands/commands.h"
#include "commands/options.h"
#include "commands/translator.h"
#include "measure/alignment_error.h"
#include "measure/json.h"
#include "refuse.h"
#include "whole_file.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void write_links(json *out, const sentence_pair *pair)
{
    json_key(out, "gold"), json_array(out);
    for (int i = 0; i < pair->link_count; i++) {
        const pair_link *link = &pair->links[i];
        json_row(out), json_integer(out, link->source), json_integer(out, link->target);
        json_string(out, link->sure ? "sure" : "possible"), json_close(out);
    }
    json_close(out);
}

/* What the softmax of a row of scores was multiplied by: the Gaussian of predictive local attention (Luong 2015, eq.
 * 10). 0 where a key is so far off that nothing can be told of it. */
static void factors(const double *scores, const double *weights, int count, double *factor)
{
    double greatest = -INFINITY, sum = 0;
    for (int j = 0; j < count; j++) greatest = fmax(greatest, scores[j]);
    for (int j = 0; j < count; j++) sum += exp(scores[j] - greatest);
    for (int j = 0; j < count; j++) {
        const double softmax = exp(scores[j] - greatest) / sum;
        factor[j] = softmax > 1e-30 ? weights[j] / softmax : 0;
    }
}

/* Of the words alone: the end of a sentence is no word. */
static void write_run(json *out, const checkpoint *c, const char *name, const sentence_pair *pair, int beam)
{
    translation told = force_pair(c, pair), said = translate_pair(c, pair, beam, 1);
    char **words = translation_words(&said, &c->target, pair->source);
    const int rows = pair->target_count, columns = pair->source_count;
    alignment_error error = {0};
    alignment_error_add_weights(&error, told.weights, rows, columns, pair->links, pair->link_count);
    bool right = said.count == rows;
    for (int i = 0; right && i < rows; i++) right = strcmp(words[i], pair->target[i]) == 0;
    json_object(out);
    json_key(out, "model"), json_string(out, name);
    char note[1024];
    int used = snprintf(note, sizeof note, "AER of this sentence %.2f; ", alignment_error_rate(&error));
    if (pair->link_count == 0) used = 0;
    used += snprintf(note + used, sizeof note - (size_t)used, "%s",
                     right ? "its own translation is this" : "by itself it says:");
    for (int i = 0; !right && i < said.count && used < (int)sizeof note - 1; i++) {
        used += snprintf(note + used, sizeof note - (size_t)used, " %s", words[i]);
    }
    json_key(out, "note"), json_string(out, note);
    json_strings(out, "source", pair->source, columns);
    json_strings(out, "target", pair->target, rows);
    json_matrix(out, "weights", told.weights, rows, columns);
    json_matrix(out, "scores", told.scores, rows, columns);
    if (strcmp(c->setup.model.kind, "local-p") == 0) {
        double *factor = allocate((size_t)rows * (size_t)columns, sizeof *factor);
        for (int i = 0; i < rows; i++) {
            const ptrdiff_t at = (ptrdiff_t)i * columns;
            factors(told.scores + at, told.weights + at, columns, factor + at);
        }
        json_matrix(out, "factor", factor, rows, columns);
        free(factor);
    }
    if (pair->link_count > 0) write_links(out, pair);
    json_close(out);
    words_free(words, said.count);
    translation_free(&said);
    translation_free(&told);
}

/* The sentence itself, unless there is another. */
static void write_title(json *out, const char *title, const sentence_pair *pair)
{
    size_t size = 1, used = 0;
    for (int i = 0; i < pair->source_count; i++) size += strlen(pair->source[i]) + 1;
    char *sentence = allocate(size, 1);
    for (int i = 0; i < pair->source_count; i++) {
        used += (size_t)snprintf(sentence + used, size - used, "%s%s", i > 0 ? " " : "", pair->source[i]);
    }
    json_key(out, "title"), json_string(out, title != NULL ? title : sentence);
    free(sentence);
}

/* The kind's name, and a number where a run has it already. */
static void name_run(const checkpoint *checkpoints, int i, char *name, size_t size)
{
    int same = 0;
    for (int k = 0; k < i; k++) same += strcmp(checkpoints[k].setup.model.kind, checkpoints[i].setup.model.kind) == 0;
    if (same == 0) {
        snprintf(name, size, "%s", checkpoints[i].setup.model.kind);
    } else {
        snprintf(name, size, "%s, %d", checkpoints[i].setup.model.kind, same + 1);
    }
}

int command_align(int count, char **words)
{
    enum { CHECKPOINTS = 64 };
    const char *path = NULL, *pairs_path = NULL, *title = NULL;
    long which = 1;
    int beam = 4;
    const option options[] = {
        {"pairs", OPTION_TEXT, &pairs_path, 0, 0, "a file of pairs"},
        {"line", OPTION_LONG, &which, 1, 1e9, "which of them (1)"},
        {"o", OPTION_TEXT, &path, 0, 0, "the file to write"},
        {"title", OPTION_TEXT, &title, 0, 0, "a heading; without it, the sentence"},
        {"beam", OPTION_INT, &beam, 1, 256, "of the model's own translation, which a note tells (4)"},
    };
    const command_line line = {
        .usage = "translate align CHECKPOINT... --pairs PAIRS -o FILE [option...]",
        .about = "Tells each model a pair's translation word by word, and writes what it looks at, in the format of\n"
                 "attn plot, with the pair's own links beside it.",
        .options = options,
        .option_count = sizeof options / sizeof options[0],
        .least_arguments = 1,
        .most_arguments = CHECKPOINTS,
    };
    const char *arguments[CHECKPOINTS];
    const int models = command_line_take(&line, count, words, arguments);
    if (path == NULL) refuse("-o is missing: %s", line.usage);
    if (pairs_path == NULL) refuse("--pairs is missing: %s", line.usage);
    pair_list pairs = {0};
    pair_list_read(&pairs, pairs_path);
    if ((size_t)which > pairs.count) refuse("%s has %zu lines, not %ld", pairs_path, pairs.count, which);
    const sentence_pair *pair = &pairs.pairs[which - 1];
    checkpoint *checkpoints = allocate((size_t)models, sizeof *checkpoints);
    for (int i = 0; i < models; i++) {
        checkpoints[i] = checkpoint_read(arguments[i]);
        if (strcmp(checkpoints[i].setup.model.kind, "none") == 0) {
            refuse("%s holds the model none, which looks at nothing", arguments[i]);
        }
        translator_fits(&checkpoints[i], pair->source_count);
    }
    whole_file file = whole_file_begin(path);
    json out = json_begin(file.file);
    json_object(&out);
    json_key(&out, "format"), json_string(&out, "attn-alignments 1");
    write_title(&out, title, pair);
    json_key(&out, "runs"), json_array(&out);
    for (int i = 0; i < models; i++) {
        char name[32];
        name_run(checkpoints, i, name, sizeof name);
        write_run(&out, &checkpoints[i], name, pair, beam);
    }
    for (int i = 0; i < models; i++) checkpoint_free(&checkpoints[i]);
    json_close(&out);
    json_close(&out);
    whole_file_end(&file);
    free(checkpoints);
    pair_list_free(&pairs);
    return 0;
}
