/* SPDX-License-Identifier: BSD-3-Clause
 *
 * npy_header.c: the header of a .npy file, a Python dictionary like
 *     {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }
 * with exactly these keys; written in any way that NumPy reads it.
 */
#include "npy_header.h"

#include "fail.h"
#include "literal.h"

#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistr.h>

enum { LATIN_VERSIONS = 2, LONGEST_HEADER = 10000 }; /* NumPy's own limit, in characters */
enum { U2 = -1 };                                    /* no dtype of the library's */

static _Noreturn void malformed(const char *name, const char *wanted)
{
    fail("%s is not a valid .npy file: its header has no %s", name, wanted);
}

/* The value of a key; of several, Python takes the last one. */
static const literal *value_of(const literal *dictionary, const char *key)
{
    const literal *found = NULL;
    for (const literal *k = dictionary->members; k != NULL; k = k->next->next) {
        if (literal_is(k, key)) found = k->next;
    }
    return found;
}

static void check_keys(const literal *header, const char *name)
{
    static const char *const keys[] = {"descr", "fortran_order", "shape"};
    if (header->kind != LITERAL_DICTIONARY) malformed(name, "dictionary");
    for (const literal *k = header->members; k != NULL; k = k->next->next) {
        bool known = false;
        for (size_t i = 0; i < sizeof keys / sizeof keys[0]; ++i) known = known || literal_is(k, keys[i]);
        if (!known)
            fail("%s is not a valid .npy file: its header has a key besides descr, fortran_order and shape", name);
    }
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; ++i) {
        if (value_of(header, keys[i]) == NULL) malformed(name, keys[i]);
    }
}

static void take_shape(const literal *shape, const char *name, npy_header *header)
{
    if (shape->kind != LITERAL_TUPLE) malformed(name, "tuple as its shape");
    for (const literal *dimension = shape->members; dimension != NULL; dimension = dimension->next) {
        if (dimension->kind != LITERAL_INTEGER) malformed(name, "whole number for each dimension");
        if (dimension->huge) fail("%s has a dimension that does not fit in 64 bits", name);
        if (dimension->number < 0) fail("%s has a negative dimension in its shape", name);
        if (header->ndim == 4) fail("%s has more than the 4 dimensions that attn reads", name);
        header->shape[header->ndim++] = dimension->number;
    }
    if (header->ndim == 0) fail("%s holds a single number without dimensions; attn reads arrays of rank 1 to 4", name);
}

/* A type without its byte order: a letter that names it, a letter and its bytes, or, where no byte order is given, a
 * name. */
static attn_dtype dtype_of(const char *code, bool ordered)
{
    const attn_dtype of_long = sizeof(long) == 8 ? ATTN_I64 : ATTN_I32;
    const attn_dtype of_pointer = sizeof(void *) == 8 ? ATTN_I64 : ATTN_I32;
    const struct {
        const char *name;
        attn_dtype dtype;
    } named[] = {{"e", ATTN_F16},        {"half", ATTN_F16},    {"float16", ATTN_F16}, {"H", U2},
                 {"uint16", U2},         {"ushort", U2},        {"?", ATTN_BOOL},      {"f", ATTN_F32},
                 {"d", ATTN_F64},        {"i", ATTN_I32},       {"l", of_long},        {"q", ATTN_I64},
                 {"p", of_pointer},      {"n", of_pointer},     {"bool", ATTN_BOOL},   {"bool_", ATTN_BOOL},
                 {"float", ATTN_F64},    {"float32", ATTN_F32}, {"single", ATTN_F32},  {"float64", ATTN_F64},
                 {"double", ATTN_F64},   {"int", of_pointer},   {"int_", of_pointer},  {"intp", of_pointer},
                 {"intc", ATTN_I32},     {"int32", ATTN_I32},   {"int64", ATTN_I64},   {"long", of_long},
                 {"longlong", ATTN_I64}, {"b", ATTN_I8},        {"int8", ATTN_I8},     {"byte", ATTN_I8}};
    for (size_t i = 0; i < sizeof named / sizeof named[0]; ++i) {
        bool letter = named[i].name[1] == '\0';
        if ((letter || !ordered) && strcmp(code, named[i].name) == 0) return named[i].dtype;
    }
    char *end;
    long bytes = code[0] != '\0' && code[1] != '\0' ? strtol(code + 1, &end, 10) : 0;
    if (bytes == 0 || *end != '\0') return 0;
    if (code[0] == 'f') return bytes == 2 ? ATTN_F16 : bytes == 4 ? ATTN_F32 : bytes == 8 ? ATTN_F64 : 0;
    if (code[0] == 'V') return bytes == 2 ? ATTN_BF16 : 0; /* NumPy has no name for it */
    if (code[0] == 'u') return bytes == 2 ? U2 : 0;
    if (code[0] == 'i') return bytes == 1 ? ATTN_I8 : bytes == 4 ? ATTN_I32 : bytes == 8 ? ATTN_I64 : 0;
    return code[0] == 'b' && bytes == 1 ? ATTN_BOOL : 0;
}

static void take_dtype(const literal *descr, const char *name, attn_dtype u2, npy_header *header)
{
    if (descr->kind == LITERAL_LIST) fail("%s holds records with named fields, which attn does not read", name);
    if (descr->kind != LITERAL_STRING) malformed(name, "type of elements");
    const char *code = descr->text;
    bool ordered = code[0] != '\0' && strchr("<>=|", code[0]) != NULL;
    bool big = ordered && code[0] == '>', little = ordered && code[0] == '<';
    if (code[ordered] == 'O') fail("%s holds pickled Python objects, which attn does not load", name);
    header->dtype = dtype_of(code + ordered, ordered);
    if (header->dtype == U2) {
        header->dtype = u2;
        if (u2 == 0)
            fail("%s holds u2 (uint16); where these are the bits of bfloat16, attn run takes --u2-is-bf16", name);
    }
    if (header->dtype == 0) {
        fail("%s holds elements of type '%.20s'; attn reads f2, f4, f8, V2 (bfloat16), b1 (bool), i1, i4 and i8", name,
             code);
    }
    header->element_bytes = npy_element_bytes(header->dtype);
    bool other = npy_machine_is_little_endian() ? big : little;
    header->swapped = header->element_bytes > 1 && other;
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

static void check_text(const char *name, unsigned version, const char *text, size_t length)
{
    const uint8_t *bytes = (const uint8_t *)text;
    if (version > LATIN_VERSIONS && u8_check(bytes, length) != NULL) malformed(name, "UTF-8");
    size_t characters = version > LATIN_VERSIONS ? u8_mbsnlen(bytes, length) : length;
    if (characters > LONGEST_HEADER) {
        fail("%s has a .npy header of %zu characters; NumPy and attn read at most %d", name, characters,
             LONGEST_HEADER);
    }
}

npy_header npy_parse_header(const char *name, unsigned version, const char *text, size_t length, attn_dtype u2)
{
    npy_header header = {0};
    check_text(name, version, text, length);
    literal *said = literal_read(name, text, length, version <= LATIN_VERSIONS);
    check_keys(said, name);
    const literal *order = value_of(said, "fortran_order");
    if (order->kind != LITERAL_BOOL) malformed(name, "True or False as its fortran_order");
    header.fortran_order = order->number != 0;
    take_shape(value_of(said, "shape"), name, &header);
    take_dtype(value_of(said, "descr"), name, u2, &header);
    measure(&header, name);
    literal_free(said);
    return header;
}

size_t npy_element_bytes(attn_dtype dtype)
{
    switch (dtype) {
    case ATTN_BOOL:
    case ATTN_I8:
        return 1;
    case ATTN_F16:
    case ATTN_BF16:
        return 2;
    case ATTN_F32:
    case ATTN_I32:
        return 4;
    case ATTN_F64:
    case ATTN_I64:
        return 8;
    default:
        return 0;
    }
}

bool npy_machine_is_little_endian(void)
{
    const uint16_t one = 1;
    unsigned char first;
    memcpy(&first, &one, 1);
    return first == 1;
}
