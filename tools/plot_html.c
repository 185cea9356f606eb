/* SPDX-License-Identifier: BSD-3-Clause
 *
 * plot_html.c: the matrix as one page that needs nothing else: choose a target word, and the source words are shaded
 * by its weights. The page's script is constant and reads the weights from the table, so that escaping for HTML is
 * the only escaping there is.
 */
#include "plot.h"
#include "plot_html_assets.h"

#include <stdbool.h>

enum { SHOW_NUMBERS_UP_TO = 15 };

static void write_escaped(FILE *out, const char *text)
{
    for (; *text != '\0'; ++text) {
        switch (*text) {
        case '&':
            (void)fputs("&amp;", out);
            break;
        case '<':
            (void)fputs("&lt;", out);
            break;
        case '>':
            (void)fputs("&gt;", out);
            break;
        case '"':
            (void)fputs("&quot;", out);
            break;
        case '\'':
            (void)fputs("&#39;", out);
            break;
        default:
            (void)fputc(*text, out);
            break;
        }
    }
}

/* <open>text</close>; words are in whatever language and direction they are in. */
static void write_element(FILE *out, const char *open, const char *text, const char *close)
{
    (void)fprintf(out, "<%s>", open);
    write_escaped(out, text);
    (void)fprintf(out, "</%s>", close);
}

static void write_pieces(FILE *out, const char *const *pieces)
{
    for (; *pieces != NULL; ++pieces) (void)fputs(*pieces, out);
}

static void write_head(const plot *p, FILE *out)
{
    (void)fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
                "style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'\">\n"
                "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                "<meta name=\"color-scheme\" content=\"light dark\">\n",
                out);
    write_element(out, "title", p->title, "title");
    (void)fputs("\n<style>\n", out);
    write_pieces(out, plot_html_style);
    (void)fputs("</style>\n</head>\n", out);
}

static void write_words(const plot *p, FILE *out)
{
    (void)fputs("<h2 id=\"targets-title\">" PLOT_ROWS_TITLE
                "</h2>\n<p class=\"hint\">Choose a word by a click or by the "
                "arrow keys.</p>\n<div id=\"targets\" role=\"toolbar\" aria-labelledby=\"targets-title\">\n",
                out);
    for (size_t row = 0; row < p->rows; ++row) {
        (void)fprintf(out, "<button type=\"button\" lang=\"\" dir=\"auto\" tabindex=\"%d\" aria-pressed=\"%s\">",
                      row == 0 ? 0 : -1, row == 0 ? "true" : "false");
        write_escaped(out, p->row_words[row]);
        (void)fputs("</button>\n", out);
    }
    (void)fputs("</div>\n<h2 id=\"sources-title\">" PLOT_COLUMNS_TITLE "</h2>\n"
                "<ol id=\"sources\" aria-labelledby=\"sources-title\">\n",
                out);
    for (size_t column = 0; column < p->columns; ++column) {
        write_element(out, "li><span lang=\"\" dir=\"auto\"", p->column_words[column], "span");
        (void)fputs("<b></b></li>\n", out);
    }
    (void)fputs("</ol>\n<p id=\"said\" role=\"status\" aria-live=\"polite\"></p>\n", out);
}

static void write_cell(const plot *p, FILE *out, double weight)
{
    double part = plot_part(p, weight);
    (void)fprintf(out, "<td%s style=\"--part:%.4g\">%s</td>", part > 0.5 ? " class=\"strong\"" : "", part,
                  plot_format(p, weight).text);
}

static void write_table(const plot *p, FILE *out)
{
    bool numbers = p->rows <= SHOW_NUMBERS_UP_TO && p->columns <= SHOW_NUMBERS_UP_TO;
    (void)fprintf(out,
                  "<h2 id=\"matrix-title\">All weights</h2>\n"
                  "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-labelledby=\"matrix-title\">\n"
                  "<table class=\"%s\">\n<thead><tr><td></td>",
                  numbers ? "numbers" : "dense");
    for (size_t column = 0; column < p->columns; ++column) {
        write_element(out, "th scope=\"col\" lang=\"\"><span dir=\"auto\"", p->column_words[column], "span></th");
    }
    (void)fputs("</tr></thead>\n<tbody>\n", out);
    for (size_t row = 0; row < p->rows; ++row) {
        (void)fputs("<tr>", out);
        write_element(out, "th scope=\"row\" lang=\"\" dir=\"auto\"", p->row_words[row], "th");
        for (size_t column = 0; column < p->columns; ++column) write_cell(p, out, plot_weight(p, row, column));
        (void)fputs("</tr>\n", out);
    }
    (void)fprintf(out, "</tbody>\n</table>\n</div>\n<p class=\"scale\">0 <i></i> %s</p>\n",
                  plot_format(p, p->largest).text);
}

void plot_write_html(const plot *p, FILE *stream)
{
    write_head(p, stream);
    (void)fputs("<body>\n<main>\n", stream);
    write_element(stream, "h1", p->title, "h1");
    (void)fputc('\n', stream);
    if (p->note != NULL) write_element(stream, "p class=\"hint\"", p->note, "p");
    (void)fputc('\n', stream);
    write_words(p, stream);
    write_table(p, stream);
    (void)fputs("</main>\n<script>\n", stream);
    write_pieces(stream, plot_html_script);
    (void)fputs("</script>\n</body>\n</html>\n", stream);
}
