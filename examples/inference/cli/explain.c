/* SPDX-License-Identifier: BSD-3-Clause
 *
 * explain.c: inference explain: the experiments over many pairs. */
#include "explain/explain.h"
#include "cli/cli.h"
#include "commands/options.h"
#include "entail/checkpoint.h"
#include "entail/trainer.h"
#include "explain/sample.h"
#include "measure/json.h"
#include "refuse.h"
#include "train/progress.h"
#include "train/threads.h"
#include "whole_file.h"

#include <stdlib.h>
#include <string.h>

typedef struct job {
    const entail *model;
    const dataset *data;
    const explain_options *options;
    uint64_t seed;
    size_t first, step, count;
    explained *to; /* [count], of which first, first + step, ... are this job's */
} job;

static void *run(void *pointer)
{
    const job *j = pointer;
    pass p = {.value = j->model->parameters.value};
    for (size_t i = j->first; i < j->count; i += j->step) {
        taken_batch b = taken_batch_of(j->data, NULL, &i, 1);
        random_stream stream = random_begin(j->seed, 4, (uint64_t)i); /* the same whoever draws */
        j->to[i] = explain_all(j->model, &p, &b.view, j->options, &stream);
        taken_batch_free(&b);
    }
    pass_free(&p);
    return NULL;
}

/* Those that are numbers. */
static sample sample_of(const explained *all, size_t count, size_t offset)
{
    sample s = {0};
    for (size_t i = 0; i < count; i++) {
        double number;
        memcpy(&number, (const char *)&all[i] + offset, sizeof number);
        sample_add(&s, number);
    }
    return s;
}

static const struct {
    const char *name, *about;
    size_t offset;
} figures[] = {
    {"gradient_tau", "tau of weights and gradient", offsetof(explained, gradient_tau)},
    {"left_out_tau", "tau of weights and leaving out", offsetof(explained, left_out_tau)},
    {"greatest", "greatest weight", offsetof(explained, greatest)},
    {"permuted", "answer moved by permuted weights", offsetof(explained, permuted)},
    {"divergence", "divergence of adversary (at most 0.69)", offsetof(explained, divergence)},
    {"moved", "answer moved by adversary", offsetof(explained, moved)},
};
enum { FIGURES = sizeof figures / sizeof figures[0] };

static void print_figures(const explained *all, size_t count)
{
    printf("%-40s%8s%8s%8s%8s%8s\n", "of each pair", "mean", "10 %", "median", "90 %", "pairs");
    for (int i = 0; i < FIGURES; i++) {
        sample s = sample_of(all, count, figures[i].offset);
        printf("%-40s%8.3f%8.3f%8.3f%8.3f%8zu\n", figures[i].about, sample_mean(&s), sample_quantile(&s, 0.1),
               sample_quantile(&s, 0.5), sample_quantile(&s, 0.9), s.count);
        sample_free(&s);
    }
}

static void write_json(const char *path, const char *checkpoint_path, const explain_options *o, const explained *all,
                       size_t count)
{
    whole_file file = whole_file_begin(path);
    json out = json_begin(file.file);
    json_object(&out);
    json_key(&out, "checkpoint"), json_string(&out, checkpoint_path);
    json_key(&out, "rows"), json_string(&out, rows_names[o->rows]);
    json_key(&out, "permutations"), json_integer(&out, o->permutations);
    json_key(&out, "steps"), json_integer(&out, o->steps);
    json_key(&out, "most"), json_number(&out, o->most);
    json_key(&out, "pairs"), json_array(&out);
    for (size_t i = 0; i < count; i++) {
        json_object(&out);
        json_key(&out, "probability"), json_row(&out);
        for (int k = 0; k < LABELS; k++) json_number(&out, all[i].probability[k]);
        json_close(&out);
        for (int k = 0; k < FIGURES; k++) {
            double number;
            memcpy(&number, (const char *)&all[i] + figures[k].offset, sizeof number);
            json_key(&out, figures[k].name), json_number(&out, number);
        }
        json_close(&out);
    }
    json_close(&out);
    json_close(&out);
    whole_file_end(&file);
}

static int rows_named(const char *name)
{
    for (int i = 0; i < ROWS_KINDS; i++) {
        if (strcmp(name, rows_names[i]) == 0) return i;
    }
    refuse("--rows is hypothesis, premise or both, not '%s'", name);
}

int command_explain(int count, char **words)
{
    const char *path = NULL, *rows = rows_names[ROWS_HYPOTHESIS];
    explain_options o = {.permutations = 100, .steps = 300, .most = 0.01};
    long pairs = 200, seed = 1;
    int shards = 2;
    const option options[] = {
        {"json", OPTION_TEXT, &path, 0, 0, "write the figures of every pair to a file, too; -: nothing else"},
        {"rows", OPTION_TEXT, &rows, 0, 0, "whose weights: the hypothesis's words', the premise's, both (hypothesis)"},
        {"pairs", OPTION_LONG, &pairs, 1, 1000000, "the first examples (200)"},
        {"permutations", OPTION_INT, &o.permutations, 1, 100000, "of each pair (100)"},
        {"steps", OPTION_INT, &o.steps, 1, 100000, "of the adversary (300)"},
        {"moved", OPTION_DOUBLE, &o.most, 0, 1, "how far the adversary may move the answer (0.01)"},
        {"shards", OPTION_INT, &shards, 1, 256, "threads (2)"},
        {"seed", OPTION_LONG, &seed, 0, 1e15, "of permutations and adversaries (1)"},
    };
    const command_line line = {
        .usage = "inference explain CHECKPOINT EXAMPLES [option...]",
        .about =
            "The experiments of Jain and Wallace (2019): do the weights agree with what matters to the answer, does\n"
            "the answer change when they are permuted, and how different can they be when it does not.",
        .options = options,
        .option_count = sizeof options / sizeof options[0],
        .least_arguments = 2,
        .most_arguments = 2,
    };
    const char *arguments[2];
    command_line_take(&line, count, words, arguments);
    o.rows = rows_named(rows);
    checkpoint c = checkpoint_read(arguments[0]);
    if (c.model->options.look != LOOK_ATTEND) refuse("%s has no weights to explain by: it is a baseline", arguments[0]);
    example_list examples = {0};
    example_list_read(&examples, arguments[1]);
    dataset data = dataset_of(&examples.pairs, &c.words, &c.words, false);
    const size_t used = (size_t)pairs < data.count ? (size_t)pairs : data.count;
    explained *all = allocate(used, sizeof *all);
    job *jobs = allocate((size_t)shards, sizeof *jobs);
    for (int k = 0; k < shards; k++) {
        jobs[k] = (job){c.model, &data, &o, (uint64_t)seed, (size_t)k, (size_t)shards, used, all};
    }
    threads_run(shards, jobs, sizeof *jobs, run);
    if (path == NULL || strcmp(path, "-") != 0) print_figures(all, used);
    if (path != NULL) write_json(path, arguments[0], &o, all, used);
    free(jobs);
    free(all);
    dataset_free(&data);
    example_list_free(&examples);
    checkpoint_free(&c);
    return 0;
}
