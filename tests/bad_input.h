/* SPDX-License-Identifier: BSD-3-Clause
 *
 * bad_input.h: what test_bad_input.c breaks. Everything that a call can see (arguments, tensors, their data, handles,
 * results) lies in one struct, with which every public function succeeds; every public function is called with it.
 */
#ifndef ATTN_TESTS_BAD_INPUT_H
#define ATTN_TESTS_BAD_INPUT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support.h"

/* ---------------------------------------------------------------------------------------------- the call */

enum { B = 2, HQ = 4, HK = 2, TQ = 3, TK = 5, DQ = 3, DK = 4, DV = 6, A = 4, TAIL = 4096 };
enum { PAGE = 2, PAGES = B * TK / PAGE, MOST_PAGES = 3 }; /* of a sequence */
enum { FEW = 3, CHOSEN = 4 };                             /* rows that are appended; positions that are kept */

struct call {
    attn_forward_args args;
    unsigned char args_tail[TAIL]; /* what a later version's struct would have more */
    attn_engine_options options;
    unsigned char options_tail[TAIL];
    attn_param_info info;

    attn_tensor query, key, value, mask, bias, key_lengths, context, weights, scores, logsumexp;
    attn_tensor param, slopes, sinks, made_tensor; /* param fits W of general */

    /* The same numbers as ragged batches; as pages; and as a padded batch whose mask is of the last keys. */
    attn_forward_args ragged, paged, tree;
    attn_tensor rows_query, rows_key, rows_value, rows_context, rows_weights, rows_logsumexp, query_offsets,
        key_offsets, pages_key, pages_value, page_table, packed_table, page_offsets, tree_mask;

    /* Rows that are appended to pages, of numbers and of integers; positions of a memory that are kept. */
    attn_pages_append_args append, append_integers;
    unsigned char append_tail[TAIL];
    attn_tensor few_key, few_value, slots, to_pages_key, to_pages_value, to_integers_key, to_integers_value,
        to_key_scales, to_value_scales, kept_lengths, positions, kept_offsets, reordered;

    /* Handles: general is what most calls use. location was made for 4 keys; narrow for keys of 3 dimensions. */
    attn_engine *engine, *made_engine;
    attn_mechanism *mechanism, *made, *general, *dot, *location, *narrow, *causal, *sloped, *sloped_double, *sunk,
        *sunk_double, *unbound, *doubles;

    /* Arguments by value, and pointers that are passed on. */
    attn_forward_args *forward_args, *to_ragged, *to_paged, *to_tree;
    attn_tensor *to_key_offsets, *to_packed_table, *to_page_offsets, *to_tree_mask;
    attn_memory *memory, *three_memory; /* of B sequences, and of 3 */
    attn_memory *kept, *turned;         /* turned: whose keys are */
    const attn_pages_append_args *append_args, *to_append_integers;
    const attn_tensor *to_kept_lengths, *to_positions, *to_kept_offsets, *rows;
    attn_engine_options *engine_options;
    attn_engine **engine_out;
    attn_mechanism **mechanism_out;
    attn_param_info *info_out;
    attn_tensor *tensor_out, *bound, *alibi, *sink;
    const char *name, *constant;
    const int64_t *shape;
    int32_t *count_out;
    int64_t *total_out, *value_out;
    size_t *bytes_out;
    char *json;
    int64_t query_dim, key_dim, hidden_dim, max_keys, left, right, shape_in[4], one_byte_less;
    int32_t index, align, normaliser, precision, tensor_dtype, tensor_ndim, count;
    uint32_t flags;
    int64_t total, constant_value;
    size_t bytes;
    void *tensor_data;
    double scale, cap, tau;

    /* Memory. */
    _Alignas(64) float query_data[B * HQ * TQ * DQ], key_data[B * HK * TK * DK],
        value_data[B * HK * TK * DV], bias_data[TQ * TK], context_data[B * HQ * TQ * DV],
        weights_data[B * HQ * TQ * TK], scores_data[B * HQ * TQ * TK], logsumexp_data[B * HQ * TQ], param_data[DQ * DK],
        slopes_data[HQ], sinks_data[HQ];
    double double_data[DQ * DK + HQ];
    int64_t lengths_data[B], query_offsets_data[B + 1], key_offsets_data[B + 1], table_data[B * MOST_PAGES],
        page_offsets_data[B + 1], slots_data[FEW], kept_lengths_data[B], positions_data[CHOSEN],
        kept_offsets_data[B + 1], rows_data[B];
    _Alignas(64) float to_key_data[PAGES * HK * PAGE * DK], to_value_data[PAGES * HK * PAGE * DV],
        to_key_scales_data[PAGES * HK * PAGE], to_value_scales_data[PAGES * HK * PAGE];
    signed char to_integers_key_data[PAGES * HK * PAGE * DK], to_integers_value_data[PAGES * HK * PAGE * DV];
    unsigned char mask_data[TQ * TK], workspace[1 << 18];
    char json_data[8192];
};

_Static_assert(offsetof(struct call, args_tail) == sizeof(attn_forward_args), "the tail follows the struct");
_Static_assert(offsetof(struct call, append_tail) - offsetof(struct call, append_integers) ==
                   sizeof(attn_pages_append_args),
               "the tail follows the struct");
_Static_assert(offsetof(struct call, options_tail) - offsetof(struct call, options) == sizeof(attn_engine_options),
               "the tail follows the struct");

/* An allocator that counts, and refuses what no test needs. */
static int64_t blocks_alive, bytes_alive;

static void *counting_allocate(void *data, size_t bytes, size_t alignment)
{
    void *block = NULL;
    (void)data;
    if (bytes == 0 || bytes > (size_t)1 << 26 || posix_memalign(&block, alignment, bytes) != 0) return NULL;
    blocks_alive++;
    bytes_alive += (int64_t)bytes;
    return block;
}

static void counting_release(void *data, void *pointer, size_t bytes)
{
    (void)data;
    blocks_alive--;
    bytes_alive -= (int64_t)bytes;
    free(pointer);
}

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
    view(&c->weights, c->weights_data, ATTN_F32, 4, B, HQ, TQ, TK);
    view(&c->scores, c->scores_data, ATTN_F32, 4, B, HQ, TQ, TK);
    view(&c->logsumexp, c->logsumexp_data, ATTN_F32, 3, 0, B, HQ, TQ);
    view(&c->param, c->param_data, ATTN_F32, 2, 0, 0, DQ, DK);
    view(&c->slopes, c->slopes_data, ATTN_F32, 1, 0, 0, 0, HQ);
    view(&c->sinks, c->sinks_data, ATTN_F32, 1, 0, 0, 0, HQ);
    view(&c->made_tensor, c->param_data, ATTN_F32, 1, 0, 0, 0, 1);
    view(&c->rows_query, c->query_data, ATTN_F32, 4, 1, HQ, B * TQ, DQ);
    view(&c->rows_key, c->key_data, ATTN_F32, 4, 1, HK, B * TK, DK);
    view(&c->rows_value, c->value_data, ATTN_F32, 4, 1, HK, B * TK, DV);
    view(&c->rows_context, c->context_data, ATTN_F32, 4, 1, HQ, B * TQ, DV);
    view(&c->rows_weights, c->weights_data, ATTN_F32, 4, 1, HQ, B * TQ, TK);
    view(&c->rows_logsumexp, c->logsumexp_data, ATTN_F32, 3, 0, 1, HQ, B * TQ);
    view(&c->query_offsets, c->query_offsets_data, ATTN_I64, 1, 0, 0, 0, B + 1);
    view(&c->key_offsets, c->key_offsets_data, ATTN_I64, 1, 0, 0, 0, B + 1);
    view(&c->pages_key, c->key_data, ATTN_F32, 4, PAGES, HK, PAGE, DK);
    view(&c->pages_value, c->value_data, ATTN_F32, 4, PAGES, HK, PAGE, DV);
    view(&c->page_table, c->table_data, ATTN_I64, 2, 0, 0, B, MOST_PAGES);
    view(&c->packed_table, c->table_data, ATTN_I64, 1, 0, 0, 0, B * MOST_PAGES);
    view(&c->page_offsets, c->page_offsets_data, ATTN_I64, 1, 0, 0, 0, B + 1);
    view(&c->tree_mask, c->mask_data, ATTN_BOOL, 4, 1, 1, TQ, TQ);
}

/* Sequence 0 keeps positions 0, 1 and 3, sequence 1 positions 1 and 4 of the five that each has. */
static void make_appends(struct call *c)
{
    static const int64_t slots[FEW] = {2 * PAGES - 1, -1, 0}, lengths[B] = {1, 0}, positions[CHOSEN] = {1, 3, 1, 4},
                         offsets[B + 1] = {0, 2, 4}, order[B] = {1, -1};
    memcpy(c->slots_data, slots, sizeof slots);
    memcpy(c->kept_lengths_data, lengths, sizeof lengths);
    memcpy(c->positions_data, positions, sizeof positions);
    memcpy(c->kept_offsets_data, offsets, sizeof offsets);
    memcpy(c->rows_data, order, sizeof order);
    view(&c->few_key, c->key_data, ATTN_F32, 4, 1, HK, FEW, DK);
    view(&c->few_value, c->value_data, ATTN_F32, 4, 1, HK, FEW, DV);
    view(&c->slots, c->slots_data, ATTN_I64, 1, 0, 0, 0, FEW);
    view(&c->to_pages_key, c->to_key_data, ATTN_F32, 4, PAGES, HK, PAGE, DK);
    view(&c->to_pages_value, c->to_value_data, ATTN_F32, 4, PAGES, HK, PAGE, DV);
    view(&c->to_integers_key, c->to_integers_key_data, ATTN_I8, 4, PAGES, HK, PAGE, DK);
    view(&c->to_integers_value, c->to_integers_value_data, ATTN_I8, 4, PAGES, HK, PAGE, DV);
    view(&c->to_key_scales, c->to_key_scales_data, ATTN_F32, 3, 0, PAGES, HK, PAGE);
    view(&c->to_value_scales, c->to_value_scales_data, ATTN_F32, 3, 0, PAGES, HK, PAGE);
    view(&c->kept_lengths, c->kept_lengths_data, ATTN_I64, 1, 0, 0, 0, B);
    view(&c->positions, c->positions_data, ATTN_I64, 1, 0, 0, 0, CHOSEN);
    view(&c->kept_offsets, c->kept_offsets_data, ATTN_I64, 1, 0, 0, 0, B + 1);
    view(&c->reordered, c->rows_data, ATTN_I64, 1, 0, 0, 0, B);
    c->append = c->append_integers = (attn_pages_append_args)ATTN_PAGES_APPEND_ARGS_INIT;
    c->append.slots = c->append_integers.slots = &c->slots;
    c->append.key = c->append_integers.key = &c->few_key;
    c->append.value = c->append_integers.value = &c->few_value;
    c->append.key_pages = &c->to_pages_key, c->append.value_pages = &c->to_pages_value;
    c->append_integers.key_pages = &c->to_integers_key, c->append_integers.value_pages = &c->to_integers_value;
    c->append_integers.key_scales = &c->to_key_scales, c->append_integers.value_scales = &c->to_value_scales;
    c->append_args = &c->append, c->to_append_integers = &c->append_integers;
    c->to_kept_lengths = &c->kept_lengths, c->to_positions = &c->positions;
    c->to_kept_offsets = &c->kept_offsets, c->rows = &c->reordered;
}

/* Each with a sequence whose last page, or whose last keys, it has only a part of. */
static void make_layouts(struct call *c)
{
    for (int b = 0; b <= B; b++) {
        c->query_offsets_data[b] = TQ * b;
        c->key_offsets_data[b] = TK * b;
        c->page_offsets_data[b] = MOST_PAGES * b;
    }
    for (int k = 0; k < B * MOST_PAGES; k++) c->table_data[k] = (2 * k + 1) % PAGES;
    c->table_data[MOST_PAGES + 1] = INT64_MIN; /* past what 2 keys have */
    c->table_data[MOST_PAGES + 2] = INT64_MAX;
    c->ragged = c->paged = c->tree = (attn_forward_args)ATTN_FORWARD_ARGS_INIT;
    c->ragged.query = &c->rows_query, c->ragged.key = &c->rows_key, c->ragged.value = &c->rows_value;
    c->ragged.query_offsets = &c->query_offsets, c->ragged.key_offsets = &c->key_offsets;
    c->ragged.key_lengths = &c->key_lengths, c->ragged.context = &c->rows_context;
    c->ragged.weights = &c->rows_weights, c->ragged.logsumexp = &c->rows_logsumexp;
    c->paged.query = &c->query, c->paged.key = &c->pages_key, c->paged.value = &c->pages_value;
    c->paged.key_lengths = &c->key_lengths, c->paged.page_table = &c->page_table;
    c->paged.context = &c->context, c->paged.weights = &c->weights, c->paged.logsumexp = &c->logsumexp;
    c->tree.query = &c->query, c->tree.key = &c->key, c->tree.value = &c->value;
    c->tree.mask = &c->tree_mask, c->tree.mask_align = ATTN_ALIGN_BOTTOM_RIGHT;
    c->tree.context = &c->context, c->tree.logsumexp = &c->logsumexp;
    c->to_ragged = &c->ragged, c->to_paged = &c->paged, c->to_tree = &c->tree;
    c->to_key_offsets = &c->key_offsets, c->to_packed_table = &c->packed_table;
    c->to_page_offsets = &c->page_offsets, c->to_tree_mask = &c->tree_mask;
}

static attn_memory *make_memory(struct call *c, int64_t batch)
{
    attn_memory_options options = ATTN_MEMORY_OPTIONS_INIT;
    attn_memory *memory;
    options.dtype = ATTN_F32, options.batch = batch, options.key_heads = HK;
    options.key_dim = DK, options.value_dim = DV;
    MUST(attn_memory_create(c->general, &options, &memory));
    if (batch == B) MUST(attn_memory_append(memory, &c->key, &c->value, NULL));
    return memory;
}

static attn_memory *make_turned_memory(struct call *c)
{
    attn_memory_options options = ATTN_MEMORY_OPTIONS_INIT;
    attn_rope_options rope = ATTN_ROPE_OPTIONS_INIT;
    attn_memory *memory;
    rope.layout = ATTN_ROPE_HALVES;
    options.dtype = ATTN_F32, options.batch = B, options.key_heads = HK;
    options.key_dim = DK, options.value_dim = DV, options.rope = &rope;
    MUST(attn_memory_create(c->dot, &options, &memory));
    MUST(attn_memory_append(memory, &c->key, &c->value, NULL));
    return memory;
}

static void make_mechanisms(struct call *c)
{
    attn_tensor t;
    MUST(attn_mechanism_create_general(c->engine, DQ, DK, &c->general));
    MUST(attn_mechanism_create_general(c->engine, DQ, DQ, &c->narrow));
    MUST(attn_mechanism_create_general(c->engine, DQ, DK, &c->unbound));
    MUST(attn_mechanism_create_general(c->engine, DQ, DK, &c->doubles));
    MUST(attn_mechanism_create_general(c->engine, DQ, DK, &c->causal));
    MUST(attn_mechanism_create_general(c->engine, DQ, DK, &c->sloped));
    MUST(attn_mechanism_create_general(c->engine, DQ, DK, &c->sloped_double));
    MUST(attn_mechanism_create_general(c->engine, DQ, DK, &c->sunk));
    MUST(attn_mechanism_create_general(c->engine, DQ, DK, &c->sunk_double));
    MUST(attn_mechanism_create_dot(c->engine, &c->dot));
    MUST(attn_mechanism_create_location(c->engine, DQ, TK - 1, &c->location));
    MUST(attn_mechanism_bind_param(c->general, "W", &c->param));
    MUST(attn_mechanism_bind_param(c->causal, "W", &c->param));
    MUST(attn_mechanism_bind_param(c->sloped, "W", &c->param));
    MUST(attn_mechanism_bind_param(c->sloped_double, "W", &c->param));
    MUST(attn_mechanism_bind_param(c->sunk, "W", &c->param));
    MUST(attn_mechanism_bind_param(c->sunk_double, "W", &c->param));
    MUST(attn_mechanism_bind_param(c->unbound, "W", &c->param));
    MUST(attn_mechanism_bind_param(c->unbound, "W", NULL));
    view(&t, c->param_data, ATTN_F32, 2, 0, 0, DQ, DQ);
    MUST(attn_mechanism_bind_param(c->narrow, "W", &t));
    view(&t, c->param_data, ATTN_F32, 2, 0, 0, TK - 1, DQ);
    MUST(attn_mechanism_bind_param(c->location, "W", &t));
    view(&t, c->double_data, ATTN_F64, 2, 0, 0, DQ, DK);
    MUST(attn_mechanism_bind_param(c->doubles, "W", &t));
    view(&t, c->double_data, ATTN_F64, 1, 0, 0, 0, HQ);
    MUST(attn_mechanism_set_alibi(c->sloped_double, &t, ATTN_ALIGN_TOP_LEFT));
    MUST(attn_mechanism_set_sinks(c->sunk_double, &t));
    view(&t, c->slopes_data, ATTN_F32, 1, 0, 0, 0, HQ);
    MUST(attn_mechanism_set_alibi(c->sloped, &t, ATTN_ALIGN_TOP_LEFT));
    view(&t, c->sinks_data, ATTN_F32, 1, 0, 0, 0, HQ);
    MUST(attn_mechanism_set_sinks(c->sunk, &t));
    MUST(attn_mechanism_set_causal(c->causal, ATTN_ALIGN_BOTTOM_RIGHT));
    c->mechanism = c->general;
}

static void create(struct call *c)
{
    struct rng rng = {1};
    memset(c, 0xA5, sizeof *c);
    memset(c->args_tail, 0, TAIL);
    memset(c->options_tail, 0, TAIL);
    memset(c->append_tail, 0, TAIL);
    float *blocks[] = {c->query_data, c->key_data,    c->value_data, c->bias_data,
                       c->param_data, c->slopes_data, c->sinks_data};
    const size_t counts[] = {B * HQ * TQ * DQ, B * HK * TK * DK, B * HK * TK * DV, TQ * TK, DQ * DK, HQ, HQ};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        for (size_t k = 0; k < counts[i]; k++) blocks[i][k] = (float)rng_normal(&rng);
    }
    for (size_t i = 0; i < DQ * DK + HQ; i++) c->double_data[i] = rng_normal(&rng);
    memset(c->mask_data, 1, sizeof c->mask_data);
    c->lengths_data[0] = TK;
    c->lengths_data[1] = 2;

    c->options = (attn_engine_options)ATTN_ENGINE_OPTIONS_INIT;
    c->options.threads = 2;
    c->options.allocate = counting_allocate;
    c->options.release = counting_release;
    MUST(attn_engine_create(&c->options, &c->engine));
    view_all(c);
    make_mechanisms(c);

    c->args = (attn_forward_args)ATTN_FORWARD_ARGS_INIT;
    c->args.query = &c->query, c->args.key = &c->key, c->args.value = &c->value;
    c->args.mask = &c->mask, c->args.bias = &c->bias, c->args.key_lengths = &c->key_lengths;
    c->args.context = &c->context, c->args.weights = &c->weights;
    c->args.scores = &c->scores, c->args.logsumexp = &c->logsumexp;
    make_layouts(c);
    make_appends(c);
    c->memory = make_memory(c, B), c->three_memory = make_memory(c, 3);
    c->kept = c->memory, c->turned = make_turned_memory(c);
    c->info = (attn_param_info)ATTN_PARAM_INFO_INIT;
    c->forward_args = &c->args, c->engine_options = &c->options, c->info_out = &c->info;
    c->engine_out = &c->made_engine, c->mechanism_out = &c->made, c->tensor_out = &c->made_tensor;
    c->bound = &c->param, c->alibi = &c->slopes, c->sink = &c->sinks, c->name = "W", c->constant = "ATTN_F32";
    c->shape = c->shape_in, c->count_out = &c->count, c->total_out = &c->total, c->value_out = &c->constant_value;
    c->bytes_out = &c->bytes, c->json = c->json_data, c->bytes = sizeof c->json_data;
    c->query_dim = c->key_dim = c->hidden_dim = c->max_keys = A;
    for (int i = 0; i < 4; i++) c->shape_in[i] = 2;
    c->index = c->align = c->normaliser = c->precision = 0, c->left = c->right = -1, c->flags = 0;
    c->tensor_dtype = ATTN_F32, c->tensor_ndim = 4, c->tensor_data = c->key_data;
    c->scale = c->cap = c->tau = 1;
    size_t needed;
    MUST(attn_forward_workspace(c->mechanism, &c->args, &needed));
    assert_in_range(needed, 1, sizeof c->workspace);
    c->one_byte_less = (int64_t)needed - 1;
}

static void destroy(struct call *c)
{
    attn_mechanism *all[] = {c->general, c->dot,           c->location, c->narrow,  c->causal,     c->sloped,
                             c->sunk,    c->sloped_double, c->unbound,  c->doubles, c->sunk_double};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) attn_mechanism_destroy(all[i]);
    attn_memory_destroy(c->memory);
    attn_memory_destroy(c->three_memory);
    attn_memory_destroy(c->turned);
    attn_engine_destroy(c->engine);
    if (blocks_alive != 0 || bytes_alive != 0) fail_msg("%lld blocks leaked", (long long)blocks_alive);
}

/* ----------------------------------------------------------------------------------------- the functions */

#define FUNCTIONS(X)                                                                                                   \
    X(attn_forward, (c->mechanism, c->forward_args))                                                                   \
    X(attn_forward_workspace, (c->mechanism, c->forward_args, c->bytes_out))                                           \
    X(attn_constant, (c->constant, c->value_out))                                                                      \
    X(attn_tensor_init, (c->tensor_out, c->tensor_data, c->tensor_dtype, c->tensor_ndim, c->shape))                    \
    X(attn_engine_create, (c->engine_options, c->engine_out))                                                          \
    X(attn_engine_describe, (c->engine, c->json, c->bytes_out))                                                        \
    X(attn_mechanism_create_dot, (c->engine, c->mechanism_out))                                                        \
    X(attn_mechanism_create_scaled_dot, (c->engine, c->mechanism_out))                                                 \
    X(attn_mechanism_create_general, (c->engine, c->query_dim, c->key_dim, c->mechanism_out))                          \
    X(attn_mechanism_create_additive,                                                                                  \
      (c->engine, c->query_dim, c->key_dim, c->hidden_dim, c->flags, c->mechanism_out))                                \
    X(attn_mechanism_create_concat, (c->engine, c->query_dim, c->key_dim, c->hidden_dim, c->mechanism_out))            \
    X(attn_mechanism_create_location, (c->engine, c->query_dim, c->max_keys, c->mechanism_out))                        \
    X(attn_mechanism_param_count, (c->mechanism, c->count_out))                                                        \
    X(attn_mechanism_param_total, (c->mechanism, c->total_out))                                                        \
    X(attn_mechanism_param_info, (c->mechanism, c->index, c->info_out))                                                \
    X(attn_mechanism_bind_param, (c->mechanism, c->name, c->bound))                                                    \
    X(attn_mechanism_set_scale, (c->mechanism, c->scale))                                                              \
    X(attn_mechanism_set_softcap, (c->mechanism, c->cap))                                                              \
    X(attn_mechanism_set_temperature, (c->mechanism, c->tau))                                                          \
    X(attn_mechanism_set_precision, (c->mechanism, c->precision))                                                      \
    X(attn_mechanism_set_normaliser, (c->mechanism, c->normaliser))                                                    \
    X(attn_mechanism_set_causal, (c->mechanism, c->align))                                                             \
    X(attn_mechanism_set_window, (c->mechanism, c->left, c->right, c->align))                                          \
    X(attn_mechanism_set_alibi, (c->mechanism, c->alibi, c->align))                                                    \
    X(attn_mechanism_set_sinks, (c->mechanism, c->sink))                                                               \
    X(attn_pages_append, (c->engine, c->append_args))                                                                  \
    X(attn_memory_keep, (c->kept, c->to_kept_lengths, c->to_positions, c->to_kept_offsets))                            \
    X(attn_memory_reorder, (c->kept, c->rows))                                                                         \
    X(attn_memory_pages, (c->kept, c->total_out, c->value_out))

struct function {
    const char *name;
    attn_status (*call)(struct call *c);
};

#define WRAP(f, arguments)                                                                                             \
    static attn_status call_##f(struct call *c)                                                                        \
    {                                                                                                                  \
        return f arguments;                                                                                            \
    }                                                                                                                  \
    static const struct function in_##f = {#f, call_##f};
FUNCTIONS(WRAP)

#define LIST(f, arguments) &in_##f,
static const struct function *const functions[] = {FUNCTIONS(LIST)};

#endif
