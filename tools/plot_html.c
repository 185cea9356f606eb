/* SPDX-License-Identifier: BSD-3-Clause
 *
 * plot_html.c: the matrices as one page that needs nothing else. Ask a word, and the words of the other side are shaded
 * by its weights. Matrices are pictures of one pixel for each cell; the numbers behind them are in the page once, for
 * its script (plot_data.h). Without scripts the pictures, and of the first matrix the words and, if it is small, the
 * numbers are there to be read.
 */
#include "base64.h"
#include "fail.h"
#include "markup.h"
#include "output.h"
#include "page_assets.h"
#include "plot_data.h"
#include "plot_image.h"
#include "plot_kinds.h"

#include <stdbool.h>
#include <string.h>

enum { SHOW_NUMBERS_UP_TO = 15, SMALL_PICTURE = 100 };

static bool has_numbers(const plot_matrix *m)
{
    return m->rows <= SHOW_NUMBERS_UP_TO && m->columns <= SHOW_NUMBERS_UP_TO;
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
    (void)fputs("<img alt=\"", out);
    markup_write(out, alt);
    (void)fprintf(out, "\" width=\"%zu\" height=\"%zu\" src=\"data:image/png;base64,", m->columns, m->rows);
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
    bool fine = p->matrices[0].rows > SMALL_PICTURE || p->matrices[0].columns > SMALL_PICTURE;
    (void)fprintf(out, "<fieldset id=\"heads\"%s><legend>%s</legend>\n", fine ? " class=\"fine\"" : "",
                  p->separate ? "Models" : "Heads");
    for (size_t i = 0; i < p->count; ++i) {
        (void)fprintf(out, "<label><input type=\"radio\" name=\"head\" autocomplete=\"off\"%s><span class=\"small\">",
                      i == 0 ? " checked" : "");
        write_picture(p, &p->matrices[i], out, "");
        (void)fputs("</span>", out);
        markup_write(out, p->matrices[i].name);
        (void)fputs("</label>\n", out);
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
    const plot_matrix *m = &p->matrices[0];
    (void)fputs("<div class=\"values\">\n", out);
    for (size_t i = 0; i < m->rows * m->columns; ++i) {
        double weight = m->weights[i];
        plot_number number = plot_format(p, weight);
        bool nothing = strspn(number.text, "0.") == strlen(number.text);
        (void)fprintf(out, "<b%s>%s</b>%s",
                      plot_part(p, weight) > 0.5 ? " class=\"strong\""
                      : nothing                  ? " class=\"nothing\""
                                                 : "",
                      number.text, (i + 1) % m->columns == 0 ? "\n" : "");
    }
    (void)fputs("</div>\n", out);
}

static void write_matrix(const plot *p, FILE *out)
{
    const plot_matrix *m = &p->matrices[0];
    (void)fprintf(out,
                  "<h2 id=\"matrix-title\">All weights</h2>\n<div class=\"frame\"><div class=\"edges\">"
                  "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-labelledby=\"matrix-title\">\n"
                  "<div class=\"matrix%s\" style=\"--rows:%zu;--columns:%zu\">\n<div class=\"corner\"></div>\n",
                  has_numbers(m) ? " numbers" : "", m->rows, m->columns);
    write_labels(out, "column-words", m->column_words, m->columns);
    write_labels(out, "row-words", m->row_words, m->rows);
    (void)fputs("<div class=\"cells\">", out);
    write_picture(p, m, out, m->name);
    if (has_numbers(m)) write_numbers(p, out);
    (void)fprintf(out,
                  "<i class=\"band\" hidden></i></div>\n</div>\n</div></div></div>\n"
                  "<p class=\"scale\">0 <i></i> %s</p>\n",
                  plot_format(p, p->largest).text);
    if (!plot_has_links(p)) return;
    (void)fputs("<p class=\"scale links\"><span><i class=\"sure\"></i> sure link of the known alignment</span> "
                "<span><i class=\"possible\"></i> possible link</span> "
                "<span class=\"asks\"><i class=\"best\"></i> what a word looks at most</span></p>\n",
                out);
}

/* What is known of the matrix, which the script keeps to the one that is chosen. */
static void write_about(const plot *p, FILE *out)
{
    const plot_matrix *m = &p->matrices[0];
    if (!p->separate) return;
    /* Of a single one the page's own note tells it. */
    (void)fprintf(out, "<p id=\"about\" class=\"hint\"%s>", p->count == 1 ? " hidden" : "");
    markup_write(out, m->note != NULL ? m->note : "");
    (void)fputs("</p>\n<p id=\"reference\" class=\"hint\">", out);
    if (m->reference != NULL) {
        (void)fputs("Reference: ", out);
        markup_element(out, "span lang=\"\" dir=\"auto\"", m->reference, "span");
    }
    (void)fputs("</p>\n", out);
}

/* Its steps are hundredths of a power of ten. */
static void write_temperature(const plot *p, FILE *out)
{
    if (!p->separate) return;
    (void)fputs("<section id=\"softmax\" class=\"asks\" aria-label=\"Softmax\">\n"
                "<label for=\"temperature\">Temperature <output id=\"keys\" for=\"temperature\"></output></label>\n"
                "<div class=\"slider\"><input type=\"range\" id=\"temperature\" min=\"-200\" max=\"200\" step=\"1\" "
                "value=\"0\" autocomplete=\"off\" aria-describedby=\"softmax-note\">\n"
                "<div class=\"marks\" aria-hidden=\"true\"><span>0.01<br>one-hot</span><span>0.1</span><b>1</b>"
                "<span>10</span><span>100<br>uniform</span></div></div>\n"
                "<button type=\"button\" id=\"as-given\">As the model has it</button>\n"
                "<p id=\"softmax-note\" class=\"hint\"></p>\n</section>\n",
                out);
}

/* The words of both sides, and between them the lines that the script draws. */
static void write_sides(const plot *p, FILE *out)
{
    const plot_matrix *m = &p->matrices[0];
    (void)fputs("<div id=\"sides\">\n<svg id=\"lines\" aria-hidden=\"true\"></svg>\n", out);
    write_side(out, "rows", PLOT_ROWS_TITLE, m->row_words, m->rows);
    write_side(out, "columns", PLOT_COLUMNS_TITLE, m->column_words, m->columns);
    (void)fputs("</div>\n", out);
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
    write_about(p, stream);
    write_temperature(p, stream);
    write_sides(p, stream);
    write_matrix(p, stream);
    (void)fputs("</main>\n<div id=\"said\" class=\"asks\" role=\"status\" aria-live=\"polite\"></div>\n<div id=\"tip\" "
                "hidden></div>\n",
                stream);
    plot_data_write(p, stream);
    (void)fputs("<script>\n", stream);
    output_write(stream, page_numbers, page_numbers_bytes);
    output_write(stream, page_script, page_script_bytes);
    (void)fputs("</script>\n</body>\n</html>\n", stream);
}
