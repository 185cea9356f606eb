/* SPDX-License-Identifier: BSD-3-Clause
 *
 * explanation.c: see explanation.h. */
#include "explain/explanation.h"

#include "explain/permutation.h"
#include "explain/significance.h"
#include "measure/correlation.h"
#include "measure/table.h"
#include "refuse.h"

#include <stdlib.h>
#include <string.h>

static const char *const bin_names[WEIGHT_BINS] = {"0.00-0.25", "0.25-0.50", "0.50-0.75", "0.75-1.00"};

static int bin_of(double greatest)
{
    const int bin = (int)(greatest * WEIGHT_BINS);
    return bin < WEIGHT_BINS ? bin : WEIGHT_BINS - 1;
}

static void agreement_add(agreement *a, const double *x, const double *y, size_t count)
{
    sample_add(&a->tau, kendall_tau(x, y, count));
    a->significant += kendall_chance(x, y, count) < 0.05;
}

/* Words that a step does not see are no part of its order. */
static size_t pick_seen(const replay *r, int t, const double *from, double *to)
{
    size_t count = 0;
    for (int j = 0; j < r->sources; j++) {
        if (replay_sees(r, t, j)) to[count++] = from[j];
    }
    return count;
}

static void shuffle(double *numbers, size_t count, random_stream *chance)
{
    for (size_t i = count; i > 1; i--) {
        const size_t k = random_below(chance, i);
        const double kept = numbers[i - 1];
        numbers[i - 1] = numbers[k], numbers[k] = kept;
    }
}

static void add_agreements(explanation *e, replay *r, const batch *sentence, random_stream *chance)
{
    const size_t row = (size_t)r->sources, places = (size_t)r->steps * row;
    double *numbers = allocate(IMPORTANCE_KINDS * places, sizeof *numbers);
    double *own = allocate(row, sizeof *own), *weights = allocate(row, sizeof *weights);
    double *by[IMPORTANCE_KINDS];
    importance_measure(r, sentence, numbers);
    for (int i = 0; i < IMPORTANCE_KINDS; i++) by[i] = allocate(row, sizeof *by[i]);
    for (int t = 0; t < r->steps; t++) {
        for (size_t j = 0; j < row; j++) own[j] = (double)r->weights[(size_t)t * row + j];
        const size_t count = pick_seen(r, t, own, weights);
        for (int i = 0; i < IMPORTANCE_KINDS; i++) {
            pick_seen(r, t, numbers + (size_t)i * places + (size_t)t * row, by[i]);
            agreement_add(&e->weights[i], weights, by[i], count);
        }
        agreement_add(&e->inputs, by[BY_INPUT], by[BY_LEAVING_OUT], count);
        shuffle(weights, count, chance);
        agreement_add(&e->shuffled, weights, by[BY_LEAVING_OUT], count);
    }
    for (int i = 0; i < IMPORTANCE_KINDS; i++) free(by[i]);
    free(numbers);
    free(own);
    free(weights);
}

void explanation_add(explanation *e, const model *m, const batch *sentence, const explanation_options *o,
                     uint64_t number)
{
    if (sentence->source_length < 2) {
        e->too_short++;
        return;
    }
    replay r = replay_begin(m, sentence);
    random_stream chance = random_begin(o->seed, 5, number);
    double *medians = allocate((size_t)r.steps, sizeof *medians);
    attacked *found = allocate((size_t)r.steps, sizeof *found);
    add_agreements(e, &r, sentence, &chance);
    permutation_medians(&r, o->permutations, &chance, medians);
    attack_steps(&r, &o->attack, &chance, found, NULL);
    for (int t = 0; t < r.steps; t++) {
        const double greatest = replay_greatest(&r, t);
        sample_add(&e->greatest, greatest);
        sample_add(&e->medians, medians[t]);
        sample_add(&e->divergences, found[t].divergence);
        sample_add(&e->moved, found[t].moved);
        sample_add(&e->medians_by_weight[bin_of(greatest)], medians[t]);
        sample_add(&e->divergences_by_weight[bin_of(greatest)], found[t].divergence);
    }
    e->sentences++;
    e->steps += (size_t)r.steps;
    free(medians);
    free(found);
    replay_free(&r);
}

static void agreement_row(text_table *table, const char *name, const agreement *a)
{
    table_cell(table, "%s", name);
    table_cell(table, "%.3f", sample_mean(&a->tau));
    table_cell(table, "%.3f", sample_deviation(&a->tau));
    table_cell(table, "%.1f", 100 * (double)a->significant / (double)a->tau.count);
}

static void cells(text_table *table, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) table_cell(table, "%s", names[i]);
}

static void print_and_free(text_table *table, FILE *file)
{
    table_print(table, TABLE_PLAIN, file);
    table_free(table);
}

void explanation_print(const explanation *e, const explanation_options *o, FILE *file)
{
    fprintf(file, "%zu sentences, %zu steps\n\nKendall's tau of the weights with what else says what matters\n",
            e->sentences, e->steps);
    text_table table = table_begin("lrrr");
    static const char *const heads[] = {"weights with", "mean", "deviation", "significant %"};
    cells(&table, heads, sizeof heads / sizeof heads[0]);
    for (int i = 0; i < IMPORTANCE_KINDS; i++) agreement_row(&table, importance_names[i], &e->weights[i]);
    agreement_row(&table, "control: weights shuffled, word left out", &e->shuffled);
    agreement_row(&table, "control: gradient by input, word left out", &e->inputs);
    print_and_free(&table, file);

    fprintf(file,
            "\nPermuted weights: median over %d of the output's total variation; adversarial weights: Jensen-\n"
            "Shannon divergence (at most %.3f) with the output within %g\n",
            o->permutations, log(2), o->attack.epsilon);
    table = table_begin("lrrrrr");
    static const char *const columns[] = {"greatest weight", "steps", "permuted", "p95", "adversarial", "p95"};
    cells(&table, columns, sizeof columns / sizeof columns[0]);
    for (int i = 0; i <= WEIGHT_BINS; i++) {
        const bool all = i == WEIGHT_BINS;
        const sample *moved = all ? &e->medians : &e->medians_by_weight[i];
        const sample *far = all ? &e->divergences : &e->divergences_by_weight[i];
        if (moved->count == 0) continue;
        table_cell(&table, "%s", all ? "all" : bin_names[i]);
        table_cell(&table, "%zu", moved->count);
        table_cell(&table, "%.3f", sample_mean(moved));
        table_cell(&table, "%.3f", sample_quantile(moved, 0.95));
        table_cell(&table, "%.3f", sample_mean(far));
        table_cell(&table, "%.3f", sample_quantile(far, 0.95));
    }
    print_and_free(&table, file);
}

static void agreement_json(json *out, const char *name, const agreement *a)
{
    json_key(out, name), json_object(out);
    json_key(out, "significant"), json_number(out, (double)a->significant / (double)a->tau.count);
    json_sample(out, "tau", &a->tau);
    json_key(out, "taus"), json_row(out);
    for (size_t i = 0; i < a->tau.count; i++) json_number(out, a->tau.values[i]);
    json_close(out);
    json_close(out);
}

static void numbers_json(json *out, const char *name, const sample *s)
{
    json_key(out, name), json_row(out);
    for (size_t i = 0; i < s->count; i++) json_number(out, s->values[i]);
    json_close(out);
}

static void bins_json(json *out, const char *name, const sample *bins)
{
    json_key(out, name), json_object(out);
    for (int i = 0; i < WEIGHT_BINS; i++) json_sample(out, bin_names[i], &bins[i]);
    json_close(out);
}

void explanation_json(const explanation *e, const explanation_options *o, json *out)
{
    json_key(out, "sentences"), json_integer(out, (long long)e->sentences);
    json_key(out, "too_short"), json_integer(out, (long long)e->too_short);
    json_key(out, "steps"), json_integer(out, (long long)e->steps);
    json_key(out, "seed"), json_integer(out, (long long)o->seed);
    json_key(out, "permutations"), json_integer(out, o->permutations);
    json_key(out, "epsilon"), json_number(out, o->attack.epsilon);
    json_key(out, "starts"), json_integer(out, o->attack.starts);
    json_key(out, "iterations"), json_integer(out, o->attack.iterations);
    json_key(out, "agreement"), json_object(out);
    for (int i = 0; i < IMPORTANCE_KINDS; i++) agreement_json(out, importance_names[i], &e->weights[i]);
    agreement_json(out, "control: shuffled", &e->shuffled);
    agreement_json(out, "control: gradient by input, word left out", &e->inputs);
    json_close(out);
    numbers_json(out, "greatest_weights", &e->greatest);
    numbers_json(out, "permutation_medians", &e->medians);
    numbers_json(out, "adversarial_divergences", &e->divergences);
    numbers_json(out, "adversarial_moved", &e->moved);
    bins_json(out, "permutation_by_weight", e->medians_by_weight);
    bins_json(out, "adversarial_by_weight", e->divergences_by_weight);
}

static void agreement_free(agreement *a)
{
    sample_free(&a->tau);
}

void explanation_free(explanation *e)
{
    for (int i = 0; i < IMPORTANCE_KINDS; i++) agreement_free(&e->weights[i]);
    agreement_free(&e->shuffled);
    agreement_free(&e->inputs);
    sample_free(&e->greatest);
    sample_free(&e->medians);
    sample_free(&e->divergences);
    sample_free(&e->moved);
    for (int i = 0; i < WEIGHT_BINS; i++) {
        sample_free(&e->medians_by_weight[i]);
        sample_free(&e->divergences_by_weight[i]);
    }
    *e = (explanation){0};
}
