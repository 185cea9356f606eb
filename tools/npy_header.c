/* SPDX-License-Identifier: BSD-3-Clause
 *
 * npy_header.c: the header of a .npy file, a Python dictionary like
 *     {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }
 * with exactly these keys, in any order. Nothing is allocated here, and nothing past the text is looked at.
 */
#include "fail.h"
#include "npy.h"

#include <stdint.h>
#include <string.h>

/* Where the parser stands. */
typedef struct cursor {
    const char *at;
    const char *end;
    const char *name;
} cursor;

/* A piece of the text. */
typedef struct span {
    const char *start;
    size_t length;
} span;

static _Noreturn void malformed(const cursor *c, const char *wanted)
{
    fail("%s is not a valid .npy file: its header has no %s where one belongs", c->name, wanted);
}

static void skip_space(cursor *c)
{
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\n')) ++c->at;
}

/* Takes the character if it comes next. */
static bool take(cursor *c, char wanted)
{
    skip_space(c);
    if (c->at == c->end || *c->at != wanted) return false;
    ++c->at;
    return true;
}

static void expect(cursor *c, char wanted)
{
    if (!take(c, wanted)) malformed(c, (const char[]){'\'', wanted, '\'', '\0'});
}

static bool is(span s, const char *word)
{
    return s.length == strlen(word) && memcmp(s.start, word, s.length) == 0;
}

static span parse_string(cursor *c)
{
    char quote = '\'';
    if (!take(c, quote)) {
        quote = '"';
        expect(c, quote);
    }
    span s = {c->at, 0};
    const char *close = memchr(c->at, quote, (size_t)(c->end - c->at));
    if (close == NULL) malformed(c, "closing quotation mark");
    s.length = (size_t)(close - s.start);
    c->at = close + 1;
    return s;
}

static bool parse_bool(cursor *c)
{
    if (take(c, 'T') && c->end - c->at >= 3 && memcmp(c->at, "rue", 3) == 0) {
        c->at += 3;
        return true;
    }
    if (take(c, 'F') && c->end - c->at >= 4 && memcmp(c->at, "alse", 4) == 0) {
        c->at += 4;
        return false;
    }
    malformed(c, "True or False");
}

static int64_t parse_dimension(cursor *c)
{
    if (take(c, '-')) fail("%s has a negative dimension in its shape", c->name);
    if (c->at == c->end || *c->at < '0' || *c->at > '9') malformed(c, "number");
    int64_t number = 0;
    for (; c->at < c->end && *c->at >= '0' && *c->at <= '9'; ++c->at) {
        int digit = *c->at - '0';
        if (number > (INT64_MAX - digit) / 10) fail("%s has a dimension that does not fit in 64 bits", c->name);
        number = number * 10 + digit;
    }
    if (c->at < c->end && *c->at == 'L') ++c->at; /* Python 2 */
    return number;
}

static void parse_shape(cursor *c, npy_header *header)
{
    expect(c, '(');
    int32_t ndim = 0;
    bool more = true;
    while (!take(c, ')')) {
        if (!more) malformed(c, "',' or ')'");
        int64_t dimension = parse_dimension(c);
        if (ndim == 4) fail("%s has more than the 4 dimensions that attn reads", c->name);
        header->shape[ndim++] = dimension;
        more = take(c, ',');
    }
    if (ndim == 0) fail("%s holds a single number without dimensions; attn reads arrays of rank 1 to 4", c->name);
    if (ndim == 1 && !more) malformed(c, "',' after a single dimension");
    header->ndim = ndim;
}

bool npy_machine_is_little_endian(void)
{
    const uint16_t one = 1;
    unsigned char first;
    memcpy(&first, &one, 1);
    return first == 1;
}

static void parse_dtype(cursor *c, npy_header *header)
{
    static const struct {
        const char *code;
        attn_dtype dtype;
    } known[] = {{"f4", ATTN_F32}, {"f8", ATTN_F64}, {"b1", ATTN_BOOL}, {"i4", ATTN_I32}, {"i8", ATTN_I64}};

    if (take(c, '[')) fail("%s holds records with named fields, which attn does not read", c->name);
    span s = parse_string(c);
    if (s.length >= 2 && s.start[1] == 'O') fail("%s holds pickled Python objects, which attn does not load", c->name);
    for (size_t i = 0; s.length == 3 && i < sizeof known / sizeof known[0]; ++i) {
        if (!is((span){s.start + 1, 2}, known[i].code)) continue;
        size_t bytes = npy_element_bytes(known[i].dtype);
        bool little = s.start[0] == '<', big = s.start[0] == '>';
        if (!little && !big && !(bytes == 1 && s.start[0] == '|')) break;
        header->dtype = known[i].dtype;
        header->element_bytes = bytes;
        header->swapped = bytes > 1 && little != npy_machine_is_little_endian();
        return;
    }
    int shown = s.length < 20 ? (int)s.length : 20;
    fail("%s holds elements of type '%.*s'; attn reads f4, f8, b1 (bool), i4 and i8", c->name, shown, s.start);
}

/* Sets payload_bytes. Zero dimensions count as 1 here: strides past them must be addressable too. */
static void measure(npy_header *header, const char *name)
{
    size_t most = PTRDIFF_MAX, bytes = header->element_bytes;
    bool empty = false;
    for (int32_t i = 0; i < header->ndim; ++i) {
        size_t dimension = (size_t)header->shape[i];
        if (dimension == 0) {
            empty = true;
            continue;
        }
        if (bytes > most / dimension) fail("%s has a shape too large to be addressed", name);
        bytes *= dimension;
    }
    header->payload_bytes = empty ? 0 : bytes;
}

npy_header npy_parse_header(const char *name, const char *text, size_t length)
{
    enum { DESCR = 1, ORDER = 2, SHAPE = 4, ALL = 7 };
    cursor c = {.at = text, .end = text + length, .name = name};
    npy_header header = {0};
    unsigned seen = 0;
    bool more = true;
    expect(&c, '{');
    while (!take(&c, '}')) {
        if (!more) malformed(&c, "',' or '}'");
        span key = parse_string(&c);
        unsigned which = is(key, "descr") ? DESCR : is(key, "fortran_order") ? ORDER : is(key, "shape") ? SHAPE : 0;
        if (which == 0 || (seen & which) != 0) malformed(&c, "key out of descr, fortran_order and shape, each once,");
        seen |= which;
        expect(&c, ':');
        if (which == DESCR) parse_dtype(&c, &header);
        if (which == ORDER) header.fortran_order = parse_bool(&c);
        if (which == SHAPE) parse_shape(&c, &header);
        more = take(&c, ',');
    }
    if (seen != ALL) malformed(&c, "key out of descr, fortran_order and shape");
    skip_space(&c);
    if (c.at != c.end) malformed(&c, "end");
    measure(&header, name);
    return header;
}
