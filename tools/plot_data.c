/* SPDX-License-Identifier: BSD-3-Clause
 *
 * plot_data.c: JSON that means nothing to HTML: what could is written by its number.
 */
#include "plot_data.h"

#include "base64.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

/* A power of two, by which weights become numbers that float32 holds, the largest of them 1 to 2. */
static double unit_of(const plot *p)
{
    return p->largest > 0 ? ldexp(1, ilogb(p->largest)) : 1;
}

static void write_numbers(FILE *out, const char *name, const double *numbers, size_t count, double unit)
{
    if (numbers == NULL) return;
    (void)fprintf(out, ", \"%s\": \"", name);
    base64 encoder = {.stream = out};
    for (size_t i = 0; i < count; ++i) {
        float value = (float)(numbers[i] / unit);
        uint32_t bits;
        memcpy(&bits, &value, sizeof bits);
        unsigned char bytes[4];
        for (size_t k = 0; k < sizeof bytes; ++k) bytes[k] = (unsigned char)(bits >> 8 * k & 0xff);
        base64_write(&encoder, bytes, sizeof bytes);
    }
    base64_end(&encoder);
    (void)fputc('"', out);
}

static void write_text(FILE *out, const char *text)
{
    (void)fputc('"', out);
    for (; *text != '\0'; ++text) {
        if (strchr("\"\\<>&'", *text) != NULL) {
            (void)fprintf(out, "\\u%04x", (unsigned)(unsigned char)*text);
        } else {
            (void)fputc(*text, out);
        }
    }
    (void)fputc('"', out);
}

static void write_optional_text(FILE *out, const char *name, const char *text)
{
    if (text == NULL) return;
    (void)fprintf(out, ", \"%s\": ", name);
    write_text(out, text);
}

static void write_words(FILE *out, const char *name, char *const *words, size_t count)
{
    (void)fprintf(out, ", \"%s\": [", name);
    for (size_t i = 0; i < count; ++i) {
        if (i > 0) (void)fputc(',', out);
        write_text(out, words[i]);
    }
    (void)fputc(']', out);
}

static bool same_words(char *const *a, size_t a_count, char *const *b, size_t b_count)
{
    if (a_count != b_count) return false;
    for (size_t i = 0; a != b && i < a_count; ++i) {
        if (strcmp(a[i], b[i]) != 0) return false;
    }
    return true;
}

static void write_links(FILE *out, const plot_matrix *m)
{
    if (m->link_count == 0) return;
    (void)fputs(", \"links\": [", out);
    for (size_t i = 0; i < m->link_count; ++i) {
        (void)fprintf(out, "%s[%zu,%zu,%d]", i > 0 ? "," : "", m->links[i].row, m->links[i].column,
                      m->links[i].possible ? 1 : 0);
    }
    (void)fputc(']', out);
}

static void write_matrix(const plot *p, FILE *out, const plot_matrix *m, const plot_matrix *before)
{
    size_t count = m->rows * m->columns;
    (void)fprintf(out, "{\"rows\": %zu, \"columns\": %zu, \"temperature\": %.17g, \"name\": ", m->rows, m->columns,
                  m->temperature);
    write_text(out, m->name);
    write_optional_text(out, "note", m->note);
    write_optional_text(out, "reference", m->reference);
    if (before == NULL || !same_words(m->row_words, m->rows, before->row_words, before->rows)) {
        write_words(out, "rowWords", m->row_words, m->rows);
    }
    if (before == NULL || !same_words(m->column_words, m->columns, before->column_words, before->columns)) {
        write_words(out, "columnWords", m->column_words, m->columns);
    }
    write_links(out, m);
    write_numbers(out, "values", m->weights, count, unit_of(p));
    write_numbers(out, "scores", m->scores, count, 1);
    write_numbers(out, "factors", m->factors, count, 1);
    (void)fputc('}', out);
}

void plot_data_write(const plot *p, FILE *stream)
{
    plot_notation notation = plot_notation_of(p);
    (void)fprintf(stream,
                  "<script type=\"application/json\" id=\"weights\">\n{\"unit\": %.17g, \"largest\": %.17g, "
                  "\"notation\": \"%c\", \"digits\": %d, \"heads\": [",
                  unit_of(p), p->largest / unit_of(p), notation.conversion, notation.digits);
    for (size_t i = 0; i < p->count; ++i) {
        (void)fputs(i > 0 ? ",\n" : "\n", stream);
        write_matrix(p, stream, &p->matrices[i], i > 0 ? &p->matrices[i - 1] : NULL);
    }
    (void)fputs("]}\n</script>\n", stream);
}
