/* SPDX-License-Identifier: BSD-3-Clause
 *
 * checkpoint.c: see checkpoint.h. */
#include "train/checkpoint.h"

#include "train/record.h"
#include "whole_file.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define PROGRAM "attn-translate"
#define VERSION "1"

void checkpoint_write(const checkpoint *c, const char *path)
{
    whole_file out = whole_file_begin(path);
    fprintf(out.file, PROGRAM " " VERSION "\n");
    for (int i = 0; i < setup_field_count; i++) {
        char text[64];
        setup_text(&c->setup, &setup_fields[i], text, sizeof text);
        fprintf(out.file, "%s %s\n", setup_fields[i].name, text);
    }
    fprintf(out.file, "step %ld\ndata %" PRIx64 "\n", c->step, c->data);
    record_write_words(out.file, "source-words", &c->source);
    record_write_words(out.file, "target-words", &c->target);
    const real *const arrays[3] = {c->model->parameters.value, c->first, c->second};
    record_write_arrays(out.file, &c->model->parameters, arrays, c->first != NULL ? 3 : 1);
    whole_file_end(&out);
}

checkpoint checkpoint_read(const char *path)
{
    record r = record_open(path, PROGRAM, VERSION);
    checkpoint c = {0};
    for (int i = 0; i < setup_field_count; i++) {
        const char *text = record_value(&r, setup_fields[i].name);
        char what[320];
        snprintf(what, sizeof what, "%s on line %ld of %s", setup_fields[i].name, r.line, path);
        setup_set(&c.setup, &setup_fields[i], text, what);
    }
    c.step = record_number(&r, "step", 0, 1000000000);
    c.data = strtoull(record_value(&r, "data"), NULL, 16);
    c.source = record_words(&r, "source-words");
    c.target = record_words(&r, "target-words");
    c.setup.model.source_words = c.source.count, c.setup.model.target_words = c.target.count;
    c.model = model_create(&c.setup.model);
    record_close(&r, &c.model->parameters, &c.first, &c.second);
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
