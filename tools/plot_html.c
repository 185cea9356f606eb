/* SPDX-License-Identifier: BSD-3-Clause
 *
 * plot_html.c: the matrices as one page that needs nothing else. Ask a word, and the words of the other side are shaded
 * by its weights. Matrices are pictures of one pixel for each cell; the numbers behind them are in the page once, for
 * its script. Without scripts the words, the pictures and, in small matrices, the numbers are there to be read.
 */
#include "base64.h"
#include "fail.h"
#include "markup.h"
#include "output.h"
#include "page_assets.h"
#include "plot_image.h"
#include "plot_kinds.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { SHOW_NUMBERS_UP_TO = 15, SMALL_PICTURE = 100 };

static bool has_numbers(const plot *p)
{
    return p->rows <= SHOW_NUMBERS_UP_TO && p->columns <= SHOW_NUMBERS_UP_TO;
}

static void write_head(const plot *p, FILE *out)
{
    (void)fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; "
                "style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'\">\n"
                "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                "<meta name=\"color-scheme\" content=\"light dark\">\n",
                out);
    markup_element(out, "title", p->title, "title");
    (void)fputs("\n<style>\n", out);
    output_write(out, page_style, page_style_bytes);
    (void)fputs("</style>\n</head>\n", out);
}

static cairo_status_t encode_piece(void *encoder, const unsigned char *data, unsigned length)
{
    base64_write(encoder, data, length);
    return CAIRO_STATUS_SUCCESS;
}

/* alt: what is read out instead, "" where a text beside it says the same. */
static void write_picture(const plot *p, const plot_matrix *m, FILE *out, const char *alt)
{
    (void)fprintf(out, "<img alt=\"%s\" width=\"%zu\" height=\"%zu\" src=\"data:image/png;base64,", alt, p->columns,
                  p->rows);
    cairo_surface_t *image = plot_image(p, m);
    base64 encoder = {.stream = out};
    cairo_status_t status = cairo_surface_write_to_png_stream(image, encode_piece, &encoder);
    if (status != CAIRO_STATUS_SUCCESS) fail("cannot write the picture: %s", cairo_status_to_string(status));
    base64_end(&encoder);
    cairo_surface_destroy(image);
    (void)fputs("\">", out);
}

static void write_heads(const plot *p, FILE *out)
{
    if (p->count == 1) return;
    bool fine = p->rows > SMALL_PICTURE || p->columns > SMALL_PICTURE;
    (void)fprintf(out, "<fieldset id=\"heads\"%s><legend>Heads</legend>\n", fine ? " class=\"fine\"" : "");
    for (size_t i = 0; i < p->count; ++i) {
        (void)fprintf(out, "<label><input type=\"radio\" name=\"head\" autocomplete=\"off\"%s><span class=\"small\">",
                      i == 0 ? " checked" : "");
        write_picture(p, &p->matrices[i], out, "");
        (void)fprintf(out, "</span>%s</label>\n", p->matrices[i].name);
    }
    (void)fputs("</fieldset>\n", out);
}

/* Whether the side has the word at another place too: its place is then shown beside it. */
static bool is_repeated(char *const *words, size_t count, size_t which)
{
    for (size_t i = 0; i < count; ++i) {
        if (i != which && strcmp(words[i], words[which]) == 0) return true;
    }
    return false;
}

/* Words are in whatever language and direction they are in. */
static void write_word(FILE *out, char *const *words, size_t count, size_t which)
{
    (void)fprintf(out, " lang=\"\" dir=\"auto\" title=\"%zu: ", which);
    markup_write(out, words[which]);
    (void)fputs("\">", out);
    markup_write(out, words[which]);
    if (is_repeated(words, count, which)) (void)fprintf(out, "<sub>%zu</sub>", which);
}

static void write_side(FILE *out, const char *id, const char *title, char *const *words, size_t count)
{
    (void)fprintf(
        out,
        "<h2 id=\"%s-title\">%s</h2>\n<div id=\"%s\" class=\"words\" role=\"toolbar\" aria-labelledby=\"%s-title\">\n",
        id, title, id, id);
    for (size_t i = 0; i < count; ++i) {
        (void)fprintf(out, "<button type=\"button\" tabindex=\"%d\" aria-pressed=\"false\"", i == 0 ? 0 : -1);
        write_word(out, words, count, i);
        (void)fputs("</button>\n", out);
    }
    (void)fputs("</div>\n", out);
}

static void write_labels(FILE *out, const char *class, char *const *words, size_t count)
{
    (void)fprintf(out, "<div class=\"%s\">\n", class);
    for (size_t i = 0; i < count; ++i) {
        (void)fputs("<span", out);
        write_word(out, words, count, i);
        (void)fputs("</span>\n", out);
    }
    (void)fputs("</div>\n", out);
}

static void write_numbers(const plot *p, FILE *out)
{
    (void)fputs("<div class=\"values\">\n", out);
    for (size_t i = 0; i < p->rows * p->columns; ++i) {
        double weight = p->matrices[0].weights[i];
        plot_number number = plot_format(p, weight);
        bool nothing = strspn(number.text, "0.") == strlen(number.text);
        (void)fprintf(out, "<b%s>%s</b>%s",
                      plot_part(p, weight) > 0.5 ? " class=\"strong\""
                      : nothing                  ? " class=\"nothing\""
                                                 : "",
                      number.text, (i + 1) % p->columns == 0 ? "\n" : "");
    }
    (void)fputs("</div>\n", out);
}

static void write_matrix(const plot *p, FILE *out)
{
    (void)fprintf(out,
                  "<h2 id=\"matrix-title\">All weights</h2>\n<div class=\"frame\"><div class=\"edges\">"
                  "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-labelledby=\"matrix-title\">\n"
                  "<div class=\"matrix%s\" style=\"--rows:%zu;--columns:%zu\">\n<div class=\"corner\"></div>\n",
                  has_numbers(p) ? " numbers" : "", p->rows, p->columns);
    write_labels(out, "column-words", p->column_words, p->columns);
    write_labels(out, "row-words", p->row_words, p->rows);
    (void)fputs("<div class=\"cells\">", out);
    write_picture(p, &p->matrices[0], out, p->matrices[0].name);
    if (has_numbers(p)) write_numbers(p, out);
    (void)fprintf(out,
                  "<i class=\"band\" hidden></i></div>\n</div>\n</div></div></div>\n"
                  "<p class=\"scale\">0 <i></i> %s</p>\n",
                  plot_format(p, p->largest).text);
}

/* A power of two, by which weights become numbers that float32 holds, the largest of them 1 to 2. */
static double unit_of(const plot *p)
{
    return p->largest > 0 ? ldexp(1, ilogb(p->largest)) : 1;
}

/* The weights in units, float32, lowest byte first. */
static void write_values(const plot *p, const plot_matrix *m, FILE *out)
{
    base64 encoder = {.stream = out};
    for (size_t i = 0; i < p->rows * p->columns; ++i) {
        float value = (float)(m->weights[i] / unit_of(p));
        uint32_t bits;
        memcpy(&bits, &value, sizeof bits);
        unsigned char bytes[4];
        for (size_t k = 0; k < sizeof bytes; ++k) bytes[k] = (unsigned char)(bits >> 8 * k & 0xff);
        base64_write(&encoder, bytes, sizeof bytes);
    }
    base64_end(&encoder);
}

static void write_weights(const plot *p, FILE *out)
{
    plot_notation notation = plot_notation_of(p);
    (void)fprintf(
        out,
        "<script type=\"application/json\" id=\"weights\">\n{\"rows\": %zu, \"columns\": %zu, \"unit\": %.17g, "
        "\"largest\": %.17g, \"notation\": \"%c\", \"digits\": %d, \"heads\": [",
        p->rows, p->columns, unit_of(p), p->largest / unit_of(p), notation.conversion, notation.digits);
    for (size_t i = 0; i < p->count; ++i) {
        (void)fprintf(out, "%s\n{\"name\": \"%s\", \"values\": \"", i > 0 ? "," : "", p->matrices[i].name);
        write_values(p, &p->matrices[i], out);
        (void)fputs("\"}", out);
    }
    (void)fputs("]}\n</script>\n", out);
}

void plot_write_html(const plot *p, FILE *stream)
{
    write_head(p, stream);
    (void)fputs("<body>\n<main>\n", stream);
    markup_element(stream, "h1", p->title, "h1");
    (void)fputc('\n', stream);
    if (p->note != NULL) markup_element(stream, "p class=\"hint\"", p->note, "p");
    (void)fputs(
        "\n<p class=\"hint asks\">Ask a query what it looks at, or a key what looks at it: by a click on the word, "
        "here or in the matrix, or by the arrow keys.</p>\n",
        stream);
    write_heads(p, stream);
    write_side(stream, "rows", PLOT_ROWS_TITLE, p->row_words, p->rows);
    write_side(stream, "columns", PLOT_COLUMNS_TITLE, p->column_words, p->columns);
    write_matrix(p, stream);
    (void)fputs("</main>\n<div id=\"said\" class=\"asks\" role=\"status\" aria-live=\"polite\"></div>\n<div id=\"tip\" "
                "hidden></div>\n",
                stream);
    write_weights(p, stream);
    (void)fputs("<script>\n", stream);
    output_write(stream, page_script, page_script_bytes);
    (void)fputs("</script>\n</body>\n</html>\n", stream);
}
