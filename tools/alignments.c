/* SPDX-License-Identifier: BSD-3-Clause
 *
 * alignments.c: from JSON to matrices. What is wrong is said with the run and the member that has it.
 */
#include "alignments.h"

#include "fail.h"
#include "input.h"
#include "json.h"
#include "text.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { LARGEST_FILE = 8 * 1024 * 1024, MOST_RUNS = 64, MOST_WORDS = 100 };

static const char format[] = "attn-alignments 1", family[] = "attn-alignments ";

/* How far weights may be from those that the scores give: numbers are written with few digits. */
static const double tolerance = 0.01;

/* Of whom sentences speak. */
typedef struct reader {
    plot *p;
    const char *file;
    char place[64]; /* "run 3", or "" */
} reader;

__attribute__((format(printf, 2, 3))) static _Noreturn void wrong(const reader *r, const char *what, ...)
{
    char sentence[512];
    va_list arguments;
    va_start(arguments, what);
    (void)vsnprintf(sentence, sizeof sentence, what, arguments);
    va_end(arguments);
    fail("%s: %s%s%s", r->file, r->place, r->place[0] != '\0' ? ": " : "", sentence);
}

static const json *member(const reader *r, const json *object, const char *name, json_kind kind)
{
    static const char *const kinds[] = {[JSON_NUMBER] = "a number", [JSON_STRING] = "a text", [JSON_ARRAY] = "a list"};
    const json *value = json_member(object, name);
    if (value != NULL && value->kind != kind) {
        wrong(r, "\"%s\" is %s, not %s", name, json_kind_name(value), kinds[kind]);
    }
    return value;
}

static const json *required(const reader *r, const json *object, const char *name, json_kind kind)
{
    const json *value = member(r, object, name, kind);
    if (value == NULL) wrong(r, "\"%s\" is missing", name);
    return value;
}

/* A copy that lives as long as the plot. */
static char *text_of(const reader *r, const json *value, const char *name)
{
    if (value->kind != JSON_STRING) wrong(r, "\"%s\" has %s where a text belongs", name, json_kind_name(value));
    char label[128];
    (void)snprintf(label, sizeof label, "%s: \"%s\"", r->file, name);
    text_check(label, value->text, strlen(value->text));
    if (strpbrk(value->text, "\t\r\n") != NULL) wrong(r, "\"%s\" has a text of more than one line", name);
    if (value->text[strspn(value->text, " ")] == '\0') wrong(r, "\"%s\" has a text without a letter", name);
    return plot_keep(r->p, copy_string(value->text));
}

static const char *optional_text(const reader *r, const json *object, const char *name)
{
    const json *value = member(r, object, name, JSON_STRING);
    return value != NULL ? text_of(r, value, name) : NULL;
}

static char *const *words_of(const reader *r, const json *list, const char *name)
{
    if (list->count < 1 || list->count > MOST_WORDS) {
        wrong(r, "\"%s\" has %zu words; it may have 1 to %d", name, list->count, MOST_WORDS);
    }
    char **words = plot_keep(r->p, allocate(list->count, sizeof *words));
    for (size_t i = 0; i < list->count; ++i) words[i] = text_of(r, &list->members[i], name);
    return words;
}

/* The words of the sentence that was wanted, as one line. */
static const char *sentence_of(const reader *r, const json *run, const char *name)
{
    const json *list = member(r, run, name, JSON_ARRAY);
    if (list == NULL) return NULL;
    char *const *words = words_of(r, list, name);
    size_t length = 1;
    for (size_t i = 0; i < list->count; ++i) length += strlen(words[i]) + 1;
    char *line = plot_keep(r->p, allocate(length, 1)), *to = line;
    for (size_t i = 0; i < list->count; ++i) {
        size_t bytes = strlen(words[i]);
        if (i > 0) *to++ = ' ';
        memcpy(to, words[i], bytes);
        to += bytes;
    }
    *to = '\0';
    return line;
}

/* Which numbers a matrix may have. */
typedef enum domain { SCORES, WEIGHTS } domain;

static double number_of(const reader *r, const json *value, const char *name, size_t row, size_t column, domain of)
{
    if (of == SCORES && value->kind == JSON_NULL) return -INFINITY;
    if (value->kind != JSON_NUMBER) {
        wrong(r, "\"%s\" has %s in row %zu, column %zu, where a number belongs", name, json_kind_name(value), row,
              column);
    }
    if (of == WEIGHTS && value->number < 0) {
        wrong(r, "\"%s\" has %g in row %zu, column %zu; it is never negative", name, value->number, row, column);
    }
    return value->number;
}

static const double *matrix_of(const reader *r, const json *list, const char *name, const plot_matrix *m, domain of)
{
    if (list == NULL) return NULL;
    if (list->count != m->rows) {
        wrong(r, "\"%s\" has %zu rows, and there are %zu target words", name, list->count, m->rows);
    }
    double *numbers = plot_keep(r->p, allocate(m->rows * m->columns, sizeof *numbers));
    for (size_t row = 0; row < m->rows; ++row) {
        const json *line = &list->members[row];
        if (line->kind != JSON_ARRAY) wrong(r, "\"%s\" has %s as row %zu", name, json_kind_name(line), row);
        if (line->count != m->columns) {
            wrong(r, "\"%s\" has %zu numbers in row %zu, and there are %zu source words", name, line->count, row,
                  m->columns);
        }
        for (size_t column = 0; column < m->columns; ++column) {
            numbers[row * m->columns + column] = number_of(r, &line->members[column], name, row, column, of);
        }
    }
    return numbers;
}

/* Weights that are not those of the scores would jump as soon as the reader moves the temperature. */
static void check_scores(const reader *r, const plot_matrix *m)
{
    for (size_t row = 0; row < m->rows; ++row) {
        const double *scores = m->scores + row * m->columns, *weights = m->weights + row * m->columns;
        double most = -INFINITY, sum = 0;
        for (size_t i = 0; i < m->columns; ++i) most = fmax(most, scores[i]);
        for (size_t i = 0; i < m->columns && isfinite(most); ++i) sum += exp((scores[i] - most) / m->temperature);
        for (size_t i = 0; i < m->columns; ++i) {
            double weight = sum > 0 ? exp((scores[i] - most) / m->temperature) / sum : 0;
            if (m->factors != NULL) weight *= m->factors[row * m->columns + i];
            if (fabs(weight - weights[i]) <= tolerance) continue;
            wrong(r, "\"weights\" has %.3g in row %zu, column %zu, where \"scores\"%s make it %.3g", weights[i], row, i,
                  m->factors != NULL ? ", \"factor\" and \"temperature\"" : " and \"temperature\"", weight);
        }
    }
}

static size_t index_of(const reader *r, const json *value, const char *side, size_t count)
{
    double number = value->kind == JSON_NUMBER ? value->number : -1;
    if (!(number >= 0 && number < (double)count && number == floor(number))) {
        if (value->kind != JSON_NUMBER) wrong(r, "\"gold\" has %s where a word's index belongs", json_kind_name(value));
        wrong(r, "\"gold\" has %.17g for one of the %zu %s words, which count from 0", number, count, side);
    }
    return (size_t)number;
}

static plot_link link_of(const reader *r, const json *value, const plot_matrix *m)
{
    if (value->kind != JSON_ARRAY || value->count < 2 || value->count > 3) {
        wrong(r, "\"gold\" has something else than [source, target] or [source, target, kind]");
    }
    plot_link link = {.column = index_of(r, &value->members[0], "source", m->columns),
                      .row = index_of(r, &value->members[1], "target", m->rows)};
    if (value->count < 3) return link;
    const char *kind = text_of(r, &value->members[2], "gold");
    link.possible = strcmp(kind, "possible") == 0;
    if (!link.possible && strcmp(kind, "sure") != 0) {
        wrong(r, "\"gold\" has a link that is '%s'; it is \"sure\" or \"possible\"", kind);
    }
    return link;
}

static void take_links(const reader *r, const json *list, plot_matrix *m)
{
    if (list == NULL || list->count == 0) return;
    bool *taken = allocate(m->rows * m->columns, sizeof *taken);
    memset(taken, 0, m->rows * m->columns * sizeof *taken);
    plot_link *links = plot_keep(r->p, allocate(list->count, sizeof *links));
    for (size_t i = 0; i < list->count; ++i) {
        links[i] = link_of(r, &list->members[i], m);
        bool *there = &taken[links[i].row * m->columns + links[i].column];
        if (*there) wrong(r, "\"gold\" has the link [%zu, %zu] twice", links[i].column, links[i].row);
        *there = true;
    }
    free(taken);
    m->links = links;
    m->link_count = list->count;
}

static plot_matrix run_of(const reader *r, const json *run)
{
    if (run->kind != JSON_OBJECT) wrong(r, "it is %s, not an object", json_kind_name(run));
    const json *source = required(r, run, "source", JSON_ARRAY), *target = required(r, run, "target", JSON_ARRAY);
    const json *temperature = member(r, run, "temperature", JSON_NUMBER);
    plot_matrix m = {.rows = target->count,
                     .columns = source->count,
                     .name = text_of(r, required(r, run, "model", JSON_STRING), "model"),
                     .note = optional_text(r, run, "note"),
                     .reference = sentence_of(r, run, "reference"),
                     .temperature = temperature != NULL ? temperature->number : 1,
                     .column_words = words_of(r, source, "source"),
                     .row_words = words_of(r, target, "target")};
    if (m.temperature <= 0) wrong(r, "\"temperature\" is %g; it is greater than 0", m.temperature);
    m.weights = matrix_of(r, required(r, run, "weights", JSON_ARRAY), "weights", &m, WEIGHTS);
    m.scores = matrix_of(r, member(r, run, "scores", JSON_ARRAY), "scores", &m, SCORES);
    m.factors = matrix_of(r, member(r, run, "factor", JSON_ARRAY), "factor", &m, WEIGHTS);
    if (m.factors != NULL && m.scores == NULL) wrong(r, "\"factor\" is there without \"scores\"");
    if (m.scores != NULL) check_scores(r, &m);
    take_links(r, member(r, run, "gold", JSON_ARRAY), &m);
    return m;
}

static void check_format(const reader *r, const json *file)
{
    if (file->kind != JSON_OBJECT) wrong(r, "it is %s, not an object", json_kind_name(file));
    const char *said = text_of(r, required(r, file, "format", JSON_STRING), "format");
    if (strcmp(said, format) == 0) return;
    if (strncmp(said, family, strlen(family)) == 0) wrong(r, "its format is '%s'; attn reads '%s'", said, format);
    wrong(r, "its format is '%s', not '%s'", said, format);
}

static void take_runs(reader *r, const json *runs)
{
    plot *p = r->p;
    if (runs->count < 1 || runs->count > MOST_RUNS) {
        wrong(r, "it has %zu runs; it may have 1 to %d", runs->count, MOST_RUNS);
    }
    p->count = runs->count;
    p->matrices = allocate(p->count, sizeof *p->matrices);
    for (size_t i = 0; i < p->count; ++i) {
        (void)snprintf(r->place, sizeof r->place, "run %zu", i);
        p->matrices[i] = run_of(r, &runs->members[i]);
        for (size_t k = 0; k < i; ++k) {
            if (strcmp(p->matrices[k].name, p->matrices[i].name) == 0) {
                wrong(r, "it has the model '%s', and so has run %zu", p->matrices[i].name, k);
            }
        }
    }
    r->place[0] = '\0';
}

/* Leaves the run that is asked for alone in the plot. */
static void choose(const reader *r, const char *run)
{
    plot *p = r->p;
    size_t chosen = 0;
    while (chosen < p->count && strcmp(p->matrices[chosen].name, run) != 0) ++chosen;
    if (chosen == p->count) {
        char *end;
        unsigned long index = strtoul(run, &end, 10);
        if (run[0] < '0' || run[0] > '9' || *end != '\0' || index >= p->count) {
            wrong(r, "it has no run '%s'; --run takes the name of a model, or 0 to %zu", run, p->count - 1);
        }
        chosen = index;
    }
    p->matrices[0] = p->matrices[chosen];
    p->count = 1;
}

/* A single run is told by the line below the title. */
static void set_note(plot *p)
{
    const char *parts[3];
    size_t count = 0, length = 1;
    if (p->note != NULL) parts[count++] = p->note;
    if (p->count == 1) parts[count++] = p->matrices[0].name;
    if (p->count == 1 && p->matrices[0].note != NULL) parts[count++] = p->matrices[0].note;
    for (size_t i = 0; i < count; ++i) length += strlen(parts[i]) + 2;
    if (count == 0) return;
    char *note = plot_keep(p, allocate(length, 1));
    size_t used = 0;
    for (size_t i = 0; i < count; ++i) {
        used += (size_t)snprintf(note + used, length - used, "%s%s", i > 0 ? "; " : "", parts[i]);
    }
    p->note = note;
}

/* The scale of colours ends at 1, which is one-hot, whatever the temperature will be. */
static void set_scale(plot *p)
{
    p->largest = 1;
    for (size_t i = 0; i < p->count; ++i) {
        const plot_matrix *m = &p->matrices[i];
        for (size_t k = 0; k < m->rows * m->columns; ++k) p->largest = fmax(p->largest, m->weights[k]);
    }
}

bool alignments_is_file(const char *path)
{
    const char *dot = strrchr(path, '.');
    return dot != NULL && strcasecmp(dot, ".json") == 0;
}

void alignments_read(plot *p, const char *path, const char *run)
{
    input in = input_open(path);
    size_t length;
    char *text = input_read(&in, LARGEST_FILE + 1, &length);
    if (length > LARGEST_FILE) fail("%s is larger than the %d bytes that alignments may have", in.name, LARGEST_FILE);
    json *file = json_read(in.name, text, length);
    reader r = {.p = p, .file = in.name};
    check_format(&r, file);
    p->title = optional_text(&r, file, "title");
    if (p->title == NULL) p->title = "Alignments";
    p->note = optional_text(&r, file, "note");
    p->separate = true;
    take_runs(&r, required(&r, file, "runs", JSON_ARRAY));
    if (run != NULL) choose(&r, run);
    set_note(p);
    set_scale(p);
    json_free(file);
    free(text);
    input_close(&in);
}
