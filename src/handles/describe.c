/* SPDX-License-Identifier: BSD-3-Clause
 *
 * handles/describe.c: an engine in words: attn_engine_describe's JSON, and the library's version. */
#include "handles/engine.h"
#include "handles/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define STRING_OF(x) #x
#define STRING(x)    STRING_OF(x)
#define VERSION      STRING(ATTN_VERSION_MAJOR) "." STRING(ATTN_VERSION_MINOR) "." STRING(ATTN_VERSION_PATCH)

enum { LONGEST_STRING = 300 };

/* Text that grows to what fits and counts the rest. */
typedef struct text {
    char bytes[4096];
    size_t length;
} text;

static void put(text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void put(text *t, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    size_t room = t->length < sizeof t->bytes ? sizeof t->bytes - t->length : 0;
    int wrote = vsnprintf(room > 0 ? t->bytes + t->length : NULL, room, format, arguments);
    va_end(arguments);
    if (wrote > 0) t->length += (size_t)wrote;
}

/* A JSON string, of foreign words only so many that the whole always fits. What is not printable ASCII cannot be
 * trusted to be UTF-8, and becomes '?'. */
static void put_string(text *t, const char *string)
{
    put(t, "\"");
    for (const char *c = string; *c != '\0' && c - string < LONGEST_STRING; c++) {
        if (*c == '"' || *c == '\\') {
            put(t, "\\%c", *c);
        } else {
            put(t, "%c", *c >= ' ' && *c <= '~' ? *c : '?');
        }
    }
    put(t, "\"");
}

static void put_member(text *t, const char *name, const char *value)
{
    put(t, "\"%s\":", name);
    put_string(t, value);
    put(t, ",");
}

/* ["sse2","avx"] of "sse2 avx" */
static void put_words(text *t, const char *name, const char *words)
{
    put(t, "\"%s\":[", name);
    for (const char *word = words; *word != '\0';) {
        int length = (int)strcspn(word, " ");
        put(t, "%s\"%.*s\"", word == words ? "" : ",", length, word);
        word += length;
        word += *word == ' ';
    }
    put(t, "]");
}

static const char *boolean(int value)
{
    return value ? "true" : "false";
}

/* The instruction that multiplies numbers of this type. */
static const char *fast(const attn_engine *engine, attn_dtype dtype)
{
    const attn_i_fast_kernels *kernels = attn_i_engine_fast_kernels(engine, dtype);
    return kernels == NULL ? "exact" : kernels->instruction;
}

static void describe(const attn_engine *engine, text *t)
{
    const attn_i_cpu *cpu = &engine->cpu;
    const attn_i_blas_info *blas = &engine->blas;
    put(t, "{");
    put_member(t, "version", VERSION);
    put(t, "\"abi\":%d,", (int)attn_abi_version());
    put_member(t, "way", engine->way == ATTN_WAY_BLAS ? "blas" : "tiles");
    put_member(t, "products", engine->own_products ? "own" : "blas");
    put(t, "\"threads\":%d,\"executor\":%s,", (int)engine->threads, boolean(engine->has_executor));
    put_member(t, "kernels", attn_i_engine_kernels(engine, ATTN_F32)->name);
    put(t, "\"fast\":{\"bf16\":\"%s\",\"i8\":\"%s\"},", fast(engine, ATTN_BF16), fast(engine, ATTN_I8));
    put(t, "\"cpu\":{");
    put_member(t, "architecture", cpu->architecture);
    put_member(t, "model", cpu->model);
    put(t, "\"count\":%d,\"vector_bits\":%d,", cpu->count, cpu->vector_bits);
    put_words(t, "features", cpu->features);
    put(t, "},\"blas\":{");
    put_member(t, "library", blas->library);
    put_member(t, "version", blas->version);
    put_member(t, "file", blas->file);
    put_member(t, "core", blas->core);
    put_member(t, "threading", blas->threading);
    put(t, "\"vector_bits\":%d,\"threads\":%d,\"serialised\":%s,\"suits_cpu\":%s,", blas->vector_bits, blas->threads,
        boolean(blas->serialised), boolean(blas->suits_cpu));
    put(t, "\"advice\":");
    put_string(t, blas->advice);
    put(t, "}}");
}

attn_status attn_engine_describe(const attn_engine *engine, char *json, size_t *bytes)
{
    static const char where[] = "attn_engine_describe";
    if (engine == NULL || bytes == NULL) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "%s: %s is NULL", where, engine == NULL ? "engine" : "bytes");
    }
    text t = {.length = 0};
    describe(engine, &t);
    size_t room = *bytes, needed = t.length + 1;
    if (json != NULL && room < needed) {
        *bytes = needed;
        return attn_i_fail(ATTN_ERR_BUFFER, "%s: the text needs %zu bytes, but json has %zu", where, needed, room);
    }
    *bytes = needed;
    if (json != NULL) memcpy(json, t.bytes, needed);
    return ATTN_OK;
}

const char *attn_version(void)
{
    return VERSION;
}

int32_t attn_abi_version(void)
{
    return ATTN_ABI_VERSION;
}
