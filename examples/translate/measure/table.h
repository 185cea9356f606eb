/* SPDX-License-Identifier: BSD-3-Clause
 *
 * table.h: prints cells in columns that are as wide as a terminal shows what is in them, plain or as Markdown. */
#ifndef TRANSLATE_TABLE_H
#define TRANSLATE_TABLE_H

#include <stddef.h>
#include <stdio.h>

/* Cells in the order of reading; the first row is the head. */
typedef struct text_table {
    const char *columns; /* a letter for each column: l or r, the side that its cells are on */
    char **cells;
    size_t count, capacity;
} text_table;

typedef enum table_style { TABLE_PLAIN, TABLE_MARKDOWN } table_style;

/* columns such as "lrr", which must outlive the table. */
text_table table_begin(const char *columns);

#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
void table_cell(text_table *table, const char *format, ...);

/* Cells that are missing in the last row are empty. */
void table_print(const text_table *table, table_style style, FILE *file);
void table_free(text_table *table);

/* The columns of a terminal that a text takes: none for a combining mark, two for a wide character (those of East Asia
 * and emoji), one for any other and for a byte that is not UTF-8. */
size_t text_width(const char *text);

#endif
