/* SPDX-License-Identifier: BSD-3-Clause
 *
 * json.c: see json.h. */
#include "measure/json.h"

#include "measure/utf8.h"

#include <assert.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>

json json_begin(FILE *file)
{
    return (json){.file = file};
}

static void new_line(json *out)
{
    if (out->levels[out->depth - 1].on_one_line) return;
    fprintf(out->file, "\n%*s", 2 * out->depth, "");
}

/* What goes before a value, or a key. */
static void separate(json *out)
{
    if (out->depth == 0) return;
    struct json_level *level = &out->levels[out->depth - 1];
    if (level->has_some) fputs(level->on_one_line ? ", " : ",", out->file);
    level->has_some = true;
    new_line(out);
}

static void before_value(json *out)
{
    assert(out->after_key == (out->depth > 0 && out->levels[out->depth - 1].close == '}'));
    if (!out->after_key) separate(out);
    out->after_key = false;
}

static void after_value(json *out)
{
    if (out->depth == 0) fputc('\n', out->file);
}

static void open_level(json *out, char opening, char close, bool on_one_line)
{
    before_value(out);
    assert(out->depth < JSON_DEPTH);
    const bool within = out->depth > 0 && out->levels[out->depth - 1].on_one_line;
    out->levels[out->depth++] = (struct json_level){.close = close, .on_one_line = on_one_line || within};
    fputc(opening, out->file);
}

void json_object(json *out)
{
    open_level(out, '{', '}', false);
}

void json_array(json *out)
{
    open_level(out, '[', ']', false);
}

void json_row(json *out)
{
    open_level(out, '[', ']', true);
}

void json_close(json *out)
{
    assert(out->depth > 0 && !out->after_key);
    const struct json_level *level = &out->levels[--out->depth];
    if (level->has_some && !level->on_one_line) fprintf(out->file, "\n%*s", 2 * out->depth, "");
    fputc(level->close, out->file);
    after_value(out);
}

static void quote(json *out, const char *text)
{
    fputc('"', out->file);
    while (*text != '\0') {
        unsigned long point = 0;
        const int bytes = utf8_next(text, &point);
        if (bytes == 0) {
            fputs("\xef\xbf\xbd", out->file);
        } else if (point == '"' || point == '\\') {
            fprintf(out->file, "\\%c", *text);
        } else if (point == '\n') {
            fputs("\\n", out->file);
        } else if (point == '\t') {
            fputs("\\t", out->file);
        } else if (point < 0x20) {
            fprintf(out->file, "\\u%04lx", point);
        } else {
            fwrite(text, 1, (size_t)bytes, out->file);
        }
        text += bytes > 0 ? bytes : 1;
    }
    fputc('"', out->file);
}

void json_key(json *out, const char *key)
{
    assert(out->depth > 0 && out->levels[out->depth - 1].close == '}' && !out->after_key);
    separate(out);
    quote(out, key);
    fputs(": ", out->file);
    out->after_key = true;
}

void json_string(json *out, const char *text)
{
    before_value(out);
    quote(out, text);
    after_value(out);
}

static void literal(json *out, const char *text)
{
    before_value(out);
    fputs(text, out->file);
    after_value(out);
}

void json_number(json *out, double number)
{
    char text[32] = "null";
    for (int digits = 15; digits <= 17 && isfinite(number); digits++) {
        snprintf(text, sizeof text, "%.*g", digits, number);
        if (strtod(text, NULL) == number) break;
    }
    literal(out, text);
}

void json_integer(json *out, long long number)
{
    char text[32];
    snprintf(text, sizeof text, "%lld", number);
    literal(out, text);
}

void json_boolean(json *out, bool truth)
{
    literal(out, truth ? "true" : "false");
}

void json_null(json *out)
{
    literal(out, "null");
}

void json_strings(json *out, const char *key, char *const *texts, int count)
{
    json_key(out, key), json_row(out);
    for (int i = 0; i < count; i++) json_string(out, texts[i]);
    json_close(out);
}

void json_matrix(json *out, const char *key, const double *numbers, int rows, int columns)
{
    json_key(out, key), json_array(out);
    for (int i = 0; i < rows; i++) {
        json_row(out);
        for (int j = 0; j < columns; j++) json_number(out, numbers[(ptrdiff_t)i * columns + j]);
        json_close(out);
    }
    json_close(out);
}
