/* SPDX-License-Identifier: BSD-3-Clause
 *
 * text.c: validation, splitting and measuring of UTF-8 text, by libunistring.
 */
#include "text.h"

#include "fail.h"
#include "input.h"

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unictype.h>
#include <unistr.h>
#include <uniwidth.h>

enum { LARGEST_FILE = 16 * 1024 * 1024 };

static bool is_line_control(ucs4_t c)
{
    return c == '\t' || c == '\n' || c == '\r';
}

void text_check(const char *name, const char *text, size_t length)
{
    const uint8_t *bytes = (const uint8_t *)text;
    const uint8_t *wrong = u8_check(bytes, length);
    if (wrong != NULL) fail("%s is not UTF-8: byte %zu is 0x%02x", name, (size_t)(wrong - bytes), *wrong);
    for (size_t at = 0; at < length;) {
        ucs4_t c;
        int step = u8_mbtouc_unsafe(&c, bytes + at, length - at);
        if (uc_is_cntrl(c) && !is_line_control(c)) {
            fail("%s has the control character U+%04X at byte %zu", name, (unsigned)c, at);
        }
        at += (size_t)step;
    }
}

static void add(tokens *words, size_t *room, char *item)
{
    if (words->count == *room) {
        *room = *room == 0 ? 32 : *room * 2;
        words->items = reallocate(words->items, *room, sizeof *words->items);
    }
    words->items[words->count++] = item;
}

/* Splits storage, which is checked text, at white space. */
static tokens split_at_white_space(char *storage)
{
    tokens words = {.storage = storage};
    size_t room = 0;
    bool inside = false;
    const char *end = storage + strlen(storage);
    for (char *at = storage; at < end;) {
        ucs4_t c;
        int step = u8_mbtouc_unsafe(&c, (const uint8_t *)at, (size_t)(end - at));
        if (uc_is_property_white_space(c)) {
            *at = '\0';
            inside = false;
        } else if (!inside) {
            add(&words, &room, at);
            inside = true;
        }
        at += step;
    }
    return words;
}

/* Splits storage, which is checked text, at line ends. */
static tokens split_at_lines(const char *name, char *storage)
{
    tokens words = {.storage = storage};
    size_t room = 0;
    for (char *line = storage; *line != '\0';) {
        size_t length = strcspn(line, "\n");
        char *next = line + length + (line[length] == '\n');
        if (length > 0 && line[length - 1] == '\r') --length;
        line[length] = '\0';
        if (line[strcspn(line, "\t\r")] != '\0') {
            fail("%s has a tab or a carriage return within line %zu", name, words.count + 1);
        }
        if (line[strspn(line, " ")] == '\0') fail("%s has an empty line: line %zu", name, words.count + 1);
        add(&words, &room, line);
        line = next;
    }
    return words;
}

tokens tokens_of_sentence(const char *name, const char *sentence)
{
    text_check(name, sentence, strlen(sentence));
    tokens words = split_at_white_space(copy_string(sentence));
    if (words.count == 0) fail("%s has no words", name);
    return words;
}

tokens tokens_of_file(const char *path)
{
    static const char mark[] = "\xef\xbb\xbf"; /* byte order mark */
    input in = input_open(path);
    size_t length;
    char *text = input_read(&in, LARGEST_FILE + 1, &length);
    if (length > LARGEST_FILE) fail("%s is larger than the %d bytes that attn takes as words", in.name, LARGEST_FILE);
    text_check(in.name, text, length);
    text[length] = '\0';
    if (strncmp(text, mark, strlen(mark)) == 0) memmove(text, text + strlen(mark), length - strlen(mark) + 1);
    const char *line_end = strchr(text, '\n');
    bool single_line = line_end == NULL || line_end[1] == '\0';
    tokens words = single_line ? split_at_white_space(text) : split_at_lines(in.name, text);
    if (words.count == 0) fail("%s has no words", in.name);
    input_close(&in);
    return words;
}

tokens tokens_numbered(size_t count)
{
    enum { ROOM = 24 };
    tokens words = {.count = count};
    words.items = allocate(count, sizeof *words.items);
    words.storage = allocate(count, ROOM);
    for (size_t i = 0; i < count; ++i) {
        words.items[i] = words.storage + i * ROOM;
        (void)snprintf(words.items[i], ROOM, "%zu", i);
    }
    return words;
}

void tokens_free(tokens *words)
{
    free(words->items);
    free(words->storage);
    *words = (tokens){0};
}

size_t text_fit(const char *text, int columns, int *used)
{
    const uint8_t *bytes = (const uint8_t *)text;
    size_t length = strlen(text), at = 0;
    *used = 0;
    while (at < length) {
        ucs4_t c;
        int step = u8_mbtouc_unsafe(&c, bytes + at, length - at);
        int width = uc_width(c, "UTF-8");
        if (width < 0) width = 0;
        if (width > columns - *used) break;
        *used += width;
        at += (size_t)step;
    }
    return at;
}

char *text_shortened(const char *text, int columns)
{
    static const char ellipsis[] = "…";
    int used;
    if (text[text_fit(text, columns, &used)] == '\0') return copy_string(text);
    size_t kept = text_fit(text, columns - 1, &used);
    char *shortened = allocate(kept + sizeof ellipsis, 1);
    memcpy(shortened, text, kept);
    memcpy(shortened + kept, ellipsis, sizeof ellipsis);
    return shortened;
}

int text_width(const char *text)
{
    int used;
    (void)text_fit(text, INT_MAX, &used);
    return used;
}
