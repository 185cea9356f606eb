/* SPDX-License-Identifier: BSD-3-Clause
 *
 * checkpoint.c: see checkpoint.h. */
#include "entail/checkpoint.h"

#include "refuse.h"
#include "whole_file.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VERSION    "1"
#define FIRST_WORD "attn-inference "
#define FIRST_LINE FIRST_WORD VERSION

_Static_assert(sizeof(float) == 4, "numbers are float32");

static uint64_t checksum(const float *numbers, size_t count)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &numbers[i], sizeof bits);
        sum = (sum ^ bits) * 0x100000001b3u;
    }
    return sum;
}

/* The options, in the order of their lines. */
enum { OPTIONS = 5 };
static const struct {
    const char *name;
    int least, most;
} fields[OPTIONS] = {
    {"embed", 1, 1 << 12}, {"hidden", 1, 1 << 12}, {"heads", 1, 256}, {"plain", 0, 1}, {"look", 0, LOOK_KINDS - 1}};

static void options_to(const entail_options *o, int to[OPTIONS])
{
    to[0] = o->embed, to[1] = o->hidden, to[2] = o->heads, to[3] = o->plain, to[4] = o->look;
}

void checkpoint_write(const checkpoint *c, const char *path)
{
    const parameter_set *set = &c->model->parameters;
    float *numbers = allocate(set->total, sizeof *numbers);
    for (size_t i = 0; i < set->total; i++) numbers[i] = (float)set->value[i];
    whole_file out = whole_file_begin(path);
    int options[OPTIONS];
    options_to(&c->model->options, options);
    fprintf(out.file, FIRST_LINE "\n");
    for (int i = 0; i < OPTIONS; i++) fprintf(out.file, "%s %d\n", fields[i].name, options[i]);
    fprintf(out.file, "words %d\n", c->words.count);
    for (int i = 0; i < c->words.count; i++) fprintf(out.file, "%s\n", c->words.words[i]);
    for (int i = 0; i < set->count; i++) {
        const parameter *p = &set->list[i];
        fprintf(out.file, "parameter %s %d %d %zu\n", p->name, p->rows, p->columns, p->offset);
    }
    fprintf(out.file, "numbers %zu %" PRIx64 "\n", set->total, checksum(numbers, set->total));
    fwrite(numbers, sizeof *numbers, set->total, out.file);
    free(numbers);
    whole_file_end(&out);
}

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
static const char *value_of(reader *r, const char *name)
{
    next_line(r);
    const size_t length = strlen(name);
    if (strncmp(r->text, name, length) != 0 || r->text[length] != ' ') {
        refuse("line %ld of %s should be about %s", r->line, r->path, name);
    }
    return r->text + length + 1;
}

static int number_of(reader *r, const char *name, int least, int most)
{
    const char *text = value_of(r, name);
    char *end;
    errno = 0;
    const long number = strtol(text, &end, 10);
    if (end == text || *end != '\0' || errno != 0 || number < least || number > most) {
        refuse("line %ld of %s should say a whole number of %s from %d to %d, not '%s'", r->line, r->path, name, least,
               most, text);
    }
    return (int)number;
}

static vocabulary read_words(reader *r)
{
    const int count = number_of(r, "words", WORDS_SPECIAL, 1 << 22);
    char **words = NULL;
    for (int i = 0; i < count; i++) {
        next_line(r);
        words = reallocate(words, (size_t)i + 1, sizeof *words); /* no faster than the file has lines */
        words[i] = copy_text(r->text);
    }
    return vocabulary_from_words(words, count);
}

static void read_numbers(reader *r, parameter_set *set)
{
    char *rest = (char *)value_of(r, "numbers");
    const size_t total = strtoull(rest, &rest, 10);
    const uint64_t wanted = strtoull(rest, &rest, 16);
    if (*rest != '\0' || total != set->total) {
        refuse("line %ld of %s does not fit its parameters", r->line, r->path);
    }
    float *numbers = allocate(total, sizeof *numbers);
    if (fread(numbers, sizeof *numbers, total, r->file) != total) refuse("%s is cut short", r->path);
    if (checksum(numbers, total) != wanted || fgetc(r->file) != EOF) {
        refuse("%s has been changed, or damaged", r->path);
    }
    for (size_t i = 0; i < total; i++) set->value[i] = (real)numbers[i];
    free(numbers);
}

checkpoint checkpoint_read(const char *path)
{
    reader r = {.file = fopen(path, "rb"), .path = path};
    if (r.file == NULL) refuse("%s cannot be read: %s", path, strerror(errno));
    if (fgets(r.text, sizeof r.text, r.file) == NULL || strncmp(r.text, FIRST_WORD, strlen(FIRST_WORD)) != 0) {
        refuse("%s is no checkpoint of this program", path);
    }
    r.line = 1;
    r.text[strcspn(r.text, "\n")] = '\0';
    if (strcmp(r.text, FIRST_LINE) != 0) {
        refuse("%s is a checkpoint of version %.20s, this program reads %s", path, r.text + strlen(FIRST_WORD),
               VERSION);
    }
    int options[OPTIONS];
    for (int i = 0; i < OPTIONS; i++) options[i] = number_of(&r, fields[i].name, fields[i].least, fields[i].most);
    checkpoint c = {.words = read_words(&r)};
    const entail_options o = {.words = c.words.count,
                              .embed = options[0],
                              .hidden = options[1],
                              .heads = options[2],
                              .plain = options[3] != 0,
                              .look = options[4]};
    c.model = entail_create(&o);
    parameter_set *set = &c.model->parameters;
    for (int i = 0; i < set->count; i++) {
        const parameter *p = &set->list[i];
        char wanted[128];
        snprintf(wanted, sizeof wanted, "%s %d %d %zu", p->name, p->rows, p->columns, p->offset);
        if (strcmp(value_of(&r, "parameter"), wanted) != 0) {
            refuse("line %ld of %s: this program has a parameter %s there", r.line, path, wanted);
        }
    }
    read_numbers(&r, set);
    fclose(r.file);
    return c;
}

void checkpoint_free(checkpoint *c)
{
    entail_destroy(c->model);
    vocabulary_free(&c->words);
    *c = (checkpoint){0};
}
