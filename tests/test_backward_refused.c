/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_backward_refused.c: calls of attn_backward that are wrong, or that get no memory. Each starts from a struct with
 * which the call succeeds and changes a field or two; a refused call must leave the whole struct as it was, byte for
 * byte. And what memory a call that succeeds asks for.
 */
#define _POSIX_C_SOURCE 200112L
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backward_scene.h"

/* ---------------------------------------------------------------------------------------------- the call */

enum { B = 2, HQ = 4, HK = 2, TQ = 3, TK = 5, DQ = 3, DK = 4, DV = 6, TAIL = 4096, ROWS = B * HQ * TQ };

struct call {
    attn_backward_args args;
    unsigned char args_tail[TAIL]; /* what a later version's struct would have more */
    attn_forward_args forward;
    attn_tensor query, key, value, mask, bias, key_lengths, context, logsumexp, W, slopes;
    attn_tensor d_context, d_weights, d_logsumexp, d_query, d_key, d_value, d_bias, d_alibi, d_W;
    const attn_tensor *d_params[1];
    /* The same numbers as a ragged batch; and a table of pages. */
    attn_backward_args ragged;
    attn_forward_args ragged_forward;
    attn_tensor rows_query, rows_key, rows_value, rows_context, rows_logsumexp, rows_d_context, rows_d_query,
        rows_d_key, rows_d_value, query_offsets, key_offsets, page_table;
    attn_backward_args *to_ragged;
    attn_tensor *to_page_table, *to_query_offsets, *to_key_offsets;
    attn_mechanism *mechanism, *without_alibi, *unbound, *hardmax, *doubles;
    attn_backward_args *passed;
    size_t bytes, *bytes_out;
    void *scratch;
    int64_t one_byte_less;
    _Alignas(64) float query_data[ROWS * DQ], key_data[B * HK * TK * DK],
        value_data[B * HK * TK * DV], bias_data[TQ * TK], context_data[ROWS * DV],
        logsumexp_data[ROWS], W_data[DQ * DK], slopes_data[HQ], d_context_data[ROWS * DV], d_weights_data[ROWS * TK],
        d_logsumexp_data[ROWS], d_query_data[ROWS * DQ], d_key_data[B * HK * TK * DK], d_value_data[B * HK * TK * DV],
        d_bias_data[TQ * TK], d_alibi_data[HQ], d_W_data[DQ * DK];
    double W_doubles[DQ * DK];
    int64_t lengths_data[B], query_offsets_data[B + 1], key_offsets_data[B + 1];
    unsigned char mask_data[TQ * TK], workspace[1 << 18];
};

_Static_assert(offsetof(struct call, args_tail) == sizeof(attn_backward_args), "the tail follows the struct");

static void view(attn_tensor *tensor, void *data, attn_dtype dtype, int32_t ndim, int64_t a, int64_t b, int64_t c,
                 int64_t d)
{
    const int64_t all[4] = {a, b, c, d};
    MUST(attn_tensor_init(tensor, data, dtype, ndim, all + 4 - ndim));
}

static void view_all(struct call *c)
{
    view(&c->query, c->query_data, ATTN_F32, 4, B, HQ, TQ, DQ);
    view(&c->key, c->key_data, ATTN_F32, 4, B, HK, TK, DK);
    view(&c->value, c->value_data, ATTN_F32, 4, B, HK, TK, DV);
    view(&c->mask, c->mask_data, ATTN_BOOL, 4, 1, 1, TQ, TK);
    view(&c->bias, c->bias_data, ATTN_F32, 4, 1, 1, TQ, TK);
    view(&c->key_lengths, c->lengths_data, ATTN_I64, 1, 0, 0, 0, B);
    view(&c->context, c->context_data, ATTN_F32, 4, B, HQ, TQ, DV);
    view(&c->logsumexp, c->logsumexp_data, ATTN_F32, 3, 0, B, HQ, TQ);
    view(&c->W, c->W_data, ATTN_F32, 2, 0, 0, DQ, DK);
    view(&c->slopes, c->slopes_data, ATTN_F32, 1, 0, 0, 0, HQ);
    view(&c->d_context, c->d_context_data, ATTN_F32, 4, B, HQ, TQ, DV);
    view(&c->d_weights, c->d_weights_data, ATTN_F32, 4, B, HQ, TQ, TK);
    view(&c->d_logsumexp, c->d_logsumexp_data, ATTN_F32, 3, 0, B, HQ, TQ);
    view(&c->d_query, c->d_query_data, ATTN_F32, 4, B, HQ, TQ, DQ);
    view(&c->d_key, c->d_key_data, ATTN_F32, 4, B, HK, TK, DK);
    view(&c->d_value, c->d_value_data, ATTN_F32, 4, B, HK, TK, DV);
    view(&c->d_bias, c->d_bias_data, ATTN_F32, 4, 1, 1, TQ, TK);
    view(&c->d_alibi, c->d_alibi_data, ATTN_F32, 1, 0, 0, 0, HQ);
    view(&c->d_W, c->d_W_data, ATTN_F32, 2, 0, 0, DQ, DK);
    view(&c->rows_query, c->query_data, ATTN_F32, 4, 1, HQ, B * TQ, DQ);
    view(&c->rows_key, c->key_data, ATTN_F32, 4, 1, HK, B * TK, DK);
    view(&c->rows_value, c->value_data, ATTN_F32, 4, 1, HK, B * TK, DV);
    view(&c->rows_context, c->context_data, ATTN_F32, 4, 1, HQ, B * TQ, DV);
    view(&c->rows_logsumexp, c->logsumexp_data, ATTN_F32, 3, 0, 1, HQ, B * TQ);
    view(&c->rows_d_context, c->d_context_data, ATTN_F32, 4, 1, HQ, B * TQ, DV);
    view(&c->rows_d_query, c->d_query_data, ATTN_F32, 4, 1, HQ, B * TQ, DQ);
    view(&c->rows_d_key, c->d_key_data, ATTN_F32, 4, 1, HK, B * TK, DK);
    view(&c->rows_d_value, c->d_value_data, ATTN_F32, 4, 1, HK, B * TK, DV);
    view(&c->query_offsets, c->query_offsets_data, ATTN_I64, 1, 0, 0, 0, B + 1);
    view(&c->key_offsets, c->key_offsets_data, ATTN_I64, 1, 0, 0, 0, B + 1);
    view(&c->page_table, c->query_offsets_data, ATTN_I64, 2, 0, 0, B, 1);
}

static void make_ragged(struct call *c)
{
    for (int b = 0; b <= B; b++) {
        c->query_offsets_data[b] = TQ * b;
        c->key_offsets_data[b] = TK * b;
    }
    c->ragged_forward = (attn_forward_args)ATTN_FORWARD_ARGS_INIT;
    c->ragged_forward.query = &c->rows_query, c->ragged_forward.key = &c->rows_key;
    c->ragged_forward.value = &c->rows_value, c->ragged_forward.key_lengths = &c->key_lengths;
    c->ragged_forward.query_offsets = &c->query_offsets, c->ragged_forward.key_offsets = &c->key_offsets;
    c->ragged_forward.context = &c->rows_context, c->ragged_forward.logsumexp = &c->rows_logsumexp;
    c->ragged = (attn_backward_args)ATTN_BACKWARD_ARGS_INIT;
    c->ragged.forward = &c->ragged_forward, c->ragged.d_context = &c->rows_d_context;
    c->ragged.d_query = &c->rows_d_query, c->ragged.d_key = &c->rows_d_key, c->ragged.d_value = &c->rows_d_value;
    c->ragged.d_params = c->d_params, c->ragged.d_alibi = &c->d_alibi;
    c->to_ragged = &c->ragged, c->to_page_table = &c->page_table;
    c->to_query_offsets = &c->query_offsets, c->to_key_offsets = &c->key_offsets;
}

static attn_mechanism *general(const attn_tensor *W, const attn_tensor *slopes)
{
    attn_mechanism *m;
    MUST(attn_mechanism_create_general(engine, DQ, DK, &m));
    if (W) MUST(attn_mechanism_bind_param(m, "W", W));
    if (slopes) MUST(attn_mechanism_set_alibi(m, slopes, ATTN_ALIGN_TOP_LEFT));
    return m;
}

static void create(struct call *c)
{
    struct rng rng = {1};
    attn_tensor doubles;
    memset(c, 0xA5, sizeof *c);
    memset(c->args_tail, 0, TAIL);
    const struct {
        float *data;
        size_t count;
    } inputs[] = {{c->query_data, ROWS * DQ},
                  {c->key_data, B * HK * TK * DK},
                  {c->value_data, B * HK * TK * DV},
                  {c->bias_data, TQ * TK},
                  {c->W_data, DQ * DK},
                  {c->slopes_data, HQ},
                  {c->d_context_data, ROWS * DV},
                  {c->d_weights_data, ROWS * TK},
                  {c->d_logsumexp_data, ROWS}};
    for (size_t i = 0; i < sizeof inputs / sizeof *inputs; i++) {
        for (size_t k = 0; k < inputs[i].count; k++) inputs[i].data[k] = (float)rng_normal(&rng);
    }
    memset(c->mask_data, 1, sizeof c->mask_data);
    c->lengths_data[0] = TK;
    c->lengths_data[1] = 2;
    view_all(c);
    view(&doubles, c->W_doubles, ATTN_F64, 2, 0, 0, DQ, DK);
    c->mechanism = general(&c->W, &c->slopes);
    c->without_alibi = general(&c->W, NULL);
    c->unbound = general(NULL, &c->slopes);
    c->doubles = general(&doubles, &c->slopes);
    c->hardmax = general(&c->W, &c->slopes);
    MUST(attn_mechanism_set_normaliser(c->hardmax, ATTN_HARDMAX));

    c->forward = (attn_forward_args)ATTN_FORWARD_ARGS_INIT;
    c->forward.query = &c->query, c->forward.key = &c->key, c->forward.value = &c->value;
    c->forward.mask = &c->mask, c->forward.bias = &c->bias, c->forward.key_lengths = &c->key_lengths;
    c->forward.context = &c->context, c->forward.logsumexp = &c->logsumexp;
    MUST(attn_forward(c->mechanism, &c->forward));
    c->args = (attn_backward_args)ATTN_BACKWARD_ARGS_INIT;
    c->args.forward = &c->forward;
    c->args.d_context = &c->d_context, c->args.d_weights = &c->d_weights, c->args.d_logsumexp = &c->d_logsumexp;
    c->args.d_query = &c->d_query, c->args.d_key = &c->d_key, c->args.d_value = &c->d_value;
    c->args.d_bias = &c->d_bias, c->args.d_alibi = &c->d_alibi, c->args.d_params = c->d_params;
    c->d_params[0] = &c->d_W;
    make_ragged(c);
    c->passed = &c->args;
    c->bytes_out = &c->bytes;
    c->scratch = c->workspace;
    size_t needed;
    MUST(attn_backward_workspace(c->mechanism, &c->args, &needed));
    assert_in_range(needed, 1, sizeof c->workspace);
    c->one_byte_less = (int64_t)needed - 1;
}

static struct call *call, *original, *computed, *before;

static int setup(void **state)
{
    struct call **const all[] = {&call, &original, &computed, &before};
    (void)state;
    for (int i = 0; i < 4; i++) *all[i] = aligned_alloc(64, (sizeof(struct call) + 63) / 64 * 64);
    create(call);
    memcpy(original, call, sizeof *call);
    MUST(attn_backward(call->mechanism, &call->args));
    memcpy(computed, call, sizeof *call);
    memcpy(call, original, sizeof *call);
    return memcmp(computed, original, sizeof *call) == 0; /* nothing would be seen to be written */
}

static int teardown(void **state)
{
    (void)state;
    memcpy(call, original, sizeof *call);
    attn_mechanism *const all[] = {call->mechanism, call->without_alibi, call->unbound, call->hardmax, call->doubles};
    for (int i = 0; i < 5; i++) attn_mechanism_destroy(all[i]);
    free(call), free(original), free(computed), free(before);
    return 0;
}

/* -------------------------------------------------------------------------------------------- checking */

struct change {
    size_t at, size;
    int64_t number;
    size_t from; /* another field, whose bytes are copied; 0: the number */
    const char *text;
};

#define FIELD_SIZE(field) sizeof(((struct call *)0)->field)
#define SET(field, number)                                                                                             \
    {                                                                                                                  \
        offsetof(struct call, field), FIELD_SIZE(field), (number), 0, #field " = " #number                             \
    }
#define COPY(field, other)                                                                                             \
    {                                                                                                                  \
        offsetof(struct call, field), FIELD_SIZE(field), 0, offsetof(struct call, other), #field " = " #other          \
    }

static void apply(const struct change *change)
{
    unsigned char *field = (unsigned char *)call + change->at;
    const int8_t n8 = (int8_t)change->number;
    const int32_t n32 = (int32_t)change->number;
    if (change->from != 0) {
        memmove(field, (unsigned char *)call + change->from, change->size);
    } else {
        memcpy(field,
               change->size == 8   ? (const void *)&change->number
               : change->size == 4 ? (const void *)&n32
                                   : (const void *)&n8,
               change->size);
    }
}

static void check_refused(attn_status status, const char *word, const struct change *changes, int count)
{
    static const char *const names[] = {"attn_backward", "attn_backward_workspace"};
    char what[256];
    what[0] = '\0';
    for (int i = 0; i < count; i++) {
        const char *text = changes[i].text ? changes[i].text : "";
        snprintf(what + strlen(what), sizeof what - strlen(what), "%s%s", i > 0 ? ", " : "", text);
    }
    for (int i = 0; i < count; i++) apply(&changes[i]);
    memcpy(before, call, sizeof *before);
    for (int f = 0; f < 2; f++) {
        if (f == 1 && strncmp(word, "workspace", 9) == 0) break; /* which is not looked at then */
        const attn_status got = f == 0 ? attn_backward(call->mechanism, call->passed)
                                       : attn_backward_workspace(call->mechanism, call->passed, call->bytes_out);
        const char *sentence = attn_last_error();
        const size_t length = strlen(names[f]);
        if (got != status) fail_msg("%s: %s: %s (%s)", names[f], what, attn_status_string(got), got ? sentence : "");
        if (strncmp(sentence, names[f], length) != 0 || sentence[length] != ':') {
            fail_msg("%s: %s: the sentence does not begin with the function: %s", names[f], what, sentence);
        }
        if (strstr(sentence + length, word) == NULL) {
            fail_msg("%s: %s: the sentence lacks \"%s\": %s", names[f], what, word, sentence);
        }
        if (memcmp(before, call, sizeof *before) != 0) fail_msg("%s: %s: something was written", names[f], what);
    }
    memcpy(call, original, sizeof *call);
    MUST(attn_backward(call->mechanism, &call->args));
    if (memcmp(call, computed, sizeof *call) != 0) fail_msg("%s: attn_backward computes otherwise now", what);
    memcpy(call, original, sizeof *call);
}

/* ------------------------------------------------------------------------------------------------- rows */

struct row {
    attn_status status;
    const char *word; /* that the sentence holds */
    struct change changes[4];
};

#define REFUSED(status, word, ...)                                                                                     \
    {                                                                                                                  \
        ATTN_ERR_##status, word,                                                                                       \
        {                                                                                                              \
            __VA_ARGS__                                                                                                \
        }                                                                                                              \
    }

#define RAGGED COPY(passed, to_ragged)

static const struct row rows[] = {
    REFUSED(ARGUMENT, "mechanism", SET(mechanism, 0)),
    REFUSED(ARGUMENT, "args", SET(passed, 0)),
    REFUSED(ARGUMENT, "forward", SET(args.forward, 0)),
    REFUSED(ARGUMENT, "accumulate", SET(args.accumulate, 2)),
    REFUSED(ARGUMENT, "accumulate", SET(args.accumulate, -1)),
    REFUSED(ARGUMENT, "query", SET(forward.query, 0)),
    REFUSED(ARGUMENT, "key", SET(forward.key, 0)),
    REFUSED(ARGUMENT, "logsumexp", SET(forward.logsumexp, 0)),
    REFUSED(ARGUMENT, "context", SET(forward.context, 0)),
    REFUSED(ARGUMENT, "d_context", SET(args.d_context, 0), SET(args.d_weights, 0), SET(args.d_logsumexp, 0)),
    REFUSED(ARGUMENT, "d_bias", SET(forward.bias, 0)),
    REFUSED(ARGUMENT, "d_alibi", COPY(mechanism, without_alibi)),
    REFUSED(STRUCT_SIZE, "struct_size", SET(args.struct_size, 0)),
    REFUSED(STRUCT_SIZE, "struct_size", SET(args.struct_size, sizeof(attn_backward_args) - 1)),
    REFUSED(STRUCT_SIZE, "struct_size", SET(args.struct_size, 4097)),
    REFUSED(STRUCT_SIZE, "struct_size", SET(args.struct_size, sizeof(attn_backward_args) + 1), SET(args_tail[0], 1)),
    REFUSED(STRUCT_SIZE, "struct_size", SET(forward.struct_size, 0)),
    REFUSED(PARAMETER, "W", COPY(mechanism, unbound)),
    REFUSED(UNSUPPORTED, "hardmax", COPY(mechanism, hardmax)),
    REFUSED(DTYPE, "W", COPY(mechanism, doubles)),
    REFUSED(DTYPE, "key", SET(key.dtype, ATTN_F64)),
    REFUSED(SHAPE, "heads", SET(query.shape[1], 3)),
    REFUSED(SHAPE, "batch", SET(key.shape[0], 1)),
    REFUSED(SHAPE, "d_bias", SET(d_bias.shape[1], HQ)),
    REFUSED(SHAPE, "d_bias", SET(bias.shape[2], 1)),
    REFUSED(SHAPE, "d_W", SET(d_W.shape[0], DK), SET(d_W.shape[1], DQ)),
    REFUSED(ARGUMENT, "key_lengths[0]", SET(lengths_data[0], -1)),
    REFUSED(ARGUMENT, "key_lengths[1]", SET(lengths_data[1], TK + 1)),
    REFUSED(ARGUMENT, "query_start", SET(forward.query_start, INT64_MAX)),
    REFUSED(OVERLAP, "query", COPY(d_logsumexp.data, d_query.data)),
    REFUSED(OVERLAP, "d_key", COPY(d_key.data, d_value.data)),
    REFUSED(OVERLAP, "d_query", SET(d_query.stride[2], DQ - 1)),
    REFUSED(OVERLAP, "d_W", SET(d_W.stride[0], 1)),
    REFUSED(BUFFER, "workspace_size", COPY(args.workspace, scratch), COPY(args.workspace_size, one_byte_less)),
    REFUSED(BUFFER, "workspace_size", COPY(args.workspace, scratch), SET(args.workspace_size, 0)),
    REFUSED(OVERLAP, "workspace", COPY(args.workspace, d_query.data), SET(args.workspace_size, 1 << 24)),
    REFUSED(OVERLAP, "workspace", COPY(args.workspace, context.data), SET(args.workspace_size, 1 << 24)),
    REFUSED(OVERLAP, "workspace", COPY(args.workspace, d_context.data), SET(args.workspace_size, 1 << 24)),
    REFUSED(UNSUPPORTED, "page_table", COPY(forward.page_table, to_page_table)),
    REFUSED(UNSUPPORTED, "page_table", RAGGED, COPY(ragged_forward.page_table, to_page_table),
            SET(ragged_forward.key_offsets, 0)),
    REFUSED(ARGUMENT, "page_offsets", COPY(forward.page_offsets, to_query_offsets)),
    REFUSED(ARGUMENT, "reserved", SET(forward.reserved, 1)),
    REFUSED(ARGUMENT, "mask_align", SET(forward.mask_align, ATTN_ALIGN_TOP_LEFT)),
    REFUSED(ARGUMENT, "mask_align", SET(forward.mask_align, ATTN_ALIGN_BOTTOM_RIGHT), SET(forward.mask, 0)),
    REFUSED(SHAPE, "query", COPY(forward.query_offsets, to_query_offsets)),
    REFUSED(SHAPE, "key", COPY(forward.key_offsets, to_key_offsets)),
    REFUSED(ARGUMENT, "query_offsets", RAGGED, SET(query_offsets_data[B], B *TQ + 1)),
    REFUSED(ARGUMENT, "key_offsets[1]", RAGGED, SET(key_offsets_data[0], TK + 1)),
    REFUSED(ARGUMENT, "key_lengths[1]", RAGGED, SET(key_offsets_data[1], B *TK - 1)),
    REFUSED(SHAPE, "context", RAGGED, COPY(ragged_forward.context, forward.context)),
    REFUSED(SHAPE, "logsumexp", RAGGED, COPY(ragged_forward.logsumexp, forward.logsumexp)),
    REFUSED(SHAPE, "d_context", RAGGED, COPY(ragged.d_context, args.d_context)),
    REFUSED(SHAPE, "d_query", RAGGED, COPY(ragged.d_query, args.d_query)),
    REFUSED(SHAPE, "d_key", RAGGED, COPY(ragged.d_key, args.d_key)),
    REFUSED(SHAPE, "d_value", RAGGED, COPY(ragged.d_value, args.d_value)),
    REFUSED(SHAPE, "d_weights", RAGGED, COPY(ragged.d_weights, args.d_weights)),
    REFUSED(OVERLAP, "query_offsets", RAGGED, COPY(d_alibi.data, query_offsets.data)),
    REFUSED(OVERLAP, "key_offsets", RAGGED, COPY(d_alibi.data, key_offsets.data)),
    REFUSED(OVERLAP, "workspace", RAGGED, COPY(ragged.workspace, query_offsets.data),
            SET(ragged.workspace_size, 1 << 24)),
    REFUSED(BUFFER, "workspace_size", RAGGED, COPY(ragged.workspace, scratch), SET(ragged.workspace_size, 1)),
};

static void wrong_calls_are_refused_in_words_and_change_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int count = 0;
        while (count < 4 && rows[i].changes[count].text != NULL) count++;
        check_refused(rows[i].status, rows[i].word, rows[i].changes, count);
    }
}

static void d_value_is_refused_where_the_keys_are_the_values(void **state)
{
    static const struct change changes[] = {SET(forward.value, 0), SET(forward.context, 0), SET(args.d_context, 0)};
    (void)state;
    check_refused(ATTN_ERR_ARGUMENT, "d_value", changes, 3);
}

static void a_workspace_has_its_size_told(void **state)
{
    (void)state;
    assert_int_equal(attn_backward_workspace(call->mechanism, &call->args, NULL), ATTN_ERR_ARGUMENT);
    assert_non_null(strstr(attn_last_error(), "bytes"));
}

static void structs_of_later_versions_are_taken_if_what_they_add_is_zero(void **state)
{
    (void)state;
    call->args.struct_size = TAIL;
    MUST(attn_backward(call->mechanism, &call->args));
    assert_memory_equal(call->d_query_data, computed->d_query_data, sizeof call->d_query_data);
    memcpy(call, original, sizeof *call);
}

/* ------------------------------------------------------------------------------------------ every tensor */

static const struct tensor_argument {
    size_t at;
    const char *name;
    bool output;
} tensors[] = {
#define TENSOR(field, output)                                                                                          \
    {                                                                                                                  \
        offsetof(struct call, field), #field, output                                                                   \
    }
    TENSOR(context, false),     TENSOR(logsumexp, false), TENSOR(d_context, false), TENSOR(d_weights, false),
    TENSOR(d_logsumexp, false), TENSOR(d_query, true),    TENSOR(d_key, true),      TENSOR(d_value, true),
    TENSOR(d_bias, true),       TENSOR(d_alibi, true),    TENSOR(d_W, true),
};
enum { TENSORS = sizeof tensors / sizeof *tensors };

static void refuse_part(const struct tensor_argument *t, size_t part, size_t size, int64_t number, attn_status status,
                        const char *word)
{
    char text[96];
    snprintf(text, sizeof text, "%s: byte %zu = %lld", t->name, part, (long long)number);
    const struct change change = {t->at + part, size, number, 0, text};
    check_refused(status, word, &change, 1);
}

static void every_tensor_is_checked_in_every_part(void **state)
{
    static const int64_t dtypes[] = {0, 9, -1, ATTN_F64, ATTN_F16, ATTN_BOOL, ATTN_I32}, ndims[] = {0, -1, 5};
    const size_t shape = offsetof(attn_tensor, shape), stride = offsetof(attn_tensor, stride);
    (void)state;
    for (int i = 0; i < TENSORS; i++) {
        const struct tensor_argument *t = &tensors[i];
        const attn_tensor tensor = *(const attn_tensor *)(const void *)((unsigned char *)call + t->at);
        const size_t last = 8 * (size_t)(tensor.ndim - 1);
        const int64_t data = (int64_t)(intptr_t)tensor.data;
        for (int k = 0; k < 7; k++) {
            if (dtypes[k] == ATTN_F64 && strcmp(t->name, "logsumexp") == 0) continue; /* it may be more exact */
            refuse_part(t, offsetof(attn_tensor, dtype), 4, dtypes[k], ATTN_ERR_DTYPE, t->name);
        }
        for (int k = 0; k < 3; k++) {
            refuse_part(t, offsetof(attn_tensor, ndim), 4, ndims[k], ATTN_ERR_SHAPE, t->name);
        }
        refuse_part(t, offsetof(attn_tensor, data), sizeof(void *), 0, ATTN_ERR_ARGUMENT, t->name);
        refuse_part(t, offsetof(attn_tensor, data), sizeof(void *), data + 2, ATTN_ERR_ARGUMENT, t->name);
        refuse_part(t, stride + last, 8, INT64_MAX, ATTN_ERR_OVERFLOW, t->name);
        refuse_part(t, stride + last, 8, INT64_MIN, ATTN_ERR_OVERFLOW, t->name);
        if (t->output) refuse_part(t, stride + last, 8, 0, ATTN_ERR_OVERLAP, t->name);
        for (size_t d = 0; d <= last; d += 8) {
            refuse_part(t, shape + d, 8, -1, ATTN_ERR_SHAPE, t->name);
            refuse_part(t, shape + d, 8, tensor.shape[d / 8] + 7, ATTN_ERR_SHAPE, "");
        }
    }
}

static void no_gradient_may_share_memory_with_anything(void **state)
{
    static const struct {
        size_t data;
        const char *name;
    } others[] = {
#define OTHER(field, name) {offsetof(struct call, field.data), name}
        OTHER(query, "query"),
        OTHER(key, "key"),
        OTHER(value, "value"),
        OTHER(mask, "mask"),
        OTHER(bias, "bias"),
        OTHER(key_lengths, "key_lengths"),
        OTHER(context, "context"),
        OTHER(logsumexp, "logsumexp"),
        OTHER(W, "W"),
        OTHER(slopes, "slopes"),
        OTHER(d_context, "d_context"),
        OTHER(d_weights, "d_weights"),
        OTHER(d_query, "d_query"),
        OTHER(d_logsumexp, "d_logsumexp"),
        OTHER(d_key, "d_key"),
        OTHER(d_value, "d_value"),
        OTHER(d_bias, "d_bias"),
        OTHER(d_alibi, "d_alibi"),
        OTHER(d_W, "d_W"),
    };
    (void)state;
    for (int i = 0; i < TENSORS; i++) {
        const size_t data = tensors[i].at + offsetof(attn_tensor, data);
        for (size_t k = 0; k < sizeof others / sizeof *others && tensors[i].output; k++) {
            char text[96];
            if (others[k].data == data) continue;
            snprintf(text, sizeof text, "%s lies on %s", tensors[i].name, others[k].name);
            const struct change change = {data, sizeof(void *), 0, others[k].data, text};
            check_refused(ATTN_ERR_OVERLAP, "", &change, 1);
        }
    }
}

/* What an earlier test that has failed left behind is not the next one's matter. */
static int start_afresh(void **state)
{
    (void)state;
    memcpy(call, original, sizeof *call);
    return 0;
}

#define AFRESH(test) cmocka_unit_test_setup(test, start_afresh)

int main(void)
{
    const struct CMUnitTest tests[] = {
        AFRESH(wrong_calls_are_refused_in_words_and_change_nothing),
        AFRESH(d_value_is_refused_where_the_keys_are_the_values),
        AFRESH(a_workspace_has_its_size_told),
        AFRESH(structs_of_later_versions_are_taken_if_what_they_add_is_zero),
        AFRESH(every_tensor_is_checked_in_every_part),
        AFRESH(no_gradient_may_share_memory_with_anything),
    };
    if (engine_setup(NULL) != 0) return 1;
    const int failed = cmocka_run_group_tests_name("backward_refused", tests, setup, teardown);
    attn_engine_destroy(engine);
    return failed;
}
