/* SPDX-License-Identifier: BSD-3-Clause
 *
 * record.c: see record.h. */
#include "train/record.h"

#include "refuse.h"
#include "text/hash.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(sizeof(float) == 4, "arrays are float32");

static uint64_t checksum(uint64_t sum, const float *numbers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &numbers[i], sizeof bits);
        sum = hash_number(sum, bits);
    }
    return sum;
}

/* The array, as float whatever a real is. */
static float *floats_of(const real *from, size_t count)
{
    float *to = allocate(count, sizeof *to);
    for (size_t i = 0; i < count; i++) to[i] = (float)from[i];
    return to;
}

void record_write_words(FILE *file, const char *name, const vocabulary *words)
{
    fprintf(file, "%s %d\n", name, words->count);
    for (int i = 0; i < words->count; i++) fprintf(file, "%s\n", words->words[i]);
}

static void describe(const parameter *p, char *text, size_t size)
{
    snprintf(text, size, "%s %d %d %zu", p->name, p->rows, p->columns, p->offset);
}

enum { DESCRIPTION = 128 };

void record_write_arrays(FILE *file, const parameter_set *set, const real *const *arrays, int count)
{
    for (int i = 0; i < set->count; i++) {
        char text[DESCRIPTION];
        describe(&set->list[i], text, sizeof text);
        fprintf(file, "parameter %s\n", text);
    }
    float **numbers = allocate((size_t)count, sizeof *numbers);
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
    free(numbers);
}

record record_open(const char *path, const char *program, const char *version)
{
    record r = {.file = fopen(path, "rb"), .path = path, .line = 1};
    if (r.file == NULL) refuse("%s cannot be read: %s", path, strerror(errno));
    const size_t length = strlen(program);
    if (fgets(r.text, sizeof r.text, r.file) == NULL || strncmp(r.text, program, length) != 0 ||
        r.text[length] != ' ') {
        refuse("%s is no checkpoint of this program", path);
    }
    r.text[strcspn(r.text, "\n")] = '\0';
    if (strcmp(r.text + length + 1, version) != 0) {
        refuse("%s is a checkpoint of version %.20s, this program reads %s", path, r.text + length + 1, version);
    }
    return r;
}

static void next_line(record *r)
{
    r->line++;
    if (fgets(r->text, sizeof r->text, r->file) == NULL) refuse("%s ends after line %ld", r->path, r->line - 1);
    const size_t length = strlen(r->text);
    if (length == 0 || r->text[length - 1] != '\n') refuse("line %ld of %s has no end", r->line, r->path);
    r->text[length - 1] = '\0';
}

char *record_value(record *r, const char *name)
{
    next_line(r);
    const size_t length = strlen(name);
    if (strncmp(r->text, name, length) != 0 || r->text[length] != ' ') {
        refuse("line %ld of %s should be about %s", r->line, r->path, name);
    }
    return r->text + length + 1;
}

long record_number(record *r, const char *name, long least, long most)
{
    const char *text = record_value(r, name);
    char *end;
    errno = 0;
    const long number = strtol(text, &end, 10);
    if (end == text || *end != '\0' || errno != 0 || number < least || number > most) {
        refuse("line %ld of %s should say a whole number of %s from %ld to %ld, not '%s'", r->line, r->path, name,
               least, most, text);
    }
    return number;
}

vocabulary record_words(record *r, const char *name)
{
    const int count = (int)record_number(r, name, WORDS_SPECIAL, 1 << 22);
    char **words = NULL;
    for (int i = 0; i < count; i++) {
        next_line(r);
        words = reallocate(words, (size_t)i + 1, sizeof *words); /* no faster than the file has lines */
        words[i] = copy_text(r->text);
    }
    return vocabulary_from_words(words, count);
}

static void read_array(record *r, size_t count, real *to, uint64_t *sum)
{
    float *numbers = allocate(count, sizeof *numbers);
    if (fread(numbers, sizeof *numbers, count, r->file) != count) refuse("%s is cut short", r->path);
    *sum = checksum(*sum, numbers, count);
    for (size_t i = 0; i < count; i++) to[i] = (real)numbers[i];
    free(numbers);
}

void record_close(record *r, parameter_set *set, real **second, real **third)
{
    for (int i = 0; i < set->count; i++) {
        char wanted[DESCRIPTION];
        describe(&set->list[i], wanted, sizeof wanted);
        if (strcmp(record_value(r, "parameter"), wanted) != 0) {
            refuse("line %ld of %s: this program has a parameter %s there", r->line, r->path, wanted);
        }
    }
    char *rest = record_value(r, "arrays");
    const long count = strtol(rest, &rest, 10);
    const size_t total = strtoull(rest, &rest, 10);
    const uint64_t wanted = strtoull(rest, &rest, 16);
    uint64_t sum = 0;
    if (*rest != '\0' || (count != 1 && count != 3) || total != set->total) {
        refuse("line %ld of %s does not fit its parameters", r->line, r->path);
    }
    read_array(r, total, set->value, &sum);
    *second = *third = NULL;
    if (count == 3) {
        *second = allocate(total, sizeof **second), *third = allocate(total, sizeof **third);
        read_array(r, total, *second, &sum);
        read_array(r, total, *third, &sum);
    }
    if (sum != wanted || fgetc(r->file) != EOF) refuse("%s has been changed, or damaged", r->path);
    fclose(r->file);
}
