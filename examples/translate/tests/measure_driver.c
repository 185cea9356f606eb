/* SPDX-License-Identifier: BSD-3-Clause
 *
 * measure_driver.c: the measures from the command line, for bleu_against_sacrebleu.py.
 *
 *     measure_driver bleu HYPOTHESES REFERENCES    files of as many lines, tokens between single spaces: one score
 *     measure_driver numbers FILE                  two lines of as many numbers, again and again: for each two a line
 * of tau-b, total variation, Jensen-Shannon divergence, entropy of the second, softmax entropy, median and a tenth's
 * quantile of the first */
#include "measure/bleu.h"
#include "measure/correlation.h"
#include "refuse.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static FILE *open_text(const char *path)
{
    FILE *file = fopen(path, "r");
    if (file == NULL) refuse("there is no file %s to read", path);
    return file;
}

static bool read_line(FILE *file, char **line, size_t *capacity)
{
    const ssize_t length = getline(line, capacity, file);
    if (length < 0) return false;
    if (length > 0 && (*line)[length - 1] == '\n') (*line)[length - 1] = '\0';
    return true;
}

/* Cuts the line; the array of tokens is the caller's. */
static char **tokens_of(char *line, int *count)
{
    char **tokens = allocate(strlen(line) / 2 + 1, sizeof(char *)), *rest = NULL;
    *count = 0;
    for (char *token = strtok_r(line, " ", &rest); token != NULL; token = strtok_r(NULL, " ", &rest)) {
        tokens[(*count)++] = token;
    }
    return tokens;
}

static void print_bleu(const char *hypotheses_path, const char *references_path)
{
    FILE *hypotheses = open_text(hypotheses_path), *references = open_text(references_path);
    char *hypothesis = NULL, *reference = NULL;
    size_t hypothesis_capacity = 0, reference_capacity = 0;
    bleu sums = {0};
    while (read_line(hypotheses, &hypothesis, &hypothesis_capacity)) {
        if (!read_line(references, &reference, &reference_capacity)) refuse("%s has fewer lines", references_path);
        int hypothesis_count, reference_count;
        char **hypothesis_tokens = tokens_of(hypothesis, &hypothesis_count);
        char **reference_tokens = tokens_of(reference, &reference_count);
        bleu_add(&sums, hypothesis_tokens, hypothesis_count, reference_tokens, reference_count);
        free(reference_tokens);
        free(hypothesis_tokens);
    }
    printf("%.12f\n", bleu_score(&sums));
    free(reference);
    free(hypothesis);
    fclose(references);
    fclose(hypotheses);
}

static double *numbers_of(char *line, int *count)
{
    char **tokens = tokens_of(line, count);
    double *numbers = allocate((size_t)*count, sizeof(double));
    for (int i = 0; i < *count; i++) numbers[i] = strtod(tokens[i], NULL);
    free(tokens);
    return numbers;
}

static void print_numbers(const char *path)
{
    FILE *file = open_text(path);
    char *first = NULL, *second = NULL;
    size_t first_capacity = 0, second_capacity = 0;
    while (read_line(file, &first, &first_capacity) && read_line(file, &second, &second_capacity)) {
        int count, count_of_second;
        double *x = numbers_of(first, &count), *y = numbers_of(second, &count_of_second);
        if (count != count_of_second) refuse("%s has lines of %d and %d numbers", path, count, count_of_second);
        const size_t n = (size_t)count;
        printf("%.15g %.15g %.15g %.15g %.15g %.15g %.15g\n", kendall_tau(x, y, n), total_variation(x, y, n),
               jensen_shannon(x, y, n), entropy(y, n), softmax_entropy(x, n), median(x, n), quantile(x, n, 0.1));
        free(y);
        free(x);
    }
    free(second);
    free(first);
    fclose(file);
}

int main(int count, char **arguments)
{
    if (count == 4 && strcmp(arguments[1], "bleu") == 0) {
        print_bleu(arguments[2], arguments[3]);
    } else if (count == 3 && strcmp(arguments[1], "numbers") == 0) {
        print_numbers(arguments[2]);
    } else {
        refuse("%s takes bleu and two files, or numbers and one", arguments[0]);
    }
    return 0;
}
