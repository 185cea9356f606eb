/* SPDX-License-Identifier: BSD-3-Clause
 *
 * literal.c: by recursive descent, after "The Python Language Reference", chapters 2 and 6, and ast.literal_eval. Two
 * things are not looked into, as no value comes of them here: whether the name in "\N{name}" is one, and whether what
 * is a member of a set or a key could be one.
 */
#include "literal.h"

#include "fail.h"

#include <stdlib.h>
#include <string.h>

enum { DEEPEST = 200, NOT_ASCII = 0xff };

/* Where the reader stands. */
typedef struct cursor {
    const char *at, *end;
    const char *name;
    bool long_suffix;
    int depth; /* of brackets: within them, line ends are white space */
} cursor;

static literal *read_value(cursor *c);
static literal *read_one(cursor *c);

static _Noreturn void malformed(const cursor *c, const char *wanted)
{
    fail("%s is not a valid .npy file: its header has no %s where one belongs", c->name, wanted);
}

static int peek(const cursor *c)
{
    return c->at < c->end ? (unsigned char)*c->at : -1;
}

static bool is_digit(int c, int base)
{
    if (base <= 10) return c >= '0' && c < '0' + base;
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool continues_name(int c)
{
    return c == '_' || c >= 0x80 || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_blank(int c)
{
    return c == ' ' || c == '\t' || c == '\f';
}

static void skip_comment(cursor *c)
{
    while (c->at < c->end && *c->at != '\n') ++c->at;
}

/* White space, and what counts as such: comments within brackets, and line ends there or behind a backslash. */
static void skip(cursor *c)
{
    for (;;) {
        int next = peek(c);
        if (is_blank(next) || (next == '\n' && c->depth > 0)) {
            ++c->at;
        } else if (next == '#' && c->depth > 0) {
            skip_comment(c);
        } else if (next == '\\' && c->end - c->at > 2 && c->at[1] == '\n') {
            c->at += 2;
        } else {
            return;
        }
    }
}

/* Takes the character if it comes next. */
static bool take(cursor *c, char wanted)
{
    skip(c);
    if (peek(c) != wanted) return false;
    ++c->at;
    return true;
}

static literal *create(literal_kind kind)
{
    literal *value = allocate(1, sizeof *value);
    *value = (literal){.kind = kind};
    return value;
}

static int digit_value(int letter)
{
    return letter <= '9' ? letter - '0' : (letter | 0x20) - 'a' + 10;
}

/* A digit or more in that base, with single underscores between; adds them to value. */
static void read_digits(cursor *c, int base, literal *value)
{
    if (!is_digit(peek(c), base)) malformed(c, "digit");
    while (is_digit(peek(c), base)) {
        int digit = digit_value((unsigned char)*c->at++);
        value->huge = value->huge || value->number > (INT64_MAX - digit) / base;
        if (!value->huge) value->number = value->number * base + digit;
        if (peek(c) == '_' && c->end - c->at > 1 && is_digit((unsigned char)c->at[1], base)) ++c->at;
    }
}

/* What may follow the whole part of a decimal number; whether anything did, so that it is no integer. */
static bool read_fraction(cursor *c)
{
    literal unused = {.kind = LITERAL_OTHER};
    const char *start = c->at;
    if (peek(c) == '.') {
        ++c->at;
        if (is_digit(peek(c), 10)) read_digits(c, 10, &unused);
    }
    if (peek(c) == 'e' || peek(c) == 'E') {
        ++c->at;
        if (peek(c) == '+' || peek(c) == '-') ++c->at;
        read_digits(c, 10, &unused);
    }
    return c->at > start;
}

static literal *read_number(cursor *c)
{
    literal *value = create(LITERAL_INTEGER);
    const char *start = c->at;
    int base = 10, mark = c->end - c->at > 1 && *c->at == '0' ? c->at[1] | 0x20 : 0;
    if (mark == 'x' || mark == 'o' || mark == 'b') {
        base = mark == 'x' ? 16 : mark == 'o' ? 8 : 2;
        c->at += 2;
        if (peek(c) == '_') ++c->at;
    }
    if (base != 10 || peek(c) != '.') read_digits(c, base, value);
    bool fraction = base == 10 && read_fraction(c);
    value->imaginary = base == 10 && (peek(c) == 'j' || peek(c) == 'J');
    if (value->imaginary) ++c->at;
    if (fraction || value->imaginary) value->kind = LITERAL_OTHER;
    if (fraction && c->at - start == 1) malformed(c, "digit"); /* a point alone */
    if (value->kind == LITERAL_INTEGER && base == 10 && *start == '0' && (value->number != 0 || value->huge)) {
        malformed(c, "number without a leading zero");
    }
    if (c->long_suffix) {
        cursor after = *c;
        while (is_blank(peek(&after))) ++after.at;
        if (peek(&after) == 'L' && (after.end - after.at < 2 || !continues_name((unsigned char)after.at[1]))) {
            c->at = after.at + 1;
        }
    }
    if (continues_name(peek(c))) malformed(c, "end of a number");
    return value;
}

static bool is_number(const literal *value)
{
    return value->kind == LITERAL_INTEGER || value->imaginary;
}

/* A sign, and a number that has none. */
static literal *read_signed(cursor *c)
{
    bool minus = *c->at++ == '-';
    literal *value = read_one(c);
    bool real = value->kind == LITERAL_OTHER && value->text == NULL && value->members == NULL;
    if (value->is_signed || !(is_number(value) || real)) malformed(c, "number behind a sign");
    value->is_signed = true;
    if (minus) value->number = -value->number;
    return value;
}

/* The character that so many digits in that base stand for, as a byte of a string. */
static unsigned char read_code(cursor *c, int base, int least, int most)
{
    unsigned long code = 0;
    int count = 0;
    for (; count < most && is_digit(peek(c), base); ++count) {
        code = code * (unsigned long)base + (unsigned long)digit_value((unsigned char)*c->at++);
    }
    if (count < least || code > 0x10ffff) malformed(c, "number of a character");
    return code > 0 && code < 0x80 ? (unsigned char)code : NOT_ASCII;
}

/* What follows a backslash; adds to `to` and returns the end of it. */
static char *read_escape(cursor *c, bool bytes, char *to)
{
    static const char letters[] = "\\'\"abfnrtv", meanings[] = "\\'\"\a\b\f\n\r\t\v";
    int letter = peek(c);
    const char *known = letter > 0 ? strchr(letters, letter) : NULL;
    if (letter == '\n') {
        ++c->at; /* the line goes on */
    } else if (known != NULL) {
        ++c->at;
        *to++ = meanings[known - letters];
    } else if (is_digit(letter, 8)) {
        *to++ = (char)read_code(c, 8, 1, 3);
    } else if (letter == 'x' || (!bytes && (letter == 'u' || letter == 'U'))) {
        int digits = letter == 'x' ? 2 : letter == 'u' ? 4 : 8;
        ++c->at;
        *to++ = (char)read_code(c, 16, digits, digits);
    } else if (letter == 'N' && !bytes) {
        const char *close = memchr(c->at, '}', (size_t)(c->end - c->at));
        if (c->end - c->at < 3 || c->at[1] != '{' || close == NULL || close == c->at + 2)
            malformed(c, "character's name");
        c->at = close + 1;
        *to++ = (char)NOT_ASCII;
    } else {
        *to++ = '\\'; /* which means nothing before other letters, and stays */
    }
    return to;
}

/* One string, after its prefix, added to `to`, which has room; returns the end of it. */
static char *read_quoted(cursor *c, bool raw, bool bytes, char *to)
{
    char quote = *c->at;
    bool triple = c->end - c->at >= 3 && c->at[1] == quote && c->at[2] == quote;
    c->at += triple ? 3 : 1;
    for (;;) {
        int letter = peek(c);
        if (letter < 0 || (letter == '\n' && !triple)) malformed(c, "closing quotation mark");
        if (letter == quote && (!triple || (c->end - c->at >= 3 && c->at[1] == quote && c->at[2] == quote))) break;
        ++c->at;
        if (letter == '\\' && !raw) {
            to = read_escape(c, bytes, to);
        } else {
            if (bytes && letter >= 0x80) malformed(c, "ASCII character");
            *to++ = (char)(letter < 0x80 ? letter : NOT_ASCII);
            if (letter == '\\' && c->at < c->end) *to++ = *c->at++; /* also a quotation mark stays in */
        }
    }
    c->at += triple ? 3 : 1;
    return to;
}

/* The length of the prefix of a string that starts here, and what it says; -1 where no string starts. */
static int string_prefix(const cursor *c, bool *raw, bool *bytes)
{
    int length = 0;
    bool unicode = false;
    *raw = *bytes = false;
    for (; length < 3 && c->at + length < c->end; ++length) {
        int letter = (unsigned char)c->at[length];
        if (letter == '\'' || letter == '"') return unicode && length > 1 ? -1 : length;
        bool *said = letter == 'r' || letter == 'R'   ? raw
                     : letter == 'b' || letter == 'B' ? bytes
                     : letter == 'u' || letter == 'U' ? &unicode
                                                      : NULL;
        if (said == NULL || *said) return -1;
        *said = true;
    }
    return -1;
}

/* Strings beside each other are one. */
static literal *read_strings(cursor *c)
{
    literal *value = create(LITERAL_STRING);
    char *to = value->text = allocate((size_t)(c->end - c->at) + 1, 1);
    bool raw, bytes, first = true;
    for (int prefix; (prefix = string_prefix(c, &raw, &bytes)) >= 0; first = false) {
        if (!first && bytes != (value->kind == LITERAL_OTHER)) malformed(c, "string of the same kind");
        if (bytes) value->kind = LITERAL_OTHER;
        c->at += prefix;
        to = read_quoted(c, raw, bytes, to);
        skip(c);
    }
    *to = '\0';
    return value;
}

static bool take_word(cursor *c, const char *word)
{
    size_t length = strlen(word);
    if ((size_t)(c->end - c->at) < length || memcmp(c->at, word, length) != 0) return false;
    if ((size_t)(c->end - c->at) > length && continues_name((unsigned char)c->at[length]) && word[0] != '.')
        return false;
    c->at += length;
    return true;
}

/* Members up to a closing bracket. In braces, where first has a colon behind it, all members are pairs. */
static literal *read_members(cursor *c, literal_kind kind, char close)
{
    literal *value = create(kind), **last = &value->members;
    size_t count = 0;
    bool comma = false;
    ++c->at;
    if (++c->depth > DEEPEST)
        fail("%s has a .npy header with more than %d brackets within each other", c->name, DEEPEST);
    for (; !take(c, close); ++count) {
        if (count > 0 && !comma)
            malformed(c, (const char[]){'\'', ',', '\'', ' ', 'o', 'r', ' ', '\'', close, '\'', '\0'});
        *last = read_value(c);
        last = &(*last)->next;
        bool pair = kind == LITERAL_DICTIONARY && take(c, ':');
        if (count == 0 && kind == LITERAL_DICTIONARY && !pair) value->kind = LITERAL_OTHER; /* a set */
        if (kind == LITERAL_DICTIONARY && pair != (value->kind == LITERAL_DICTIONARY)) malformed(c, "':'");
        if (pair) {
            *last = read_value(c);
            last = &(*last)->next;
        }
        comma = take(c, ',');
    }
    --c->depth;
    if (kind != LITERAL_TUPLE || count != 1 || comma) return value;
    literal *alone = value->members; /* in brackets, and no tuple */
    free(value);
    return alone;
}

static literal *read_word(cursor *c)
{
    if (take_word(c, "True") || take_word(c, "False")) {
        literal *value = create(LITERAL_BOOL);
        value->number = c->at[-2] == 'u';
        return value;
    }
    if (!take_word(c, "None") && !take_word(c, "...")) malformed(c, "literal");
    literal *value = create(LITERAL_OTHER);
    value->text = copy_string("");
    return value;
}

static literal *read_one(cursor *c)
{
    bool raw, bytes;
    skip(c);
    int next = peek(c);
    if (next == '(') return read_members(c, LITERAL_TUPLE, ')');
    if (next == '[') return read_members(c, LITERAL_LIST, ']');
    if (next == '{') return read_members(c, LITERAL_DICTIONARY, '}');
    if (next == '+' || next == '-') return read_signed(c);
    bool point = next == '.' && c->end - c->at > 1 && is_digit((unsigned char)c->at[1], 10);
    if (is_digit(next, 10) || point) return read_number(c);
    return string_prefix(c, &raw, &bytes) >= 0 ? read_strings(c) : read_word(c);
}

/* A complex number is a sum of two. */
static literal *read_value(cursor *c)
{
    literal *value = read_one(c);
    skip(c);
    bool real = value->kind == LITERAL_INTEGER || (value->kind == LITERAL_OTHER && value->text == NULL);
    if (!real || value->members != NULL || value->imaginary || (peek(c) != '+' && peek(c) != '-')) return value;
    ++c->at;
    skip(c);
    literal *part = read_number(c);
    if (!part->imaginary) malformed(c, "imaginary number");
    literal_free(part);
    value->kind = LITERAL_OTHER;
    value->is_signed = true;
    skip(c);
    return value;
}

/* Lines with nothing but white space and comments; fails where the line that comes then is indented. */
static void skip_lines(cursor *c)
{
    for (;;) {
        int column = 0;
        for (; is_blank(peek(c)); ++c->at) column = *c->at == '\f' ? 0 : column + 1;
        if (peek(c) == '#') skip_comment(c);
        if (peek(c) != '\n') {
            if (column > 0 && c->at < c->end) malformed(c, "line without indentation");
            return;
        }
        ++c->at;
    }
}

/* A copy with every end of a line a newline; *length becomes its length. */
static char *with_newlines(const char *text, size_t *length)
{
    char *copy = allocate(*length + 1, 1);
    size_t used = 0;
    for (size_t i = 0; i < *length; ++i) {
        if (text[i] == '\n' && i > 0 && text[i - 1] == '\r') continue;
        copy[used++] = (char)(text[i] == '\r' ? '\n' : text[i]);
    }
    *length = used;
    return copy;
}

literal *literal_read(const char *name, const char *text, size_t length, bool long_suffix)
{
    char *copy = with_newlines(text, &length);
    cursor c = {.at = copy, .end = copy + length, .name = name, .long_suffix = long_suffix};
    if (memchr(copy, '\0', length) != NULL) malformed(&c, "text");
    while (peek(&c) == ' ' || peek(&c) == '\t') ++c.at; /* literal_eval does */
    skip_lines(&c);
    literal *value = read_value(&c);
    if (peek(&c) == '#') skip_comment(&c);
    if (peek(&c) == '\n') skip_lines(&c);
    if (c.at < c.end) malformed(&c, "end");
    free(copy);
    return value;
}

void literal_free(literal *value)
{
    while (value != NULL) {
        literal *next = value->next;
        literal_free(value->members);
        free(value->text);
        free(value);
        value = next;
    }
}

bool literal_is(const literal *value, const char *text)
{
    return value->kind == LITERAL_STRING && strcmp(value->text, text) == 0;
}
