/* SPDX-License-Identifier: BSD-3-Clause
 *
 * table.c: see table.h. */
#include "measure/table.h"

#include "measure/utf8.h"
#include "refuse.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

typedef struct point_range {
    unsigned long first, last;
} point_range;

/* The blocks of the Unicode standard that are combining or invisible as a whole, and those that are wide. */
static const point_range marks[] = {
    {0x300, 0x36f}, {0x200b, 0x200f}, {0x20d0, 0x20ff}, {0xfe00, 0xfe0f}, {0xfe20, 0xfe2f}};
static const point_range wide[] = {{0x1100, 0x115f},   {0x2e80, 0x303e},   {0x3041, 0xa4cf},  {0xac00, 0xd7a3},
                                   {0xf900, 0xfaff},   {0xfe30, 0xfe6f},   {0xff00, 0xff60},  {0xffe0, 0xffe6},
                                   {0x1f300, 0x1f64f}, {0x1f900, 0x1f9ff}, {0x20000, 0x3fffd}};

static bool is_within(unsigned long point, const point_range *ranges, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (point >= ranges[i].first && point <= ranges[i].last) return true;
    }
    return false;
}

size_t text_width(const char *text)
{
    size_t width = 0;
    while (*text != '\0') {
        unsigned long point = 0;
        const int bytes = utf8_next(text, &point);
        if (bytes == 0 || !is_within(point, marks, sizeof marks / sizeof *marks)) {
            width += bytes > 0 && is_within(point, wide, sizeof wide / sizeof *wide) ? 2 : 1;
        }
        text += bytes > 0 ? bytes : 1;
    }
    return width;
}

text_table table_begin(const char *columns)
{
    return (text_table){.columns = columns};
}

void table_cell(text_table *table, const char *format, ...)
{
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    const int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (length < 0) give_up("a cell of a table cannot be written");
    char *cell = allocate((size_t)length + 1, 1);
    vsnprintf(cell, (size_t)length + 1, format, again);
    va_end(again);
    if (table->count == table->capacity) {
        table->capacity = table->capacity > 0 ? 2 * table->capacity : 64;
        table->cells = reallocate(table->cells, table->capacity, sizeof(char *));
    }
    table->cells[table->count++] = cell;
}

/* A bar within a Markdown cell would end it. */
static size_t bars(const char *text, table_style style)
{
    size_t count = 0;
    for (; style == TABLE_MARKDOWN && *text != '\0'; text++) count += *text == '|';
    return count;
}

static void repeat(FILE *file, char character, size_t times)
{
    while (times-- > 0) fputc(character, file);
}

static void print_cell(const char *text, size_t width, bool right, bool pad_behind, table_style style, FILE *file)
{
    const size_t blank = width - text_width(text) - bars(text, style);
    if (right) repeat(file, ' ', blank);
    for (; *text != '\0'; text++) {
        if (style == TABLE_MARKDOWN && *text == '|') fputc('\\', file);
        fputc(*text, file);
    }
    if (!right && pad_behind) repeat(file, ' ', blank);
}

static void print_rule(const text_table *table, const size_t *widths, table_style style, FILE *file)
{
    const size_t columns = strlen(table->columns);
    for (size_t i = 0; i < columns; i++) {
        const bool right = table->columns[i] == 'r';
        if (style == TABLE_MARKDOWN) {
            fputs(i == 0 ? "| " : " | ", file);
            repeat(file, '-', widths[i] - right);
            if (right) fputc(':', file);
        } else {
            fputs(i == 0 ? "" : "  ", file);
            repeat(file, '-', widths[i]);
        }
    }
    fputs(style == TABLE_MARKDOWN ? " |\n" : "\n", file);
}

void table_print(const text_table *table, table_style style, FILE *file)
{
    const size_t columns = strlen(table->columns), rows = (table->count + columns - 1) / columns;
    size_t *widths = allocate(columns, sizeof(size_t));
    for (size_t i = 0; i < columns; i++) widths[i] = 3; /* the least that Markdown's rule may have */
    for (size_t i = 0; i < table->count; i++) {
        const size_t width = text_width(table->cells[i]) + bars(table->cells[i], style);
        if (width > widths[i % columns]) widths[i % columns] = width;
    }
    for (size_t row = 0; row < rows; row++) {
        for (size_t i = 0; i < columns; i++) {
            const size_t at = row * columns + i;
            const char *gap = style == TABLE_PLAIN ? "  " : " | ";
            fputs(i > 0 ? gap : style == TABLE_PLAIN ? "" : "| ", file);
            print_cell(at < table->count ? table->cells[at] : "", widths[i], table->columns[i] == 'r',
                       style == TABLE_MARKDOWN || i + 1 < columns, style, file);
        }
        fputs(style == TABLE_MARKDOWN ? " |\n" : "\n", file);
        if (row == 0) print_rule(table, widths, style, file);
    }
    free(widths);
}

void table_free(text_table *table)
{
    for (size_t i = 0; i < table->count; i++) free(table->cells[i]);
    free(table->cells);
    *table = (text_table){.columns = table->columns};
}
