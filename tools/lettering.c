/* SPDX-License-Identifier: BSD-3-Clause
 *
 * lettering.c: one Pango layout, filled again for every line.
 */
#include "lettering.h"

#include "fail.h"

#include <pango/pangocairo.h>
#include <stdlib.h>
#include <string.h>
#include <unictype.h>
#include <unistr.h>

struct lettering {
    PangoContext *context;
    PangoLayout *line;
    PangoFontDescription *font;
};

lettering *lettering_create(void)
{
    lettering *l = allocate(1, sizeof *l);
    l->context = pango_font_map_create_context(pango_cairo_font_map_get_default());
    /* The same widths at every scale, so that what is measured is what is drawn. */
    cairo_font_options_t *options = cairo_font_options_create();
    cairo_font_options_set_hint_metrics(options, CAIRO_HINT_METRICS_OFF);
    cairo_font_options_set_hint_style(options, CAIRO_HINT_STYLE_NONE);
    pango_cairo_context_set_font_options(l->context, options);
    cairo_font_options_destroy(options);
    l->line = pango_layout_new(l->context);
    pango_layout_set_single_paragraph_mode(l->line, TRUE);
    l->font = pango_font_description_from_string("sans-serif");
    return l;
}

void lettering_destroy(lettering *l)
{
    pango_font_description_free(l->font);
    g_object_unref(l->line);
    g_object_unref(l->context);
    free(l);
}

/* Cairo calls the code points that Unicode keeps free of characters invalid: U+FFFD stands for them. */
static char *without_free_code_points(const char *text)
{
    size_t length = strlen(text), used = 0;
    char *copy = allocate(length + 1, 1); /* U+FFFD is as short as any of them */
    for (size_t at = 0; at < length;) {
        ucs4_t c;
        int step = u8_mbtouc(&c, (const uint8_t *)text + at, length - at);
        if (uc_is_property_not_a_character(c)) c = 0xfffd;
        used += (size_t)u8_uctomb((uint8_t *)copy + used, c, (int)(length - used));
        at += (size_t)step;
    }
    copy[used] = '\0';
    return copy;
}

static void set(lettering *l, double size, bool bold, const char *text)
{
    pango_font_description_set_absolute_size(l->font, size * PANGO_SCALE);
    pango_font_description_set_weight(l->font, bold ? PANGO_WEIGHT_BOLD : PANGO_WEIGHT_NORMAL);
    pango_layout_set_font_description(l->line, l->font);
    char *shown = without_free_code_points(text);
    pango_layout_set_text(l->line, shown, -1);
    free(shown);
}

double lettering_width(lettering *l, double size, bool bold, const char *text)
{
    PangoRectangle extent;
    set(l, size, bold, text);
    pango_layout_get_extents(l->line, NULL, &extent);
    return (double)extent.width / PANGO_SCALE;
}

double lettering_drop(lettering *l, double size)
{
    PangoRectangle ink;
    set(l, size, false, "x");
    pango_layout_get_extents(l->line, &ink, NULL);
    return (double)ink.height / PANGO_SCALE / 2;
}

bool lettering_knows(lettering *l, const char *text)
{
    const double any_size = 12;
    set(l, any_size, false, text);
    return pango_layout_get_unknown_glyphs_count(l->line) == 0;
}

void lettering_draw(lettering *l, cairo_t *cr, double size, bool bold, double x, double y, double angle,
                    const char *text)
{
    set(l, size, bold, text);
    cairo_save(cr);
    cairo_translate(cr, x, y);
    cairo_rotate(cr, -angle);
    cairo_move_to(cr, 0, -(double)pango_layout_get_baseline(l->line) / PANGO_SCALE);
    pango_cairo_show_layout(cr, l->line);
    cairo_restore(cr);
}
