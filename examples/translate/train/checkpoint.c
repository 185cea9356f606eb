/* SPDX-License-Identifier: BSD-3-Clause
 *
 * checkpoint.c: see checkpoint.h. */
#include "train/checkpoint.h"

#include "refuse.h"
#include "whole_file.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VERSION    "1"
#define FIRST_WORD "attn-translate "
#define FIRST_LINE FIRST_WORD VERSION

_Static_assert(sizeof(float) == 4, "arrays are float32");

static uint64_t checksum(uint64_t sum, const float *numbers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &numbers[i], sizeof bits);
        sum = (sum ^ bits) * 0x100000001b3u;
    }
    return sum;
}

/* The arrays, as float whatever a real is. */
static float *floats_of(const real *from, size_t count)
{
    float *to = allocate(count, sizeof *to);
    for (size_t i = 0; i < count; i++) to[i] = (float)from[i];
    return to;
}

static void write_words(FILE *file, const char *name, const vocabulary *v)
{
    fprintf(file, "%s %d\n", name, v->count);
    for (int i = 0; i < v->count; i++) fprintf(file, "%s\n", v->words[i]);
}

void checkpoint_write(const checkpoint *c, const char *path)
{
    whole_file out = whole_file_begin(path);
    FILE *file = out.file;
    fprintf(file, FIRST_LINE "\n");
    for (int i = 0; i < setup_field_count; i++) {
        char text[64];
        setup_text(&c->setup, &setup_fields[i], text, sizeof text);
        fprintf(file, "%s %s\n", setup_fields[i].name, text);
    }
    fprintf(file, "step %ld\ndata %" PRIx64 "\n", c->step, c->data);
    write_words(file, "source-words", &c->source);
    write_words(file, "target-words", &c->target);
    const parameter_set *set = &c->model->parameters;
    for (int i = 0; i < set->count; i++) {
        const parameter *p = &set->list[i];
        fprintf(file, "parameter %s %d %d %zu\n", p->name, p->rows, p->columns, p->offset);
    }
    const real *arrays[3] = {set->value, c->first, c->second};
    const int count = c->first != NULL ? 3 : 1;
    float *numbers[3];
    uint64_t sum = 0;
    for (int i = 0; i < count; i++) {
        numbers[i] = floats_of(arrays[i], set->total);
        sum = checksum(sum, numbers[i], set->total);
    }
    fprintf(file, "arrays %d %zu %" PRIx64 "\n", count, set->total, sum);
    for (int i = 0; i < count; i++) {
        fwrite(numbers[i], sizeof(float), set->total, file);
        free(numbers[i]);
    }
    whole_file_end(&out);
}

/* A file that is read line by line, and where that is, for sentences. */
typedef struct reader {
    FILE *file;
    const char *path;
    long line;
    char text[4096];
} reader;

static void next_line(reader *r)
{
    r->line++;
    if (fgets(r->text, sizeof r->text, r->file) == NULL) refuse("%s ends after line %ld", r->path, r->line - 1);
    const size_t length = strlen(r->text);
    if (length == 0 || r->text[length - 1] != '\n') refuse("line %ld of %s has no end", r->line, r->path);
    r->text[length - 1] = '\0';
}

/* The next line's value, which must have this name. */
static char *value_of(reader *r, const char *name)
{
    next_line(r);
    const size_t length = strlen(name);
    if (strncmp(r->text, name, length) != 0 || r->text[length] != ' ') {
        refuse("line %ld of %s should be about %s", r->line, r->path, name);
    }
    return r->text + length + 1;
}

static long number_of(reader *r, const char *name, long most)
{
    const char *text = value_of(r, name);
    char *end;
    errno = 0;
    const long number = strtol(text, &end, 10);
    if (end == text || *end != '\0' || errno != 0 || number < 0 || number > most) {
        refuse("line %ld of %s should say a whole number of %s from 0 to %ld, not '%s'", r->line, r->path, name, most,
               text);
    }
    return number;
}

static vocabulary read_words(reader *r, const char *name)
{
    const int count = (int)number_of(r, name, 1 << 22);
    if (count < WORDS_SPECIAL) refuse("line %ld of %s: too few words", r->line, r->path);
    char **words = NULL;
    for (int i = 0; i < count; i++) {
        next_line(r);
        words = reallocate(words, (size_t)i + 1, sizeof *words); /* no faster than the file has lines */
        words[i] = copy_text(r->text);
    }
    return vocabulary_from_words(words, count);
}

static void read_array(reader *r, size_t count, real *to, uint64_t *sum)
{
    float *numbers = allocate(count, sizeof *numbers);
    if (fread(numbers, sizeof *numbers, count, r->file) != count) refuse("%s is cut short", r->path);
    *sum = checksum(*sum, numbers, count);
    for (size_t i = 0; i < count; i++) to[i] = (real)numbers[i];
    free(numbers);
}

checkpoint checkpoint_read(const char *path)
{
    reader r = {.file = fopen(path, "rb"), .path = path};
    if (r.file == NULL) refuse("%s cannot be read: %s", path, strerror(errno));
    next_line(&r);
    if (strncmp(r.text, FIRST_WORD, strlen(FIRST_WORD)) != 0) refuse("%s is no checkpoint of a translator", path);
    if (strcmp(r.text, FIRST_LINE) != 0) {
        refuse("%s is a checkpoint of version %.20s, this program reads %s", path, r.text + strlen(FIRST_WORD),
               VERSION);
    }
    checkpoint c = {0};
    for (int i = 0; i < setup_field_count; i++) {
        const char *text = value_of(&r, setup_fields[i].name);
        char what[320];
        snprintf(what, sizeof what, "%s on line %ld of %s", setup_fields[i].name, r.line, path);
        setup_set(&c.setup, &setup_fields[i], text, what);
    }
    c.step = number_of(&r, "step", 1000000000);
    c.data = strtoull(value_of(&r, "data"), NULL, 16);
    c.source = read_words(&r, "source-words");
    c.target = read_words(&r, "target-words");
    c.setup.model.source_words = c.source.count, c.setup.model.target_words = c.target.count;
    c.model = model_create(&c.setup.model);
    const parameter_set *set = &c.model->parameters;
    for (int i = 0; i < set->count; i++) {
        const parameter *p = &set->list[i];
        char wanted[128];
        snprintf(wanted, sizeof wanted, "%s %d %d %zu", p->name, p->rows, p->columns, p->offset);
        if (strcmp(value_of(&r, "parameter"), wanted) != 0) {
            refuse("line %ld of %s: this program's %s has a parameter %s there", r.line, path, c.setup.model.kind,
                   wanted);
        }
    }
    char *rest = value_of(&r, "arrays");
    const long count = strtol(rest, &rest, 10);
    const size_t total = strtoull(rest, &rest, 10);
    const uint64_t wanted = strtoull(rest, &rest, 16);
    uint64_t sum = 0;
    if (*rest != '\0' || (count != 1 && count != 3) || total != set->total) {
        refuse("line %ld of %s does not fit its parameters", r.line, path);
    }
    read_array(&r, total, set->value, &sum);
    if (count == 3) {
        c.first = allocate(total, sizeof *c.first), c.second = allocate(total, sizeof *c.second);
        read_array(&r, total, c.first, &sum);
        read_array(&r, total, c.second, &sum);
    }
    if (sum != wanted || fgetc(r.file) != EOF) refuse("%s has been changed, or damaged", path);
    fclose(r.file);
    return c;
}

void checkpoint_free(checkpoint *c)
{
    model_destroy(c->model);
    vocabulary_free(&c->source);
    vocabulary_free(&c->target);
    free(c->first);
    free(c->second);
    *c = (checkpoint){0};
}
