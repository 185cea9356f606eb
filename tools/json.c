/* SPDX-License-Identifier: BSD-3-Clause
 *
 * json.c: by recursive descent, after RFC 8259.
 */
#include "json.h"

#include "fail.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistr.h>

/* MOST_NAMES keeps the search for equal names short, whatever the file. */
enum { DEEPEST = 32, MOST_NAMES = 100, LONGEST_NUMBER = 100 };

/* Where the reader stands. */
typedef struct cursor {
    const char *text, *at, *end;
    const char *name;
    int depth;
} cursor;

static json read_value(cursor *c);

/* Lines count from 1, and so do columns, which are bytes. */
static _Noreturn void malformed(const cursor *c, const char *problem)
{
    size_t line = 1, column = 1;
    for (const char *at = c->text; at < c->at; ++at) {
        ++column;
        if (*at == '\n') {
            ++line;
            column = 1;
        }
    }
    fail("%s is not JSON: line %zu, column %zu: %s", c->name, line, column, problem);
}

static int peek(const cursor *c)
{
    return c->at < c->end ? (unsigned char)*c->at : -1;
}

static void skip(cursor *c)
{
    while (peek(c) == ' ' || peek(c) == '\t' || peek(c) == '\n' || peek(c) == '\r') ++c->at;
}

static bool take(cursor *c, char wanted)
{
    if (peek(c) != wanted) return false;
    ++c->at;
    return true;
}

static bool is_digit(int c)
{
    return c >= '0' && c <= '9';
}

static void take_digits(cursor *c)
{
    if (!is_digit(peek(c))) malformed(c, "a digit belongs here");
    while (is_digit(peek(c))) ++c->at;
}

static json read_number(cursor *c)
{
    const char *start = c->at;
    char copy[LONGEST_NUMBER + 1];
    (void)take(c, '-');
    if (!take(c, '0')) take_digits(c);
    if (take(c, '.')) take_digits(c);
    if (take(c, 'e') || take(c, 'E')) {
        if (!take(c, '-')) (void)take(c, '+');
        take_digits(c);
    }
    size_t length = (size_t)(c->at - start);
    if (length > LONGEST_NUMBER) malformed(c, "a number of more than 100 characters ends here");
    memcpy(copy, start, length);
    copy[length] = '\0';
    json value = {.kind = JSON_NUMBER, .number = strtod(copy, NULL)};
    if (!isfinite(value.number)) malformed(c, "a number that no double holds ends here");
    return value;
}

/* Four hexadecimal digits. */
static uint32_t read_unit(cursor *c)
{
    uint32_t unit = 0;
    for (int i = 0; i < 4; ++i, ++c->at) {
        int digit = peek(c);
        uint32_t value = 16;
        if (is_digit(digit)) value = (uint32_t)(digit - '0');
        if (digit >= 'a' && digit <= 'f') value = (uint32_t)(digit - 'a') + 10;
        if (digit >= 'A' && digit <= 'F') value = (uint32_t)(digit - 'A') + 10;
        if (value == 16) malformed(c, "a hexadecimal digit belongs here");
        unit = unit * 16 + value;
    }
    return unit;
}

/* What follows "\u": a character, or the two halves of one. */
static uint32_t read_escaped(cursor *c)
{
    const uint32_t high = 0xd800, low = 0xdc00, last = 0xdfff, beyond = 0x10000;
    uint32_t unit = read_unit(c);
    if (unit == 0) malformed(c, "U+0000 is no part of a text");
    if (unit < high || unit > last) return unit;
    if (unit >= low || !take(c, '\\') || !take(c, 'u')) malformed(c, "half of a surrogate pair stands alone");
    uint32_t second = read_unit(c);
    if (second < low || second > last) malformed(c, "half of a surrogate pair stands alone");
    return beyond + (unit - high) * 0x400 + (second - low);
}

/* What follows a backslash, as UTF-8; returns its end. */
static char *read_escape(cursor *c, char *to)
{
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    int next = peek(c);
    if (take(c, 'u')) {
        const int room = 4;
        return to + u8_uctomb((uint8_t *)to, read_escaped(c), room);
    }
    const char *name = next > 0 ? strchr(names, next) : NULL;
    if (name == NULL) malformed(c, "no escape has this character");
    ++c->at;
    *to = values[name - names];
    return to + 1;
}

/* No escape is shorter than what it stands for, so the text has room where the string has. */
static char *read_string(cursor *c)
{
    if (!take(c, '"')) malformed(c, "'\"' belongs here");
    size_t room = 1;
    for (const char *at = c->at; at < c->end && *at != '"'; ++at, ++room) {
        if (*at == '\\' && at + 1 < c->end) ++at, ++room;
    }
    char *text = allocate(room, 1), *to = text;
    while (!take(c, '"')) {
        int next = peek(c);
        if (next < 0) malformed(c, "the string has no end");
        if (next < ' ') malformed(c, "a control character stands in a string");
        ++c->at;
        if (next != '\\') {
            *to++ = (char)next;
        } else {
            to = read_escape(c, to);
        }
    }
    *to = '\0';
    return text;
}

static void add(json *list, size_t *room, json member)
{
    if (list->count == *room) {
        *room = *room == 0 ? 8 : *room * 2;
        list->members = reallocate(list->members, *room, sizeof *list->members);
    }
    list->members[list->count++] = member;
}

static char *read_name(cursor *c, const json *object)
{
    skip(c);
    char *name = read_string(c);
    if (json_member(object, name) != NULL) malformed(c, "this name is there twice");
    if (object->count == MOST_NAMES) malformed(c, "an object has more than 100 names");
    skip(c);
    if (!take(c, ':')) malformed(c, "':' belongs here");
    return name;
}

static json read_members(cursor *c, json_kind kind, char close)
{
    json value = {.kind = kind};
    size_t room = 0;
    if (++c->depth > DEEPEST) malformed(c, "more than 32 brackets are within each other");
    ++c->at;
    skip(c);
    if (!take(c, close)) {
        do {
            char *name = kind == JSON_OBJECT ? read_name(c, &value) : NULL;
            json member = read_value(c);
            member.name = name;
            add(&value, &room, member);
            skip(c);
        } while (take(c, ','));
        if (!take(c, close)) malformed(c, close == ']' ? "',' or ']' belongs here" : "',' or '}' belongs here");
    }
    --c->depth;
    return value;
}

static json read_word(cursor *c)
{
    static const struct {
        const char *text;
        json_kind kind;
    } words[] = {{"null", JSON_NULL}, {"false", JSON_FALSE}, {"true", JSON_TRUE}};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; ++i) {
        size_t length = strlen(words[i].text);
        if ((size_t)(c->end - c->at) >= length && memcmp(c->at, words[i].text, length) == 0) {
            c->at += length;
            return (json){.kind = words[i].kind};
        }
    }
    malformed(c, c->at < c->end ? "no value begins like this" : "the text has no end");
}

static json read_value(cursor *c)
{
    skip(c);
    int next = peek(c);
    if (next == '{') return read_members(c, JSON_OBJECT, '}');
    if (next == '[') return read_members(c, JSON_ARRAY, ']');
    if (next == '"') return (json){.kind = JSON_STRING, .text = read_string(c)};
    return next == '-' || is_digit(next) ? read_number(c) : read_word(c);
}

json *json_read(const char *name, const char *text, size_t length)
{
    const uint8_t *wrong = u8_check((const uint8_t *)text, length);
    cursor c = {.text = text, .at = text, .end = text + length, .name = name};
    if (wrong != NULL) {
        c.at = (const char *)wrong;
        malformed(&c, "this byte is not UTF-8");
    }
    json *value = allocate(1, sizeof *value);
    *value = read_value(&c);
    skip(&c);
    if (c.at < c.end) malformed(&c, "the text goes on behind its value");
    return value;
}

static void free_parts(json *value)
{
    for (size_t i = 0; i < value->count; ++i) free_parts(&value->members[i]);
    free(value->members);
    free(value->text);
    free(value->name);
}

void json_free(json *value)
{
    if (value == NULL) return;
    free_parts(value);
    free(value);
}

const json *json_member(const json *object, const char *name)
{
    for (size_t i = 0; i < object->count; ++i) {
        if (strcmp(object->members[i].name, name) == 0) return &object->members[i];
    }
    return NULL;
}

const char *json_kind_name(const json *value)
{
    static const char *const names[] = {
        [JSON_NULL] = "null",     [JSON_FALSE] = "false",  [JSON_TRUE] = "true",       [JSON_NUMBER] = "a number",
        [JSON_STRING] = "a text", [JSON_ARRAY] = "a list", [JSON_OBJECT] = "an object"};
    return names[value->kind];
}
