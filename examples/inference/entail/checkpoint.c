/* SPDX-License-Identifier: BSD-3-Clause
 *
 * checkpoint.c: see checkpoint.h. */
#include "entail/checkpoint.h"

#include "train/record.h"
#include "whole_file.h"

#include <stdio.h>
#include <stdlib.h>

#define PROGRAM "attn-inference"
#define VERSION "1"

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
    whole_file out = whole_file_begin(path);
    int options[OPTIONS];
    options_to(&c->model->options, options);
    fprintf(out.file, PROGRAM " " VERSION "\n");
    for (int i = 0; i < OPTIONS; i++) fprintf(out.file, "%s %d\n", fields[i].name, options[i]);
    record_write_words(out.file, "words", &c->words);
    const real *const values = c->model->parameters.value;
    record_write_arrays(out.file, &c->model->parameters, &values, 1);
    whole_file_end(&out);
}

checkpoint checkpoint_read(const char *path)
{
    record r = record_open(path, PROGRAM, VERSION);
    int options[OPTIONS];
    for (int i = 0; i < OPTIONS; i++) {
        options[i] = (int)record_number(&r, fields[i].name, fields[i].least, fields[i].most);
    }
    checkpoint c = {.words = record_words(&r, "words")};
    const entail_options o = {.words = c.words.count,
                              .embed = options[0],
                              .hidden = options[1],
                              .heads = options[2],
                              .plain = options[3] != 0,
                              .look = options[4]};
    c.model = entail_create(&o);
    real *moments[2]; /* which this program does not keep */
    record_close(&r, &c.model->parameters, &moments[0], &moments[1]);
    free(moments[0]);
    free(moments[1]);
    return c;
}

void checkpoint_free(checkpoint *c)
{
    entail_destroy(c->model);
    vocabulary_free(&c->words);
    *c = (checkpoint){0};
}
