/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_bad_input.c: wrong calls. Each row starts from a struct with which every function succeeds and changes a field
 * or two. A refused call must leave the whole struct as it was, byte for byte, and its handles as good as before.
 */
#define _POSIX_C_SOURCE 200112L
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bad_input.h"

/* ---------------------------------------------------------------------------------------------- checking */

struct change {
    size_t at, size;
    int64_t number;
    size_t from; /* another field, whose bytes are copied; 0: the number */
    double real; /* for fields of 8 bytes where it is not 0 */
    const char *text;
};

#define FIELD_SIZE(field) sizeof(((struct call *)0)->field)
#define SET(field, number)                                                                                             \
    {                                                                                                                  \
        offsetof(struct call, field), FIELD_SIZE(field), (number), 0, 0, #field " = " #number                          \
    }
#define REAL(field, real)                                                                                              \
    {                                                                                                                  \
        offsetof(struct call, field), FIELD_SIZE(field), 0, 0, (real), #field " = " #real                              \
    }
#define COPY(field, other)                                                                                             \
    {                                                                                                                  \
        offsetof(struct call, field), FIELD_SIZE(field), 0, offsetof(struct call, other), 0, #field " = " #other       \
    }

struct row {
    const struct function *function;
    attn_status status;
    const char *word; /* that the sentence holds */
    struct change changes[10];
};

#define IN(function, status, word, ...)                                                                                \
    {                                                                                                                  \
        &in_attn_##function, ATTN_ERR_##status, word,                                                                  \
        {                                                                                                              \
            __VA_ARGS__                                                                                                \
        }                                                                                                              \
    }

/* Little-endian or not: the low bytes of an integer of any size. */
static void put(void *field, size_t size, int64_t number)
{
    const int8_t n8 = (int8_t)number;
    const int32_t n32 = (int32_t)number;
    memcpy(field, size == 8 ? (const void *)&number : size == 4 ? (const void *)&n32 : (const void *)&n8, size);
}

static void change(struct call *c, const struct change *change)
{
    unsigned char *field = (unsigned char *)c + change->at;
    if (change->from != 0) {
        memmove(field, (unsigned char *)c + change->from, change->size);
    } else if (change->real != 0) {
        memcpy(field, &change->real, sizeof change->real);
    } else {
        put(field, change->size, change->number);
    }
}

/* What the tests start from, as it was created; and the results that it leads to. */
static struct call *pristine, *original, *computed, *before;

/* The same handles still compute the same, and a success says nothing. */
static void check_still_works(const char *what)
{
    char sentence[512];
    snprintf(sentence, sizeof sentence, "%s", attn_last_error());
    MUST(attn_forward(pristine->mechanism, &pristine->args));
    if (memcmp(pristine, computed, sizeof *pristine) != 0) fail_msg("%s: attn_forward computes otherwise now", what);
    memcpy(pristine, original, sizeof *pristine);
    assert_string_equal(sentence, attn_last_error());
}

/* Changes *pristine (which is where its own pointers point), calls, and puts it back. */
static void check_refused(const struct function *function, attn_status status, const char *word,
                          const struct change *changes, int count)
{
    char what[256];
    snprintf(what, sizeof what, "%s with %s%s%s", function->name, changes[0].text, count > 1 ? ", " : "",
             count > 1 ? changes[1].text : "");
    for (int i = 0; i < count; i++) change(pristine, &changes[i]);
    memcpy(before, pristine, sizeof *before);
    const int64_t alive = blocks_alive;
    const attn_status got = function->call(pristine);
    const char *sentence = attn_last_error();
    const size_t length = strlen(function->name);
    if (got != status) fail_msg("%s: %s (%s)", what, attn_status_string(got), got == ATTN_OK ? "" : sentence);
    if (strncmp(sentence, function->name, length) != 0 || sentence[length] != ':') {
        fail_msg("%s: the sentence does not begin with the function: %s", what, sentence);
    }
    if (strstr(sentence + length, word) == NULL) fail_msg("%s: the sentence lacks \"%s\": %s", what, word, sentence);
    if (function == &in_attn_engine_describe && status == ATTN_ERR_BUFFER) before->bytes = pristine->bytes;
    if (memcmp(before, pristine, sizeof *before) != 0) fail_msg("%s: something was written", what);
    if (blocks_alive != alive) fail_msg("%s: memory leaked", what);
    /* attn_forward_workspace refuses what attn_forward refuses, the workspace apart. */
    if (function == &in_attn_forward && strncmp(word, "workspace", 9) != 0 && status != ATTN_ERR_NOMEM) {
        if (in_attn_forward_workspace.call(pristine) != status) fail_msg("%s: but has a workspace", what);
        if (strstr(attn_last_error(), word) == NULL) fail_msg("%s: %s", what, attn_last_error());
        if (memcmp(before, pristine, sizeof *before) != 0) fail_msg("%s: its workspace was written", what);
    }
    memcpy(pristine, original, sizeof *pristine);
    check_still_works(what);
}

/* ------------------------------------------------------------------------------------------------- rows */

/* The calls of other layouts. */
#define RAGGED   COPY(forward_args, to_ragged)
#define PAGED    COPY(forward_args, to_paged)
#define TREE     COPY(forward_args, to_tree)
#define PACKED   PAGED, COPY(paged.page_table, to_packed_table), COPY(paged.page_offsets, to_page_offsets)
#define INTEGERS COPY(append_args, to_append_integers)
#define MEMORY   PAGED, COPY(paged.memory, memory), SET(paged.key, 0), SET(paged.value, 0), SET(paged.key_lengths, 0)

static const struct row rows[] = {
    IN(forward, ARGUMENT, "mechanism", SET(mechanism, 0)),
    IN(forward, ARGUMENT, "args", SET(forward_args, 0)),
    IN(forward, ARGUMENT, "query", SET(args.query, 0)),
    IN(forward, ARGUMENT, "key", SET(args.key, 0)),
    IN(forward, ARGUMENT, "value", COPY(mechanism, location), SET(args.key, 0), SET(args.value, 0)),
    IN(forward, ARGUMENT, "logsumexp", SET(args.context, 0), SET(args.weights, 0), SET(args.scores, 0),
       SET(args.logsumexp, 0)),
    IN(forward, STRUCT_SIZE, "struct_size", SET(args.struct_size, 0)),
    IN(forward, STRUCT_SIZE, "struct_size", SET(args.struct_size, sizeof(attn_forward_args) - 1)),
    IN(forward, STRUCT_SIZE, "struct_size", SET(args.struct_size, offsetof(attn_forward_args, value_scales))),
    IN(forward, STRUCT_SIZE, "struct_size", SET(args.struct_size, offsetof(attn_forward_args, key_scales) - 1)),
    IN(forward, STRUCT_SIZE, "struct_size", SET(args.struct_size, 4097)),
    IN(forward, STRUCT_SIZE, "struct_size", SET(args.struct_size, UINT32_MAX)),
    IN(forward, STRUCT_SIZE, "struct_size", SET(args.struct_size, sizeof(attn_forward_args) + 1), SET(args_tail[0], 1)),
    IN(forward, STRUCT_SIZE, "struct_size", SET(args.struct_size, 4096),
       SET(args_tail[4095 - sizeof(attn_forward_args)], 1)),
    IN(forward, ARGUMENT, "scores_stage", SET(args.scores_stage, -1)),
    IN(forward, ARGUMENT, "scores_stage", SET(args.scores_stage, 4)),
    IN(forward, DTYPE, "query", SET(query.dtype, ATTN_I32)),
    IN(forward, DTYPE, "key", SET(key.dtype, ATTN_F64)),
    IN(forward, DTYPE, "value", SET(value.dtype, ATTN_F64)),
    IN(forward, DTYPE, "bias", SET(bias.dtype, ATTN_BOOL)),
    IN(forward, DTYPE, "mask", SET(mask.dtype, ATTN_F32)),
    IN(forward, DTYPE, "key_lengths", SET(key_lengths.dtype, ATTN_F64)),
    IN(forward, DTYPE, "context", SET(context.dtype, ATTN_F64)),
    IN(forward, DTYPE, "logsumexp", SET(logsumexp.dtype, ATTN_I32)),
    IN(forward, DTYPE, "W", COPY(mechanism, doubles)),
    IN(forward, DTYPE, "slopes", COPY(mechanism, sloped_double)),
    IN(forward, SHAPE, "slopes", COPY(mechanism, sloped), SET(query.shape[1], 2)),
    IN(forward, DTYPE, "sinks", COPY(mechanism, sunk_double)),
    IN(forward, SHAPE, "sinks", COPY(mechanism, sunk), SET(query.shape[1], 2)),
    IN(forward, SHAPE, "heads", SET(query.shape[1], 3)),
    IN(forward, SHAPE, "heads", SET(query.shape[1], 0)),
    IN(forward, SHAPE, "heads", SET(key.shape[1], 0)),
    IN(forward, SHAPE, "heads", SET(key.shape[1], 8)),
    IN(forward, SHAPE, "batch", SET(key.shape[0], 1)),
    IN(forward, SHAPE, "value", SET(value.shape[0], 1)),
    IN(forward, SHAPE, "value", SET(value.shape[1], 1)),
    IN(forward, SHAPE, "value", SET(value.shape[2], 4)),
    IN(forward, SHAPE, "context", SET(value.shape[3], 0)),
    IN(forward, SHAPE, "context", SET(args.value, 0)),
    IN(forward, SHAPE, "query", SET(query.shape[3], 0)),
    IN(forward, SHAPE, "key", SET(key.shape[3], 0)),
    IN(forward, SHAPE, "query", SET(query.shape[3], 2)),
    IN(forward, SHAPE, "key", COPY(mechanism, narrow)),
    IN(forward, SHAPE, "dot", COPY(mechanism, dot)),
    IN(forward, SHAPE, "location", COPY(mechanism, location)),
    IN(forward, SHAPE, "mask", SET(mask.shape[3], 4)),
    IN(forward, SHAPE, "mask", SET(mask.shape[1], 2)),
    IN(forward, SHAPE, "bias", SET(bias.shape[2], 2)),
    IN(forward, SHAPE, "bias", SET(bias.shape[0], 0)),
    IN(forward, SHAPE, "key_lengths", SET(key_lengths.shape[0], 1)),
    IN(forward, SHAPE, "key_lengths", SET(key_lengths.ndim, 2)),
    IN(forward, SHAPE, "context", SET(context.ndim, 3)),
    IN(forward, SHAPE, "weights", SET(weights.shape[3], 4)),
    IN(forward, SHAPE, "scores", SET(scores.shape[0], 1)),
    IN(forward, SHAPE, "logsumexp", SET(logsumexp.shape[2], 2)),
    IN(forward, PARAMETER, "W", COPY(mechanism, unbound)),
    IN(forward, ARGUMENT, "key_lengths[0]", SET(lengths_data[0], -1)),
    IN(forward, ARGUMENT, "key_lengths[1]", SET(lengths_data[1], TK + 1)),
    IN(forward, ARGUMENT, "key_lengths[1]", SET(lengths_data[1], INT64_MIN)),
    IN(forward, ARGUMENT, "query_start", COPY(mechanism, causal), SET(args.query_start, 1)),
    IN(forward, ARGUMENT, "query_start", SET(args.query_start, INT64_MAX)),
    IN(forward, ARGUMENT, "query_start", SET(args.query_start, INT64_MIN)),
    IN(forward, ARGUMENT, "dropout", REAL(args.dropout, 1.0)),
    IN(forward, ARGUMENT, "dropout", REAL(args.dropout, -0.5)),
    IN(forward, OVERFLOW, "queries", SET(query.shape[2], INT64_C(1) << 61), SET(query.stride[2], 0)),
    IN(forward, OVERFLOW, "keys", SET(key.shape[2], INT64_C(1) << 61), SET(key.stride[2], 0), SET(args.value, 0)),
    IN(forward, OVERFLOW, "batch", SET(query.shape[0], INT64_MAX), SET(query.stride[0], 0), SET(key.stride[0], 0),
       SET(key.shape[0], INT64_MAX), SET(args.value, 0)),
    IN(forward, OVERFLOW, "more than a BLAS can count", COPY(mechanism, dot), SET(query.shape[3], INT64_C(1) << 62),
       SET(key.shape[3], INT64_C(1) << 62), SET(query.stride[3], 0), SET(key.stride[3], 0)),
    IN(forward, NOMEM, "memory", SET(key.shape[2], INT64_C(1) << 40), SET(key.stride[2], 0), SET(key.stride[3], 0),
       SET(args.value, 0), SET(args.mask, 0), SET(args.bias, 0), SET(args.context, 0), SET(args.weights, 0),
       SET(args.scores, 0)),
    IN(forward, OVERFLOW, "mask", SET(mask.shape[0], B), SET(mask.stride[0], INT64_MIN)),
    IN(forward, OVERFLOW, "context", SET(context.stride[0], INT64_MAX / 4)),
    IN(forward, OVERFLOW, "weights", SET(weights.stride[0], INT64_MIN / 4)),
    IN(forward, OVERLAP, "query", COPY(logsumexp.data, query.data)),
    IN(forward, OVERLAP, "key", COPY(logsumexp.data, key.data)),
    IN(forward, OVERLAP, "value", COPY(logsumexp.data, value.data)),
    IN(forward, OVERLAP, "mask", COPY(logsumexp.data, mask.data)),
    IN(forward, OVERLAP, "logsumexp", COPY(logsumexp.data, bias.data)),
    IN(forward, OVERLAP, "key_lengths", COPY(logsumexp.data, key_lengths.data)),
    IN(forward, OVERLAP, "parameter W", COPY(logsumexp.data, param.data)),
    IN(forward, OVERLAP, "slopes", COPY(mechanism, sloped), COPY(logsumexp.data, slopes.data)),
    IN(forward, OVERLAP, "sinks", COPY(mechanism, sunk), COPY(logsumexp.data, sinks.data)),
    IN(forward, OVERLAP, "weights", COPY(logsumexp.data, weights.data)),
    IN(forward, OVERLAP, "scores", COPY(scores.data, weights.data)),
    IN(forward, OVERLAP, "context", COPY(context.data, key.data)),
    IN(forward, OVERLAP, "context", SET(context.stride[2], DV - 1)),
    IN(forward, OVERLAP, "weights", SET(weights.stride[0], 3)),
    IN(forward, OVERLAP, "scores", SET(scores.stride[1], -2)),
    IN(forward, BUFFER, "workspace_size", COPY(args.workspace, json), COPY(args.workspace_size, one_byte_less)),
    IN(forward, BUFFER, "workspace_size", COPY(args.workspace, json), SET(args.workspace_size, 0)),
    IN(forward, OVERLAP, "workspace", COPY(args.workspace, context.data), SET(args.workspace_size, 1 << 24)),
    IN(forward, OVERLAP, "workspace", COPY(args.workspace, bias.data), SET(args.workspace_size, 1 << 24)),
    IN(forward, OVERLAP, "workspace", COPY(args.workspace, param.data), SET(args.workspace_size, 1 << 24)),
    IN(forward, ARGUMENT, "reserved", SET(args.reserved, 1)),
    IN(forward, ARGUMENT, "reserved", SET(args.reserved, INT32_MIN)),
    IN(forward, STRUCT_SIZE, "struct_size", SET(args.struct_size, offsetof(attn_forward_args, page_offsets))),
    IN(forward, ARGUMENT, "mask_align", SET(args.mask_align, ATTN_ALIGN_TOP_LEFT)),
    IN(forward, ARGUMENT, "mask_align", SET(args.mask_align, 3)),
    IN(forward, ARGUMENT, "mask_align", SET(args.mask_align, -1)),
    IN(forward, ARGUMENT, "mask_align", SET(args.mask_align, ATTN_ALIGN_BOTTOM_RIGHT), SET(args.mask, 0)),
    IN(forward, ARGUMENT, "mask_align", SET(args.mask_align, 7), SET(args.mask, 0)),
    IN(forward, SHAPE, "mask", TREE, SET(tree.mask_align, 0)),
    IN(forward, SHAPE, "mask", TREE, SET(tree_mask.shape[3], 0)),
    IN(forward, SHAPE, "mask", TREE, SET(tree_mask.shape[2], TQ - 1)),
    IN(forward, DTYPE, "mask", TREE, SET(tree_mask.dtype, ATTN_I8)),
    IN(forward, OVERLAP, "mask", TREE, COPY(logsumexp.data, tree_mask.data)),
    IN(forward, DTYPE, "query_offsets", RAGGED, SET(query_offsets.dtype, ATTN_F64)),
    IN(forward, DTYPE, "query_offsets", RAGGED, SET(query_offsets.dtype, 77)),
    IN(forward, DTYPE, "key_offsets", RAGGED, SET(key_offsets.dtype, ATTN_I8)),
    IN(forward, SHAPE, "query_offsets", RAGGED, SET(query_offsets.ndim, 2)),
    IN(forward, SHAPE, "key_offsets", RAGGED, SET(key_offsets.ndim, 0)),
    IN(forward, SHAPE, "query_offsets", RAGGED, SET(query_offsets.shape[0], 0)),
    IN(forward, SHAPE, "key_offsets", RAGGED, SET(key_offsets.shape[0], 0)),
    IN(forward, SHAPE, "query_offsets", RAGGED, SET(query_offsets.shape[0], INT64_MIN)),
    IN(forward, SHAPE, "key_offsets", RAGGED, SET(key_offsets.shape[0], B)),
    IN(forward, SHAPE, "query_offsets", RAGGED, SET(query_offsets.shape[0], B)),
    IN(forward, SHAPE, "key_offsets", RAGGED, SET(query_offsets.shape[0], 1)),
    IN(forward, ARGUMENT, "query_offsets", RAGGED, SET(query_offsets.data, 0)),
    IN(forward, ARGUMENT, "aligned", RAGGED, SET(query_offsets.data, 12)),
    IN(forward, OVERFLOW, "query_offsets", RAGGED, SET(query_offsets.stride[0], INT64_MAX)),
    IN(forward, OVERFLOW, "key_offsets", RAGGED, SET(key_offsets.stride[0], INT64_MIN)),
    IN(forward, ARGUMENT, "query_offsets[0]", RAGGED, SET(query_offsets_data[0], -1)),
    IN(forward, ARGUMENT, "query_offsets[0]", RAGGED, SET(query_offsets_data[0], INT64_MIN)),
    IN(forward, ARGUMENT, "query_offsets[1]", RAGGED, SET(query_offsets_data[0], TQ + 1)),
    IN(forward, ARGUMENT, "query_offsets[2]", RAGGED, SET(query_offsets_data[2], TQ - 1)),
    IN(forward, ARGUMENT, "query_offsets", RAGGED, SET(query_offsets_data[2], B *TQ + 1)),
    IN(forward, ARGUMENT, "query_offsets[2]", RAGGED, SET(query_offsets_data[2], INT64_MAX)),
    IN(forward, ARGUMENT, "query_offsets[1]", RAGGED, SET(query_offsets_data[1], INT64_MAX)),
    IN(forward, ARGUMENT, "query_offsets", RAGGED, SET(query_offsets_data[2], INT64_C(1) << 60)),
    IN(forward, ARGUMENT, "query_offsets", RAGGED, SET(rows_query.shape[2], B *TQ - 1)),
    IN(forward, ARGUMENT, "key_offsets[0]", RAGGED, SET(key_offsets_data[0], -1)),
    IN(forward, ARGUMENT, "key_offsets[1]", RAGGED, SET(key_offsets_data[1], -1)),
    IN(forward, ARGUMENT, "key_offsets[2]", RAGGED, SET(key_offsets_data[1], B *TK + 1)),
    IN(forward, ARGUMENT, "key_offsets", RAGGED, SET(key_offsets_data[2], B *TK + 1)),
    IN(forward, ARGUMENT, "key_offsets", RAGGED, SET(key_offsets_data[2], INT64_C(1) << 60)),
    IN(forward, ARGUMENT, "key_offsets[1]", RAGGED, SET(key_offsets_data[1], INT64_MIN)),
    IN(forward, ARGUMENT, "key_offsets[2]", RAGGED, SET(key_offsets_data[2], INT64_MAX)),
    IN(forward, SHAPE, "query", RAGGED, COPY(ragged.query, args.query)),
    IN(forward, SHAPE, "key", RAGGED, COPY(ragged.key, args.key), COPY(ragged.value, args.value)),
    IN(forward, SHAPE, "value", RAGGED, COPY(ragged.value, args.value)),
    IN(forward, SHAPE, "key", RAGGED, SET(ragged.key_offsets, 0)),
    IN(forward, SHAPE, "key_offsets", RAGGED, SET(ragged.query_offsets, 0)),
    IN(forward, SHAPE, "context", RAGGED, COPY(ragged.context, args.context)),
    IN(forward, SHAPE, "logsumexp", RAGGED, COPY(ragged.logsumexp, args.logsumexp)),
    IN(forward, SHAPE, "weights", RAGGED, SET(rows_weights.shape[3], TK - 1)),
    IN(forward, SHAPE, "weights", RAGGED, SET(rows_weights.ndim, 0)),
    IN(forward, SHAPE, "mask", RAGGED, COPY(ragged.mask, args.mask)),
    IN(forward, SHAPE, "bias", RAGGED, COPY(ragged.bias, args.bias)),
    IN(forward, SHAPE, "key_lengths", RAGGED, SET(key_lengths.shape[0], 1)),
    IN(forward, ARGUMENT, "key_lengths[1]", RAGGED, SET(key_offsets_data[1], B *TK - 1)),
    IN(forward, ARGUMENT, "key_lengths[0]", RAGGED, SET(key_offsets_data[1], TK - 1)),
    IN(forward, ARGUMENT, "key_lengths[1]", RAGGED, SET(lengths_data[1], INT64_MAX)),
    IN(forward, ARGUMENT, "key_lengths[0]", RAGGED, SET(lengths_data[0], -1)),
    IN(forward, OVERLAP, "query_offsets", RAGGED, COPY(rows_logsumexp.data, query_offsets.data)),
    IN(forward, OVERLAP, "key_offsets", RAGGED, COPY(rows_logsumexp.data, key_offsets.data)),
    IN(forward, OVERLAP, "workspace", RAGGED, COPY(ragged.workspace, query_offsets.data),
       SET(ragged.workspace_size, 1 << 24)),
    IN(forward, OVERLAP, "workspace", RAGGED, COPY(ragged.workspace, key_offsets.data),
       SET(ragged.workspace_size, 1 << 24)),
    IN(forward, ARGUMENT, "key_lengths", PAGED, SET(paged.key_lengths, 0)),
    IN(forward, ARGUMENT, "page_offsets", PAGED, SET(paged.page_table, 0), COPY(paged.page_offsets, to_page_offsets)),
    IN(forward, ARGUMENT, "key_offsets and page_table", PAGED, COPY(paged.key_offsets, to_key_offsets)),
    IN(forward, DTYPE, "page_table", PAGED, SET(page_table.dtype, ATTN_F32)),
    IN(forward, DTYPE, "page_table", PAGED, SET(page_table.dtype, -1)),
    IN(forward, SHAPE, "page_table", PAGED, SET(page_table.ndim, 3)),
    IN(forward, SHAPE, "page_table", PAGED, SET(page_table.ndim, 0)),
    IN(forward, SHAPE, "page_table", PAGED, SET(page_table.ndim, 1)),
    IN(forward, SHAPE, "page_table", PAGED, SET(page_table.shape[0], 1)),
    IN(forward, SHAPE, "page_table", PAGED, SET(page_table.shape[0], B + 1)),
    IN(forward, SHAPE, "page_table", PAGED, SET(page_table.shape[1], -1)),
    IN(forward, ARGUMENT, "key_lengths[0]", PAGED, SET(page_table.shape[1], MOST_PAGES - 1)),
    IN(forward, ARGUMENT, "key_lengths[0]", PAGED, SET(page_table.shape[1], 0)),
    IN(forward, ARGUMENT, "page_table", PAGED, SET(page_table.data, 0)),
    IN(forward, OVERFLOW, "page_table", PAGED, SET(page_table.stride[0], INT64_MAX)),
    IN(forward, OVERFLOW, "page_table", PAGED, SET(page_table.stride[1], INT64_MIN)),
    IN(forward, ARGUMENT, "page 0 of sequence 0", PAGED, SET(table_data[0], -1)),
    IN(forward, ARGUMENT, "page 2 of sequence 0", PAGED, SET(table_data[2], PAGES)),
    IN(forward, ARGUMENT, "page 0 of sequence 1", PAGED, SET(table_data[MOST_PAGES], INT64_MAX)),
    IN(forward, ARGUMENT, "page 0 of sequence 1", PAGED, SET(table_data[MOST_PAGES], INT64_MIN)),
    IN(forward, ARGUMENT, "page 1 of sequence 1", PAGED, SET(lengths_data[1], PAGE + 1)),
    IN(forward, ARGUMENT, "key_lengths[1]", PAGED, SET(lengths_data[1], MOST_PAGES *PAGE + 1)),
    IN(forward, ARGUMENT, "key_lengths[1]", PAGED, SET(lengths_data[1], INT64_MAX)),
    IN(forward, ARGUMENT, "key_lengths[1]", PAGED, SET(lengths_data[1], INT64_C(1) << 60)),
    IN(forward, ARGUMENT, "key_lengths[0]", PAGED, SET(lengths_data[0], INT64_MIN)),
    IN(forward, SHAPE, "key_lengths", PAGED, SET(key_lengths.shape[0], 1)),
    IN(forward, SHAPE, "pages of 0 positions", PAGED, SET(pages_key.shape[2], 0), SET(pages_value.shape[2], 0)),
    IN(forward, SHAPE, "value", PAGED, SET(pages_value.shape[2], PAGE - 1)),
    IN(forward, SHAPE, "value", PAGED, SET(pages_value.shape[0], PAGES - 1)),
    IN(forward, ARGUMENT, "of sequence 0", PAGED, SET(pages_key.shape[0], 0), SET(pages_value.shape[0], 0)),
    IN(forward, SHAPE, "heads", PAGED, SET(pages_key.shape[1], 0)),
    IN(forward, SHAPE, "weights", PAGED, SET(weights.shape[3], TK - 1)),
    IN(forward, SHAPE, "context", PAGED, COPY(paged.context, ragged.context)),
    IN(forward, SHAPE, "page_offsets", PACKED, SET(page_offsets.shape[0], B)),
    IN(forward, SHAPE, "page_offsets", PACKED, SET(page_offsets.shape[0], B + 2)),
    IN(forward, SHAPE, "page_offsets", PACKED, SET(page_offsets.shape[0], 0)),
    IN(forward, SHAPE, "page_offsets", PACKED, SET(page_offsets.ndim, 2)),
    IN(forward, DTYPE, "page_offsets", PACKED, SET(page_offsets.dtype, ATTN_BOOL)),
    IN(forward, ARGUMENT, "page_offsets[0]", PACKED, SET(page_offsets_data[0], -1)),
    IN(forward, ARGUMENT, "page_offsets[1]", PACKED, SET(page_offsets_data[0], MOST_PAGES + 1)),
    IN(forward, ARGUMENT, "page_offsets", PACKED, SET(page_offsets_data[B], B *MOST_PAGES + 1)),
    IN(forward, ARGUMENT, "page_offsets[2]", PACKED, SET(page_offsets_data[B], INT64_MAX)),
    IN(forward, ARGUMENT, "key_lengths[0]", PACKED, SET(page_offsets_data[1], MOST_PAGES - 1)),
    IN(forward, ARGUMENT, "key_lengths[1]", PACKED, SET(page_offsets_data[1], B *MOST_PAGES)),
    IN(forward, SHAPE, "page_table", PAGED, COPY(paged.page_offsets, to_page_offsets)),
    IN(forward, OVERLAP, "page_table", PAGED, COPY(logsumexp.data, page_table.data)),
    IN(forward, OVERLAP, "page_offsets", PACKED, COPY(logsumexp.data, page_offsets.data)),
    IN(forward, OVERLAP, "key", PAGED, COPY(logsumexp.data, pages_key.data)),
    IN(forward, OVERLAP, "workspace", PAGED, COPY(paged.workspace, page_table.data),
       SET(paged.workspace_size, 1 << 24)),
    IN(forward, ARGUMENT, "page_table and memory", MEMORY),
    IN(forward, ARGUMENT, "key_offsets and memory", MEMORY, SET(paged.page_table, 0),
       COPY(paged.key_offsets, to_key_offsets)),
    IN(forward, SHAPE, "memory has batch 3", MEMORY, SET(paged.page_table, 0), COPY(paged.memory, three_memory)),
    IN(forward, SHAPE, "query_offsets", MEMORY, SET(paged.page_table, 0), COPY(paged.query, ragged.query),
       COPY(paged.query_offsets, ragged.query_offsets), SET(query_offsets.shape[0], B)),
    IN(forward_workspace, ARGUMENT, "bytes", SET(bytes_out, 0)),
    IN(forward_workspace, ARGUMENT, "args", SET(forward_args, 0)),
    IN(constant, ARGUMENT, "name", SET(constant, 0)),
    IN(constant, ARGUMENT, "value", SET(value_out, 0)),
    IN(constant, ARGUMENT, "\"W\"", COPY(constant, name)),
    IN(tensor_init, ARGUMENT, "tensor", SET(tensor_out, 0)),
    IN(tensor_init, ARGUMENT, "shape", SET(shape, 0)),
    IN(tensor_init, SHAPE, "dimensions", SET(tensor_ndim, 0)),
    IN(tensor_init, SHAPE, "dimensions", SET(tensor_ndim, 5)),
    IN(tensor_init, SHAPE, "-3", SET(shape_in[1], -3)),
    IN(tensor_init, DTYPE, "77", SET(tensor_dtype, 77)),
    IN(tensor_init, OVERFLOW, "elements", SET(shape_in[0], INT64_MAX)),
    IN(tensor_init, OVERFLOW, "tensor", SET(shape_in[3], INT64_MAX / 8)),
    IN(engine_create, ARGUMENT, "engine", SET(engine_out, 0)),
    IN(engine_create, ARGUMENT, "threads", SET(options.threads, -1)),
    IN(engine_create, ARGUMENT, "threads", SET(options.threads, 1025)),
    IN(engine_create, ARGUMENT, "reserved", SET(options.reserved, 1)),
    IN(engine_create, ARGUMENT, "allocate", SET(options.allocate, 0)),
    IN(engine_create, ARGUMENT, "release", SET(options.release, 0)),
    IN(engine_create, ARGUMENT, "way", SET(options.way, 3)),
    IN(engine_create, ARGUMENT, "way", SET(options.way, -1)),
    IN(engine_create, UNSUPPORTED, "kernels", COPY(options.kernels, name)), /* the name of a parameter */
    IN(engine_create, STRUCT_SIZE, "struct_size", SET(options.struct_size, 0)),
    IN(engine_create, STRUCT_SIZE, "struct_size", SET(options.struct_size, sizeof(attn_engine_options) - 1)),
    IN(engine_create, STRUCT_SIZE, "struct_size", SET(options.struct_size, 4097)),
    IN(engine_create, STRUCT_SIZE, "struct_size", SET(options.struct_size, UINT32_MAX)),
    IN(engine_create, STRUCT_SIZE, "struct_size", SET(options.struct_size, 4096), SET(options_tail[9], 1)),
    IN(engine_describe, ARGUMENT, "engine", SET(engine, 0)),
    IN(engine_describe, ARGUMENT, "bytes", SET(bytes_out, 0)),
    IN(engine_describe, BUFFER, "json", SET(bytes, 0)),
    IN(engine_describe, BUFFER, "json", SET(bytes, 100)),
    IN(mechanism_create_general, ARGUMENT, "query_dim", SET(query_dim, 0)),
    IN(mechanism_create_general, ARGUMENT, "key_dim", SET(key_dim, -1)),
    IN(mechanism_create_general, OVERFLOW, "key_dim", SET(key_dim, INT64_MAX / 4)),
    IN(mechanism_create_general, OVERFLOW, "W", SET(query_dim, INT32_MAX - 1024), SET(key_dim, INT32_MAX - 1024)),
    IN(mechanism_create_additive, ARGUMENT, "query_dim", SET(query_dim, INT64_MIN)),
    IN(mechanism_create_additive, ARGUMENT, "key_dim", SET(key_dim, 0)),
    IN(mechanism_create_additive, ARGUMENT, "hidden_dim", SET(hidden_dim, 0)),
    IN(mechanism_create_additive, ARGUMENT, "flags", SET(flags, 16)),
    IN(mechanism_create_additive, ARGUMENT, "flags", SET(flags, UINT32_MAX)),
    IN(mechanism_create_additive, SHAPE, "query_dim", SET(flags, ATTN_ADDITIVE_QUERY_PROJECTED), SET(query_dim, A + 1)),
    IN(mechanism_create_additive, SHAPE, "key_dim", SET(flags, ATTN_ADDITIVE_KEY_PROJECTED), SET(key_dim, A + 1)),
    IN(mechanism_create_additive, OVERFLOW, "hidden_dim", SET(hidden_dim, (INT64_C(1) << 59) - 1), SET(query_dim, 1),
       SET(key_dim, 1)),
    IN(mechanism_create_concat, ARGUMENT, "query_dim", SET(query_dim, 0)),
    IN(mechanism_create_concat, ARGUMENT, "key_dim", SET(key_dim, 0)),
    IN(mechanism_create_concat, ARGUMENT, "hidden_dim", SET(hidden_dim, 0)),
    IN(mechanism_create_concat, OVERFLOW, "query_dim", SET(query_dim, INT64_MAX)),
    IN(mechanism_create_location, ARGUMENT, "query_dim", SET(query_dim, 0)),
    IN(mechanism_create_location, ARGUMENT, "max_keys", SET(max_keys, 0)),
    IN(mechanism_create_location, OVERFLOW, "max_keys", SET(max_keys, INT64_MAX)),
    IN(mechanism_param_count, ARGUMENT, "count", SET(count_out, 0)),
    IN(mechanism_param_total, ARGUMENT, "total", SET(total_out, 0)),
    IN(mechanism_param_info, ARGUMENT, "info", SET(info_out, 0)),
    IN(mechanism_param_info, ARGUMENT, "index", SET(index, -1)),
    IN(mechanism_param_info, ARGUMENT, "index", SET(index, 1)),
    IN(mechanism_param_info, STRUCT_SIZE, "struct_size", SET(info.struct_size, 0)),
    IN(mechanism_param_info, STRUCT_SIZE, "struct_size", SET(info.struct_size, sizeof(attn_param_info) - 1)),
    IN(mechanism_bind_param, ARGUMENT, "name", SET(name, 0)),
    IN(mechanism_bind_param, PARAMETER, "ATTN_F32", COPY(name, constant)),
    IN(mechanism_bind_param, PARAMETER, "it has W", COPY(name, constant)),
    IN(mechanism_bind_param, PARAMETER, "dot", COPY(mechanism, dot)),
    IN(mechanism_bind_param, PARAMETER, "it has none", COPY(mechanism, dot)),
    IN(mechanism_bind_param, SHAPE, "W", SET(param.ndim, 1)),
    IN(mechanism_bind_param, SHAPE, "W", SET(param.ndim, 3), SET(param.shape[2], 1)),
    IN(mechanism_bind_param, DTYPE, "W", SET(param.dtype, ATTN_I32)),
    IN(mechanism_set_scale, ARGUMENT, "scale", REAL(scale, (double)NAN)),
    IN(mechanism_set_scale, ARGUMENT, "scale", REAL(scale, (double)INFINITY)),
    IN(mechanism_set_softcap, ARGUMENT, "cap", REAL(cap, -1e-300)),
    IN(mechanism_set_softcap, ARGUMENT, "cap", REAL(cap, (double)NAN)),
    IN(mechanism_set_softcap, ARGUMENT, "cap", REAL(cap, (double)INFINITY)),
    IN(mechanism_set_temperature, ARGUMENT, "tau", SET(tau, 0)),
    IN(mechanism_set_temperature, ARGUMENT, "tau", REAL(tau, -1.0)),
    IN(mechanism_set_temperature, ARGUMENT, "tau", REAL(tau, (double)NAN)),
    IN(mechanism_set_temperature, ARGUMENT, "tau", REAL(tau, (double)INFINITY)),
    IN(mechanism_set_normaliser, ARGUMENT, "normaliser", SET(normaliser, 2)),
    IN(mechanism_set_normaliser, ARGUMENT, "normaliser", SET(normaliser, -1)),
    IN(mechanism_set_precision, ARGUMENT, "precision", SET(precision, 2)),
    IN(mechanism_set_precision, ARGUMENT, "precision", SET(precision, -1)),
    IN(mechanism_set_causal, ARGUMENT, "align", SET(align, 3)),
    IN(mechanism_set_causal, ARGUMENT, "align", SET(align, -1)),
    IN(mechanism_set_window, ARGUMENT, "align", SET(align, 3)),
    IN(mechanism_set_window, ARGUMENT, "window", SET(left, -2), SET(align, 1)),
    IN(mechanism_set_window, ARGUMENT, "window", SET(right, INT64_MIN), SET(align, 1)),
    IN(mechanism_set_alibi, ARGUMENT, "slopes", SET(alibi, 0), SET(align, 2)),
    IN(mechanism_set_alibi, ARGUMENT, "align", SET(align, -1)),
    IN(mechanism_set_alibi, SHAPE, "slopes", SET(slopes.ndim, 2), SET(align, 1)),
    IN(mechanism_set_sinks, SHAPE, "sinks", SET(sinks.ndim, 2)),
    IN(mechanism_set_sinks, DTYPE, "sinks", SET(sinks.dtype, ATTN_I32)),
    IN(mechanism_set_sinks, OVERFLOW, "sinks", SET(sinks.stride[0], INT64_MAX)),
    IN(pages_append, ARGUMENT, "engine", SET(engine, 0)),
    IN(pages_append, ARGUMENT, "args", SET(append_args, 0)),
    IN(pages_append, ARGUMENT, "reserved", SET(append.reserved, 1)),
    IN(pages_append, STRUCT_SIZE, "struct_size", SET(append.struct_size, 0)),
    IN(pages_append, STRUCT_SIZE, "struct_size", SET(append.struct_size, sizeof(attn_pages_append_args) - 1)),
    IN(pages_append, STRUCT_SIZE, "struct_size", SET(append.struct_size, 4097)),
    IN(pages_append, STRUCT_SIZE, "struct_size", INTEGERS, SET(append_integers.struct_size, 4096),
       SET(append_tail[9], 1)),
    IN(pages_append, ARGUMENT, "slots", SET(append.slots, 0)),
    IN(pages_append, ARGUMENT, "key is NULL, and so is value", SET(append.key, 0), SET(append.value, 0)),
    IN(pages_append, ARGUMENT, "no key", SET(append.key, 0)),
    IN(pages_append, ARGUMENT, "no value", SET(append.value, 0)),
    IN(pages_append, ARGUMENT, "key_pages", SET(append.key_pages, 0)),
    IN(pages_append, ARGUMENT, "value_pages", SET(append.value_pages, 0)),
    IN(pages_append, ARGUMENT, "key_scales", COPY(append.key_scales, append_integers.key_scales)),
    IN(pages_append, ARGUMENT, "value_scales", COPY(append.value_scales, append_integers.value_scales)),
    IN(pages_append, ARGUMENT, "value_scales", SET(append.value, 0), SET(append.value_pages, 0),
       COPY(append.value_scales, append_integers.value_scales)),
    IN(pages_append, ARGUMENT, "key_scales", INTEGERS, SET(append_integers.key_scales, 0)),
    IN(pages_append, ARGUMENT, "value_scales", INTEGERS, SET(append_integers.value_scales, 0)),
    IN(pages_append, ARGUMENT, "slots[0]", SET(slots_data[0], 2 * PAGES)),
    IN(pages_append, ARGUMENT, "slots[2]", SET(slots_data[2], -2)),
    IN(pages_append, ARGUMENT, "slots[1]", SET(slots_data[1], INT64_MAX)),
    IN(pages_append, ARGUMENT, "slots[2] is 9, as slots[0] is", SET(slots_data[2], 2 * PAGES - 1)),
    IN(pages_append, ARGUMENT, "slots[1]", INTEGERS, SET(slots_data[1], 0), SET(slots_data[0], 0)),
    IN(pages_append, ARGUMENT, "slots[0]", SET(to_pages_key.shape[0], 0), SET(to_pages_value.shape[0], 0)),
    IN(pages_append, DTYPE, "key", INTEGERS, SET(few_key.dtype, ATTN_I32)),
    IN(pages_append, DTYPE, "value is ATTN_F32, but key is ATTN_F16", SET(few_key.dtype, ATTN_F16)),
    IN(pages_append, DTYPE, "key_scales", INTEGERS, SET(to_key_scales.dtype, ATTN_I32)),
    IN(pages_append, SHAPE, "pages of 0", SET(to_pages_key.shape[2], 0)),
    IN(pages_append, SHAPE, "value_pages", SET(to_pages_value.shape[1], HK - 1)),
    IN(pages_append, SHAPE, "value_scales", INTEGERS, SET(to_value_scales.shape[2], PAGE - 1)),
    IN(pages_append, SHAPE, "key_scales", INTEGERS, SET(to_key_scales.shape[0], PAGES - 1)),
    IN(pages_append, SHAPE, "key has shape", SET(slots.shape[0], FEW - 1)),
    IN(pages_append, SHAPE, "key has shape", SET(few_key.shape[0], 2), SET(few_key.stride[0], 0)),
    IN(pages_append, SHAPE, "value has shape", SET(few_value.shape[3], DV - 1)),
    IN(pages_append, OVERLAP, "value_pages", COPY(to_pages_key.data, to_pages_value.data)),
    IN(pages_append, OVERLAP, "slots", COPY(to_pages_key.data, slots.data)),
    IN(pages_append, OVERLAP, "key", COPY(to_pages_value.data, few_key.data)),
    IN(pages_append, OVERLAP, "value", COPY(to_pages_key.data, few_value.data)),
    IN(pages_append, OVERLAP, "value_scales", INTEGERS, COPY(to_key_scales.data, to_value_scales.data)),
    IN(pages_append, OVERLAP, "key_scales", INTEGERS, COPY(to_key_scales.data, few_key.data)),
    IN(pages_append, OVERLAP, "key_scales is an output", INTEGERS, SET(to_key_scales.stride[2], 0)),
    IN(pages_append, OVERLAP, "key_pages is an output", SET(to_pages_key.stride[0], DK)),
    IN(memory_keep, ARGUMENT, "memory is NULL", SET(kept, 0)),
    IN(memory_keep, ARGUMENT, "lengths is NULL", SET(to_kept_lengths, 0)),
    IN(memory_keep, ARGUMENT, "positions is NULL", SET(to_positions, 0)),
    IN(memory_keep, ARGUMENT, "offsets is NULL", SET(to_kept_offsets, 0)),
    IN(memory_keep, ARGUMENT, "lengths[0]", SET(kept_lengths_data[0], -1)),
    IN(memory_keep, ARGUMENT, "lengths[1]", SET(kept_lengths_data[1], TK + 1)),
    IN(memory_keep, ARGUMENT, "positions[0]", SET(kept_lengths_data[0], 2)),
    IN(memory_keep, ARGUMENT, "positions[1]", SET(positions_data[1], 1)),
    IN(memory_keep, ARGUMENT, "positions[3]", SET(positions_data[3], TK)),
    IN(memory_keep, ARGUMENT, "positions[2]", SET(positions_data[2], INT64_MIN)),
    IN(memory_keep, ARGUMENT, "positions[2] is 1", SET(kept_offsets_data[1], 3)),
    IN(memory_keep, ARGUMENT, "offsets[0]", SET(kept_offsets_data[0], -1)),
    IN(memory_keep, ARGUMENT, "offsets[2]", SET(kept_offsets_data[2], 1)),
    IN(memory_keep, ARGUMENT, "offsets ends with 5", SET(kept_offsets_data[2], CHOSEN + 1)),
    IN(memory_keep, DTYPE, "positions", SET(positions.dtype, ATTN_F64)),
    IN(memory_keep, DTYPE, "offsets", SET(kept_offsets.dtype, ATTN_F64)),
    IN(memory_keep, SHAPE, "offsets has 2", SET(kept_offsets.shape[0], B)),
    IN(memory_keep, SHAPE, "offsets", SET(kept_offsets.shape[0], 0)),
    IN(memory_keep, SHAPE, "positions", SET(positions.ndim, 2)),
    IN(memory_keep, UNSUPPORTED, "positions[1]", COPY(kept, turned)),
    IN(memory_reorder, ARGUMENT, "memory is NULL", SET(kept, 0)),
    IN(memory_reorder, ARGUMENT, "rows is NULL", SET(rows, 0)),
    IN(memory_reorder, ARGUMENT, "rows[1] is -2", SET(rows_data[1], -2)),
    IN(memory_reorder, ARGUMENT, "rows[0] is 2", SET(rows_data[0], B)),
    IN(memory_reorder, DTYPE, "rows", SET(reordered.dtype, ATTN_F32)),
    IN(memory_pages, ARGUMENT, "memory is NULL", SET(kept, 0)),
};

static int rows_setup(void **state)
{
    struct call **all[] = {&pristine, &original, &computed, &before};
    (void)state;
    for (int i = 0; i < 4; i++) *all[i] = aligned_alloc(64, sizeof **all[i]);
    create(pristine);
    memcpy(original, pristine, sizeof *original);
    MUST(attn_forward(pristine->mechanism, &pristine->args));
    memcpy(computed, pristine, sizeof *computed);
    memcpy(pristine, original, sizeof *pristine);
    return 0;
}

static int start_afresh(void **state)
{
    (void)state;
    memcpy(pristine, original, sizeof *pristine);
    return 0;
}

static int rows_teardown(void **state)
{
    (void)state;
    memcpy(pristine, original, sizeof *pristine);
    destroy(pristine);
    free(pristine), free(original), free(computed), free(before);
    return 0;
}

static void every_wrong_call_is_refused_in_words_and_changes_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int count = 0;
        while (count < 10 && rows[i].changes[count].text != NULL) count++;
        check_refused(rows[i].function, rows[i].status, rows[i].word, rows[i].changes, count);
        check_refused(rows[i].function, rows[i].status, rows[i].word, rows[i].changes, count);
    }
}

static void every_handle_and_result_that_is_missing_is_named(void **state)
{
    static const struct change missing[] = {SET(mechanism, 0), SET(engine, 0), SET(mechanism_out, 0)};
    (void)state;
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        const int makes = strncmp(functions[i]->name, "attn_mechanism_create", 21) == 0;
        const int uses = !makes && strncmp(functions[i]->name, "attn_mechanism", 14) == 0;
        if (uses) check_refused(functions[i], ATTN_ERR_ARGUMENT, "mechanism is NULL", &missing[0], 1);
        if (makes) check_refused(functions[i], ATTN_ERR_ARGUMENT, "engine is NULL", &missing[1], 1);
        if (makes) check_refused(functions[i], ATTN_ERR_ARGUMENT, "mechanism is NULL", &missing[2], 1);
    }
}

/* ------------------------------------------------------------------------------------------ every tensor */

enum { INPUT, OUTPUT, BORROWED };

static const struct tensor_argument {
    const struct function *function;
    size_t at;
    const char *name;
    int use;
} tensor_arguments[] = {
#define TENSOR(function, field, name, use)                                                                             \
    {                                                                                                                  \
        &in_attn_##function, offsetof(struct call, field), name, use                                                   \
    }
    TENSOR(forward, query, "query", INPUT),
    TENSOR(forward, key, "key", INPUT),
    TENSOR(forward, value, "value", INPUT),
    TENSOR(forward, mask, "mask", INPUT),
    TENSOR(forward, bias, "bias", INPUT),
    TENSOR(forward, key_lengths, "key_lengths", INPUT),
    TENSOR(forward, context, "context", OUTPUT),
    TENSOR(forward, weights, "weights", OUTPUT),
    TENSOR(forward, scores, "scores", OUTPUT),
    TENSOR(forward, logsumexp, "logsumexp", OUTPUT),
    TENSOR(pages_append, slots, "slots", INPUT),
    TENSOR(pages_append, few_key, "key", INPUT),
    TENSOR(pages_append, few_value, "value", INPUT),
    TENSOR(pages_append, to_pages_key, "key_pages", OUTPUT),
    TENSOR(pages_append, to_pages_value, "value_pages", OUTPUT),
    TENSOR(memory_keep, kept_lengths, "lengths", INPUT),
    TENSOR(mechanism_bind_param, param, "W", INPUT),
    TENSOR(mechanism_set_alibi, slopes, "slopes", BORROWED),
    TENSOR(mechanism_set_sinks, sinks, "sinks", BORROWED),
};

static void refuse_part(const struct tensor_argument *t, size_t part, size_t size, int64_t number, attn_status status,
                        const char *word)
{
    char text[96];
    snprintf(text, sizeof text, "%s: byte %zu = %lld", t->name, part, (long long)number);
    const struct change changes[] = {{t->at + part, size, number, 0, 0, text}, SET(align, 1)};
    check_refused(t->function, status, word, changes, 2);
}

static void every_tensor_is_checked_in_every_part(void **state)
{
    static const int64_t dtypes[] = {0, 9, -1, INT32_MIN, ATTN_I8, ATTN_F16, ATTN_BF16},
                         ndims[] = {0, -1, 5, INT32_MAX};
    const size_t shape = offsetof(attn_tensor, shape), stride = offsetof(attn_tensor, stride);
    (void)state;
    for (size_t i = 0; i < sizeof tensor_arguments / sizeof *tensor_arguments; i++) {
        const struct tensor_argument *t = &tensor_arguments[i];
        const attn_tensor *tensor = (const attn_tensor *)(const void *)((unsigned char *)pristine + t->at);
        const size_t last = 8 * (size_t)(tensor->ndim - 1);
        const int64_t data = (int64_t)(intptr_t)tensor->data;
        const int is_page = t->function == &in_attn_pages_append && t->use == OUTPUT;
        const int may_be_narrow =
            is_page || t->function == &in_attn_mechanism_bind_param || t->function == &in_attn_mechanism_set_sinks;
        for (int k = 0; k < (may_be_narrow ? 5 : 7); k++) {
            /* Keys and values may be integers, but not without scales. */
            const int is_row =
                t->function == &in_attn_forward && (strcmp(t->name, "key") == 0 || strcmp(t->name, "value") == 0);
            const int lacks_scales = dtypes[k] == ATTN_I8 && (is_row || is_page);
            refuse_part(t, offsetof(attn_tensor, dtype), 4, dtypes[k],
                        lacks_scales ? ATTN_ERR_ARGUMENT : ATTN_ERR_DTYPE, t->name);
        }
        for (int k = 0; k < 4; k++) {
            refuse_part(t, offsetof(attn_tensor, ndim), 4, ndims[k], ATTN_ERR_SHAPE, t->name);
        }
        refuse_part(t, offsetof(attn_tensor, data), sizeof(void *), 0, ATTN_ERR_ARGUMENT, t->name);
        if (tensor->dtype != ATTN_BOOL) {
            refuse_part(t, offsetof(attn_tensor, data), sizeof(void *), data + 2, ATTN_ERR_ARGUMENT, t->name);
        }
        refuse_part(t, stride + last, 8, INT64_MAX, ATTN_ERR_OVERFLOW, t->name);
        refuse_part(t, stride + last, 8, INT64_MIN, ATTN_ERR_OVERFLOW, t->name);
        if (t->use == OUTPUT) refuse_part(t, stride + last, 8, 0, ATTN_ERR_OVERLAP, t->name);
        for (size_t d = 0; d <= last; d += 8) {
            refuse_part(t, shape + d, 8, -1, ATTN_ERR_SHAPE, t->name);
            refuse_part(t, shape + d, 8, INT64_MIN, ATTN_ERR_SHAPE, t->name);
            if (t->use != BORROWED) refuse_part(t, shape + d, 8, tensor->shape[d / 8] + 7, ATTN_ERR_SHAPE, "");
        }
    }
}

/* -------------------------------------------------------------------------------------------- the others */

static void structs_of_later_versions_are_taken_if_what_they_add_is_zero(void **state)
{
    (void)state;
    pristine->args.struct_size = pristine->options.struct_size = TAIL;
    MUST(attn_forward(pristine->mechanism, &pristine->args));
    assert_memory_equal(pristine->context_data, computed->context_data, sizeof computed->context_data);
    MUST(attn_engine_create(&pristine->options, &pristine->made_engine));
    attn_engine_destroy(pristine->made_engine);
    memcpy(pristine, original, sizeof *pristine);
}

/* What came later than a struct is not looked at. */
static void the_first_version_of_a_struct_is_taken(void **state)
{
    (void)state;
    pristine->args.struct_size = (uint32_t)offsetof(attn_forward_args, key_scales);
    pristine->args.key_scales = pristine->args.value_scales = (const attn_tensor *)(const void *)&pristine->bytes;
    MUST(attn_forward(pristine->mechanism, &pristine->args));
    assert_memory_equal(pristine->context_data, computed->context_data, sizeof computed->context_data);
    memcpy(pristine, original, sizeof *pristine);
}

static void environment_with_an_unknown_way_is_refused(void **state)
{
    static const struct change nothing = SET(options.way, ATTN_WAY_AUTOMATIC);
    (void)state;
    assert_int_equal(setenv("ATTN_WAY", "nonsense", 1), 0);
    check_refused(&in_attn_engine_create, ATTN_ERR_ARGUMENT, "ATTN_WAY=nonsense", &nothing, 1);
    assert_int_equal(unsetenv("ATTN_WAY"), 0);
}

/* In a workspace of what is asked for, and not of less. */
static void other_layouts_take_the_workspace_that_they_ask_for(void **state)
{
    enum { GUARD = 64 };
    attn_forward_args *const all[] = {&pristine->args, &pristine->ragged, &pristine->paged, &pristine->tree};
    (void)state;
    for (int i = 0; i < 5; i++) {
        attn_forward_args *args = all[i % 4];
        size_t bytes;
        if (i == 4) {
            args = &pristine->paged;
            args->page_table = &pristine->packed_table;
            args->page_offsets = &pristine->page_offsets;
        }
        MUST(attn_forward(pristine->mechanism, args));
        memcpy(before, pristine, sizeof *before);
        memset(pristine->context_data, 0xA5, sizeof pristine->context_data);
        MUST(attn_forward_workspace(pristine->mechanism, args, &bytes));
        assert_in_range(bytes, 1, sizeof pristine->workspace - 2 * GUARD);
        memset(pristine->workspace, 0x5A, sizeof pristine->workspace);
        args->workspace = pristine->workspace + GUARD + 1; /* any alignment will do */
        args->workspace_size = bytes - 1;
        assert_int_equal(attn_forward(pristine->mechanism, args), ATTN_ERR_BUFFER);
        for (size_t k = 0; k < sizeof pristine->workspace; k++) assert_int_equal(pristine->workspace[k], 0x5A);
        args->workspace_size = bytes;
        MUST(attn_forward(pristine->mechanism, args));
        for (size_t k = 0; k < sizeof pristine->workspace; k++) {
            if (k <= GUARD || k > GUARD + bytes) assert_int_equal(pristine->workspace[k], 0x5A);
        }
        assert_memory_equal(pristine->context_data, before->context_data, sizeof before->context_data);
        memcpy(pristine, original, sizeof *pristine);
    }
}

/* Offsets that are the same everywhere: the sequences are empty, and the first or the last row is nobody's. */
static void offsets_may_be_broadcast(void **state)
{
    (void)state;
    pristine->query_offsets.stride[0] = pristine->key_offsets.stride[0] = 0;
    pristine->query_offsets_data[0] = B * TQ;
    pristine->key_offsets_data[0] = B * TK;
    pristine->ragged.key_lengths = NULL;
    memcpy(before, pristine, sizeof *before);
    MUST(attn_forward(pristine->mechanism, &pristine->ragged));
    assert_memory_equal(pristine, before, sizeof *before);
    pristine->lengths_data[0] = 1;
    pristine->ragged.key_lengths = &pristine->key_lengths;
    assert_int_equal(attn_forward(pristine->mechanism, &pristine->ragged), ATTN_ERR_ARGUMENT);
}

/* Broadcast values of any width are no reason to fail while no context is asked for. */
static void values_that_nobody_reads_may_be_of_any_width(void **state)
{
    (void)state;
    pristine->args.context = NULL;
    pristine->value.shape[3] = INT64_MAX;
    pristine->value.stride[3] = 0;
    MUST(attn_forward(pristine->mechanism, &pristine->args));
    for (int i = 0; i < B * HQ * TQ * TK; i++) {
        assert_true(fabsf(pristine->weights_data[i] - computed->weights_data[i]) < 1e-5f);
    }
    memcpy(pristine, original, sizeof *pristine);
}

/* What precedes query's data in the struct belongs to no tensor. */
static void one_shared_element_is_an_overlap_and_none_is_not(void **state)
{
    (void)state;
    pristine->logsumexp.data = (char *)pristine->query_data - (B * HQ * TQ - 1) * sizeof *pristine->query_data;
    assert_int_equal(attn_forward_workspace(pristine->mechanism, &pristine->args, &pristine->bytes), ATTN_ERR_OVERLAP);
    assert_non_null(strstr(attn_last_error(), "query"));
    pristine->logsumexp.data = (char *)pristine->query_data - B * HQ * TQ * sizeof *pristine->query_data;
    MUST(attn_forward_workspace(pristine->mechanism, &pristine->args, &pristine->bytes));
}

static void data_is_aligned_to_its_elements(void **state)
{
    static const struct {
        attn_dtype dtype;
        size_t size;
    } all[] = {{ATTN_F32, 4}, {ATTN_F64, 8},  {ATTN_F16, 2}, {ATTN_BF16, 2},
               {ATTN_I8, 1},  {ATTN_BOOL, 1}, {ATTN_I32, 4}, {ATTN_I64, 8}};
    _Alignas(16) static char memory[32];
    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        for (size_t at = 0; at <= 16; at++) {
            attn_tensor t;
            const attn_status status = attn_tensor_init(&t, memory + at, all[i].dtype, 1, (int64_t[]){1});
            assert_int_equal(status, at % all[i].size == 0 ? ATTN_OK : ATTN_ERR_ARGUMENT);
        }
    }
}

#define AFRESH(test) cmocka_unit_test_setup(test, start_afresh)

int main(void)
{
    const struct CMUnitTest tests[] = {
        AFRESH(every_wrong_call_is_refused_in_words_and_changes_nothing),
        AFRESH(every_handle_and_result_that_is_missing_is_named),
        AFRESH(every_tensor_is_checked_in_every_part),
        AFRESH(structs_of_later_versions_are_taken_if_what_they_add_is_zero),
        AFRESH(the_first_version_of_a_struct_is_taken),
        AFRESH(environment_with_an_unknown_way_is_refused),
        AFRESH(one_shared_element_is_an_overlap_and_none_is_not),
        AFRESH(other_layouts_take_the_workspace_that_they_ask_for),
        AFRESH(offsets_may_be_broadcast),
        AFRESH(values_that_nobody_reads_may_be_of_any_width),
        AFRESH(data_is_aligned_to_its_elements),
    };
    unsetenv("ATTN_WAY");
    return cmocka_run_group_tests_name("bad input", tests, rows_setup, rows_teardown);
}
