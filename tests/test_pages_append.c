/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_pages_append.c: rows written into the caller's pages: what becomes of them, in every pair of types, against
 * numbers converted here; that all else stays as it was; pages of keys and values that take turns in one block; slots
 * that are there twice, and whatever else is refused before anything is written; and attention over such pages beside
 * attention over the same rows.
 */
#define _POSIX_C_SOURCE 200809L
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "own_means.h"
#include "support.h"

static struct rng rng = {1604};

static const attn_dtype types[] = {ATTN_F32, ATTN_F16, ATTN_BF16, ATTN_F64, ATTN_I8};

/* -------------------------------------------------------------------------------------------------- a call */

enum { KEY, VALUE };

struct stream {
    int64_t width;
    attn_dtype kept;
    struct array rows, pages, scales; /* scales: of integers */
};

struct call {
    int64_t pages, heads, page, count;
    attn_dtype given;
    struct stream of[2];
    struct array slots;
    attn_pages_append_args args;
};

static bool has_scales(const struct stream *s)
{
    return s->kept == ATTN_I8;
}

/* Slots that differ, and some -1, in any order. */
static void fill_slots(struct call *c, double nowhere)
{
    const int64_t most = c->pages * c->page;
    int64_t *all = must_allocate((size_t)most * sizeof *all + 1);
    for (int64_t i = 0; i < most; i++) all[i] = i;
    rng_shuffle(&rng, all, most);
    for (int64_t i = 0; i < c->count; i++) {
        array_set(&c->slots, i, i >= most || rng_chance(&rng, nowhere) ? -1.0 : (double)all[i]);
    }
    free(all);
}

static void fill_numbers(struct array *a)
{
    for (int64_t i = 0; i < array_count(a); i++) {
        array_set(a, i, a->tensor.dtype == ATTN_I8 ? (double)rng_integer(&rng, -127, 127) : rng_normal(&rng));
    }
}

static void point(struct call *c)
{
    c->args = (attn_pages_append_args)ATTN_PAGES_APPEND_ARGS_INIT;
    c->args.slots = &c->slots.tensor;
    c->args.key = &c->of[KEY].rows.tensor;
    c->args.value = &c->of[VALUE].rows.tensor;
    c->args.key_pages = &c->of[KEY].pages.tensor;
    c->args.value_pages = &c->of[VALUE].pages.tensor;
    c->args.key_scales = has_scales(&c->of[KEY]) ? &c->of[KEY].scales.tensor : NULL;
    c->args.value_scales = has_scales(&c->of[VALUE]) ? &c->of[VALUE].scales.tensor : NULL;
}

/* Of shape and types that are set; what there is in pages is to be seen again. */
static void create(struct call *c, unsigned input, unsigned output, double nowhere)
{
    array_create(&c->slots, rng_chance(&rng, 0.5) ? ATTN_I32 : ATTN_I64, 1, &c->count,
                 input & (LAYOUT_PADDED | LAYOUT_REVERSED), &rng);
    fill_slots(c, nowhere);
    for (int i = 0; i < 2; i++) {
        struct stream *s = &c->of[i];
        const int64_t rows[4] = {1, c->heads, c->count, s->width}, pages[4] = {c->pages, c->heads, c->page, s->width};
        array_create(&s->rows, c->given, 4, rows, input, &rng);
        array_create(&s->pages, s->kept, 4, pages, output, &rng);
        array_create(&s->scales, ATTN_F32, 3, pages, output, &rng);
        fill_numbers(&s->rows);
        fill_numbers(&s->pages);
        fill_numbers(&s->scales);
    }
    point(c);
}

static void destroy(struct call *c)
{
    for (int i = 0; i < 2; i++) {
        array_destroy(&c->of[i].rows);
        array_destroy(&c->of[i].pages);
        array_destroy(&c->of[i].scales);
    }
    array_destroy(&c->slots);
}

static void random_shape(struct call *c)
{
    c->pages = rng_integer(&rng, 1, 9);
    c->heads = rng_integer(&rng, 1, 4);
    c->page = rng_chance(&rng, 0.2) ? 1 : rng_integer(&rng, 2, 17);
    c->count = rng_integer(&rng, 0, c->pages * c->page + 3);
    c->of[KEY].width = rng_chance(&rng, 0.1) ? rng_integer(&rng, 250, 520) : rng_integer(&rng, 1, 40);
    c->of[VALUE].width = rng_chance(&rng, 0.3) ? c->of[KEY].width : rng_integer(&rng, 1, 40);
}

/* ----------------------------------------------------------------------------------------------- reference */

/* All bytes of what a call writes to, before it. */
struct snapshot {
    unsigned char *bytes[4];
};

static struct array *outputs_of(struct call *c, int which)
{
    return which % 2 == 0 ? &c->of[which / 2].pages : &c->of[which / 2].scales;
}

static struct snapshot take_snapshot(struct call *c)
{
    struct snapshot s;
    for (int i = 0; i < 4; i++) {
        s.bytes[i] = must_allocate(outputs_of(c, i)->bytes + 1);
        memcpy(s.bytes[i], outputs_of(c, i)->memory, outputs_of(c, i)->bytes);
    }
    return s;
}

static void forget(struct snapshot *s)
{
    for (int i = 0; i < 4; i++) free(s->bytes[i]);
}

static void swap(struct call *c, struct snapshot *s)
{
    for (int i = 0; i < 4; i++) {
        unsigned char *bytes = outputs_of(c, i)->memory;
        outputs_of(c, i)->memory = s->bytes[i];
        outputs_of(c, i)->tensor.data = s->bytes[i] + ((unsigned char *)outputs_of(c, i)->tensor.data - bytes);
        s->bytes[i] = bytes;
    }
}

static void assert_untouched(struct call *c, const struct snapshot *s)
{
    for (int i = 0; i < 4; i++) assert_memory_equal(s->bytes[i], outputs_of(c, i)->memory, outputs_of(c, i)->bytes);
}

/* A row of integers, by the formula. */
static void quantise(struct stream *s, int64_t from, int64_t to)
{
    float greatest = 0;
    for (int64_t d = 0; d < s->width; d++) greatest = fmaxf(greatest, fabsf((float)array_get(&s->rows, from + d)));
    const float scale = greatest / 127;
    array_set(&s->scales, to / s->width, scale);
    for (int64_t d = 0; d < s->width; d++) {
        array_set(&s->pages, to + d, scale == 0 ? 0 : rintf((float)array_get(&s->rows, from + d) / scale));
    }
}

/* What the call is to do. */
static void append_plainly(struct call *c)
{
    for (int64_t i = 0; i < c->count; i++) {
        const int64_t slot = (int64_t)array_get(&c->slots, i);
        for (int64_t k = 0; slot >= 0 && k < 2 * c->heads; k++) {
            struct stream *s = &c->of[k % 2];
            const int64_t h = k / 2, from = (h * c->count + i) * s->width;
            const int64_t to = ((slot / c->page * c->heads + h) * c->page + slot % c->page) * s->width;
            if ((k % 2 == KEY ? c->args.key : c->args.value) == NULL) continue;
            if (has_scales(s)) quantise(s, from, to);
            for (int64_t d = 0; d < s->width && !has_scales(s); d++) {
                array_set(&s->pages, to + d, array_get(&s->rows, from + d));
            }
        }
    }
}

/* The call does that, bit by bit, and nothing else: what lies around and between is as it was. */
static void check_call(struct call *c, attn_engine *on)
{
    struct snapshot got = take_snapshot(c);
    swap(c, &got);
    MUST(attn_pages_append(on, &c->args));
    swap(c, &got);
    append_plainly(c);
    assert_untouched(c, &got);
    forget(&got);
}

/* -------------------------------------------------------------------------------------------------- tests */

static void rows_become_what_pages_keep(void **state)
{
    (void)state;
    const int cases = few_cases() ? 2 : 8;
    for (int i = 0; i < 4 * 5 * 5 * cases; i++) {
        struct call c = {.given = types[i % 4]};
        c.of[KEY].kept = types[i / 4 % 5];
        c.of[VALUE].kept = types[i / 20 % 5];
        if (c.given == ATTN_F64 && (has_scales(&c.of[KEY]) || has_scales(&c.of[VALUE]))) continue;
        random_shape(&c);
        create(&c, LAYOUT_INPUT, LAYOUT_OUTPUT, rng_chance(&rng, 0.5) ? 0 : 0.3);
        const int64_t only = rng_integer(&rng, 0, 9);
        if (only == 0) c.args.key = c.args.key_pages = c.args.key_scales = NULL;
        if (only == 1) c.args.value = c.args.value_pages = c.args.value_scales = NULL;
        check_call(&c, engine);
        destroy(&c);
    }
}

/* Numbers of float64 that would become others if they were rounded to float32 first; and those at the types' ends. */
static void float64_is_rounded_once(void **state)
{
    static const double tiny = 0x1p-60;
    const double numbers[] = {1 + 0x1p-11 + tiny,
                              1 + 0x1p-11 - tiny,
                              -(1 + 0x1p-8 + tiny),
                              1 + 0x1p-8 - tiny,
                              1 + 3 * 0x1p-11,
                              65520,
                              nextafter(65520, 0),
                              -nextafter(65520, 0),
                              1e300,
                              -INFINITY,
                              0x1p-25,
                              0x1p-25 + 0x1p-70,
                              1e-300,
                              0x1.fep127,
                              0x1.ffp127,
                              nextafter(0x1.ffp127, 0),
                              0x1p-150,
                              3 * 0x1p-26,
                              0x1p-134,
                              0x1p-134 + 0x1p-180,
                              3,
                              0};
    enum { COUNT = sizeof numbers / sizeof *numbers };
    (void)state;
    for (int t = 0; t < 3; t++) {
        struct call c = {.given = ATTN_F64, .pages = 1, .heads = 1, .page = 1, .count = 1};
        for (int i = 0; i < 2; i++) c.of[i].width = COUNT, c.of[i].kept = types[t];
        create(&c, LAYOUT_PLAIN, LAYOUT_PLAIN, 0);
        for (int i = 0; i < COUNT; i++) array_set(&c.of[KEY].rows, i, numbers[i]);
        check_call(&c, engine);
        array_set(&c.of[KEY].rows, 3, (double)NAN);
        MUST(attn_pages_append(engine, &c.args));
        assert_true(isnan(array_get(&c.of[KEY].pages, 3)));
        destroy(&c);
    }
}

/* A row of zeros has scale 0; one with an infinity or a NaN scale NaN. */
static void integers_of_rows_that_have_no_scale(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct call c = {.given = ATTN_F32, .pages = 2, .heads = 1, .page = 1, .count = 1};
        for (int k = 0; k < 2; k++) c.of[k].width = 5, c.of[k].kept = ATTN_I8;
        create(&c, LAYOUT_INPUT, LAYOUT_OUTPUT, 0);
        for (int64_t d = 0; d < 5; d++) array_set(&c.of[VALUE].rows, d, i == 0 ? 0 : i == 1 ? INFINITY : (double)NAN);
        MUST(attn_pages_append(engine, &c.args));
        const int64_t to = (int64_t)array_get(&c.slots, 0);
        const double scale = array_get(&c.of[VALUE].scales, to);
        assert_true(i == 0 ? scale == 0 : isnan(scale));
        for (int64_t d = 0; d < 5; d++) assert_true(array_get(&c.of[VALUE].pages, to * 5 + d) == 0);
        destroy(&c);
    }
}

/* [N, 2, ...] of keys and values, either of them first, with positions or heads outermost; and their scales. */
static void take_turns(struct call *c, struct array *block, struct array *scales, int first, bool heads_first)
{
    const int64_t n[5] = {c->pages, 2, c->heads, c->page, c->of[KEY].width}, all = n[0] * n[1] * n[2] * n[3];
    const int64_t elements = all * n[4];
    array_create(block, c->of[KEY].kept, 1, &elements, LAYOUT_PLAIN, NULL);
    array_create(scales, ATTN_F32, 1, &all, LAYOUT_PLAIN, NULL);
    for (int i = 0; i < 2; i++) {
        struct array *const views[2] = {&c->of[i].pages, &c->of[i].scales};
        for (int k = 0; k < 2; k++) {
            const int64_t row = k == 0 ? n[4] : 1, half = n[2] * n[3] * row;
            const int64_t size = k == 1 ? 4 : c->of[KEY].kept == ATTN_I8 ? 1 : c->of[KEY].kept == ATTN_F32 ? 4 : 2;
            attn_tensor *t = &views[k]->tensor;
            const int64_t at = (i == first ? 0 : half) * size;
            t->data = (unsigned char *)(k == 0 ? block : scales)->tensor.data + at;
            t->stride[0] = 2 * half;
            t->stride[1] = heads_first ? n[3] * row : row;
            t->stride[2] = heads_first ? row : n[2] * row;
            t->stride[3] = 1;
        }
    }
}

static void reverse(attn_tensor *t, int d)
{
    const int64_t size = t->dtype == ATTN_I8 ? 1 : t->dtype == ATTN_F32 ? 4 : 2;
    t->data = (unsigned char *)t->data + (t->shape[d] - 1) * t->stride[d] * size;
    t->stride[d] = -t->stride[d];
}

static void pages_may_take_turns_in_a_block(void **state)
{
    (void)state;
    for (int i = 0; i < 3 * 4 * 10; i++) {
        static const attn_dtype kept[] = {ATTN_F32, ATTN_BF16, ATTN_I8};
        struct call c = {.given = ATTN_F32}, apart;
        struct array block, scales;
        random_shape(&c);
        for (int k = 0; k < 2; k++) c.of[k].width = c.of[KEY].width, c.of[k].kept = kept[i % 3];
        create(&c, LAYOUT_INPUT, LAYOUT_PLAIN, 0.1);
        MUST(attn_pages_append(engine, &c.args));
        apart = c;
        take_turns(&c, &block, &scales, i / 3 % 2, i / 6 % 2);
        for (int k = 0; k < 2; k++) {
            struct array *const all[2] = {&c.of[k].pages, &c.of[k].scales};
            for (int d = 0; d < 3; d++) { /* from the last page to the first, and so on */
                if (rng_chance(&rng, 0.3)) reverse(&all[0]->tensor, d), reverse(&all[1]->tensor, d);
            }
        }
        point(&c);
        for (int k = 0; k < 2; k++) fill_numbers(&c.of[k].pages), fill_numbers(&c.of[k].scales);
        MUST(attn_pages_append(engine, &c.args));
        assert_true(array_gaps_intact(&block) && array_gaps_intact(&scales));
        for (int64_t r = 0; r < c.count; r++) {
            const int64_t slot = (int64_t)array_get(&c.slots, r);
            for (int64_t k = 0; slot >= 0 && k < 2 * c.heads; k++) {
                const int64_t row = (slot / c.page * c.heads + k / 2) * c.page + slot % c.page, w = c.of[KEY].width;
                assert_true(array_same_bits(&c.of[k % 2].pages, &apart.of[k % 2].pages, row * w, w));
                if (kept[i % 3] == ATTN_I8) {
                    assert_true(array_same_bits(&c.of[k % 2].scales, &apart.of[k % 2].scales, row, 1));
                }
            }
        }
        array_destroy(&block);
        array_destroy(&scales);
        destroy(&apart);
    }
}

static void refused(struct call *c, attn_engine *on, const attn_pages_append_args *args, attn_status status,
                    const char *word)
{
    struct snapshot before = take_snapshot(c);
    const attn_status got = attn_pages_append(on, args);
    if (got != status || strncmp(attn_last_error(), "attn_pages_append: ", 19) != 0 ||
        strstr(attn_last_error() + 19, word) == NULL) {
        fail_msg("%s (%s), but %s about %s is wanted", attn_status_string(got), attn_last_error(),
                 attn_status_string(status), word);
    }
    assert_untouched(c, &before);
    forget(&before);
}

/* Of any number of rows, at whatever distances slots lie. */
static void a_slot_that_is_there_twice_is_refused(void **state)
{
    static const int64_t steps[] = {1, 2, 16, 4096, 65536, 3, 999};
    (void)state;
    for (int i = 0; i < 7 * (few_cases() ? 2 : 6); i++) {
        const int64_t step = steps[i % 7];
        struct call c = {.given = ATTN_F32, .heads = 1, .page = 1};
        c.count = rng_chance(&rng, 0.5) ? rng_integer(&rng, 2, 40) : rng_integer(&rng, 41, 3000);
        if (step > 4096 && c.count > 40) c.count = 40;
        c.page = step;
        c.pages = c.count;
        for (int k = 0; k < 2; k++) c.of[k].width = 1, c.of[k].kept = ATTN_BF16;
        create(&c, LAYOUT_PLAIN, LAYOUT_PLAIN, 0);
        for (int64_t r = 0; r < c.count; r++) array_set(&c.slots, r, (double)(r * step));
        const int64_t twice = rng_integer(&rng, 1, c.count - 1), before = rng_integer(&rng, 0, twice - 1);
        array_set(&c.slots, twice, (double)(before * step));
        char sentence[96];
        snprintf(sentence, sizeof sentence, "slots[%d] is %lld, as slots[%d] is", (int)twice,
                 (long long)(before * step), (int)before);
        refused(&c, engine, &c.args, ATTN_ERR_ARGUMENT, sentence);
        array_set(&c.slots, twice, -1);
        check_call(&c, engine);
        destroy(&c);
    }
}

#define CHANGED(field, tensor_of)                                                                                      \
    changed = *(tensor_of);                                                                                            \
    args = c.args;                                                                                                     \
    args.field = &changed;
#define REFUSED(status, word) refused(&c, engine, &args, ATTN_ERR_##status, word)

static void create_small(struct call *c, attn_dtype kept)
{
    *c = (struct call){.given = ATTN_F32, .pages = 3, .heads = 2, .page = 4, .count = 5};
    c->of[KEY].width = 6, c->of[VALUE].width = 8;
    c->of[KEY].kept = c->of[VALUE].kept = kept;
    create(c, LAYOUT_PLAIN, LAYOUT_PLAIN, 0);
}

static void what_is_missing_or_too_much_is_refused(void **state)
{
    (void)state;
    struct call c;
    create_small(&c, ATTN_F32);
    attn_pages_append_args args = c.args;
    refused(&c, NULL, &args, ATTN_ERR_ARGUMENT, "engine");
    refused(&c, engine, NULL, ATTN_ERR_ARGUMENT, "args");
    args.struct_size--;
    REFUSED(STRUCT_SIZE, "struct_size");
    args.struct_size = 0;
    REFUSED(STRUCT_SIZE, "struct_size");
    args.struct_size = 4097;
    REFUSED(STRUCT_SIZE, "struct_size");
    args = c.args, args.reserved = 1;
    REFUSED(ARGUMENT, "reserved");
    args = c.args, args.slots = NULL;
    REFUSED(ARGUMENT, "slots");
    args = c.args, args.key = args.value = NULL;
    REFUSED(ARGUMENT, "key is NULL, and so is value");
    args = c.args, args.key = NULL;
    REFUSED(ARGUMENT, "key_pages, but no key");
    args = c.args, args.value = NULL;
    REFUSED(ARGUMENT, "value_pages, but no value");
    args = c.args, args.key_pages = NULL;
    REFUSED(ARGUMENT, "key_pages is NULL");
    args = c.args, args.value_pages = NULL;
    REFUSED(ARGUMENT, "value_pages is NULL");
    args = c.args, args.key_scales = &c.of[KEY].scales.tensor;
    REFUSED(ARGUMENT, "key_scales, but key_pages is ATTN_F32");
    args = c.args, args.value_scales = &c.of[VALUE].scales.tensor;
    REFUSED(ARGUMENT, "value_scales, but value_pages is ATTN_F32");
    args.value = args.value_pages = NULL;
    REFUSED(ARGUMENT, "value_scales, but no value");
    destroy(&c);
    create_small(&c, ATTN_I8);
    args = c.args, args.key_scales = NULL;
    REFUSED(ARGUMENT, "key_scales is NULL");
    args = c.args, args.value_scales = NULL;
    REFUSED(ARGUMENT, "value_scales is NULL");
    destroy(&c);
}

static void wrong_types_and_shapes_are_refused(void **state)
{
    attn_pages_append_args args;
    attn_tensor changed;
    (void)state;
    struct call c;
    create_small(&c, ATTN_I8);
    CHANGED(slots, c.args.slots) changed.dtype = ATTN_F32;
    REFUSED(DTYPE, "slots");
    CHANGED(slots, c.args.slots) changed.shape[0]--;
    REFUSED(SHAPE, "key");
    CHANGED(slots, c.args.slots) changed.ndim = 2;
    REFUSED(SHAPE, "slots");
    CHANGED(key, c.args.key) changed.dtype = ATTN_I8;
    REFUSED(DTYPE, "key");
    CHANGED(key, c.args.key) changed.dtype = ATTN_F64, changed.shape[3] = 3;
    REFUSED(DTYPE, "key is ATTN_F64, but key_pages is ATTN_I8");
    CHANGED(value, c.args.value) changed.dtype = ATTN_F16;
    REFUSED(DTYPE, "value is ATTN_F16, but key is ATTN_F32");
    CHANGED(key_pages, c.args.key_pages) changed.dtype = ATTN_BOOL;
    REFUSED(DTYPE, "key_pages");
    CHANGED(key_scales, c.args.key_scales) changed.dtype = ATTN_I32;
    REFUSED(DTYPE, "key_scales");
    CHANGED(key, c.args.key) changed.shape[0] = 2, changed.stride[0] = 0;
    REFUSED(SHAPE, "key has shape");
    for (int d = 1; d < 4; d++) {
        CHANGED(key, c.args.key) changed.shape[d]--;
        REFUSED(SHAPE, "key has shape");
        CHANGED(value, c.args.value) changed.shape[d]--;
        REFUSED(SHAPE, "value has shape");
    }
    for (int d = 0; d < 3; d++) {
        CHANGED(value_pages, c.args.value_pages) changed.shape[d]--;
        REFUSED(SHAPE, "value_");
        CHANGED(value_scales, c.args.value_scales) changed.shape[d]--;
        REFUSED(SHAPE, "value_scales");
    }
    CHANGED(value_pages, c.args.value_pages) changed.shape[2] = 0;
    REFUSED(SHAPE, "value_pages has pages of 0");
    CHANGED(key_pages, c.args.key_pages) changed.stride[0] = INT64_MAX / 2;
    REFUSED(OVERFLOW, "key_pages");
    CHANGED(key_pages, c.args.key_pages) changed.data = NULL;
    REFUSED(ARGUMENT, "key_pages");
    CHANGED(key, c.args.key) changed.data = (char *)changed.data + 1;
    REFUSED(ARGUMENT, "key has data");
    destroy(&c);
    create_small(&c, ATTN_F16);
    CHANGED(key_pages, c.args.key_pages) changed.shape[2] = 0;
    REFUSED(SHAPE, "pages of 0");
    static const int64_t slots[] = {-2, 12, INT32_MAX, INT64_MAX, INT64_MIN};
    args = c.args;
    for (int i = 0; i < 5; i++) {
        int64_t numbers[5] = {0, -1, 11, slots[i], 3};
        changed = (attn_tensor){numbers, ATTN_I64, 1, {5}, {1}};
        args.slots = &changed;
        REFUSED(ARGUMENT, "slots[3]");
    }
    destroy(&c);
}

static void outputs_that_lie_over_anything_are_refused(void **state)
{
    attn_pages_append_args args;
    attn_tensor changed;
    (void)state;
    struct call c;
    create_small(&c, ATTN_I8);
    CHANGED(key_pages, c.args.key_pages) changed.stride[2] = 0;
    REFUSED(OVERLAP, "key_pages is an output");
    CHANGED(value_scales, c.args.value_scales) changed.stride[0] = 1;
    REFUSED(OVERLAP, "value_scales is an output");
    CHANGED(key_pages, c.args.key_pages) changed.data = c.args.value_pages->data;
    REFUSED(OVERLAP, "key_pages shares memory with value_pages");
    CHANGED(value_scales, c.args.value_scales) changed.data = c.args.key_pages->data;
    REFUSED(OVERLAP, "key_pages shares memory with value_scales");
    CHANGED(key_scales, c.args.key_scales) changed.data = c.args.key_pages->data;
    REFUSED(OVERLAP, "key_pages shares memory with key_scales");
    CHANGED(key_scales, c.args.key_scales) changed.data = c.args.value_pages->data;
    REFUSED(OVERLAP, "key_scales shares memory with value_pages");
    memset(c.args.value_pages->data, 0xFF, sizeof(int32_t)); /* slot -1, for all rows */
    CHANGED(slots, c.args.slots) changed.data = c.args.value_pages->data;
    changed.dtype = ATTN_I32, changed.stride[0] = 0;
    REFUSED(OVERLAP, "value_pages shares memory with slots");
    CHANGED(key, c.args.key) changed.data = c.args.key_pages->data; /* one number, everywhere */
    memset(changed.stride, 0, sizeof changed.stride);
    REFUSED(OVERLAP, "key_pages shares memory with key");
    changed.data = c.args.value_scales->data;
    REFUSED(OVERLAP, "value_scales shares memory with key");
    CHANGED(value, c.args.value) changed.data = c.args.key_scales->data;
    memset(changed.stride, 0, sizeof changed.stride);
    REFUSED(OVERLAP, "key_scales shares memory with value");
    CHANGED(key_scales, c.args.key_scales) changed.data = c.args.value_scales->data;
    REFUSED(OVERLAP, "key_scales shares memory with value_scales");
    destroy(&c);
}

/* Blocks in which keys and values do not quite take turns. */
static void turns_that_meet_are_refused(void **state)
{
    enum { N = 3, HK = 2, PAGE = 4, D = 5, HALF = HK * PAGE * D };
    (void)state;
    float *block = must_allocate(sizeof *block * (2 * N + 2) * HALF), before[(2 * N + 2) * HALF];
    struct call c;
    create_small(&c, ATTN_F32);
    const attn_tensor first = {block + HALF, ATTN_F32, 4, {N, HK, PAGE, D}, {2 * HALF, PAGE * D, D, 1}};
    const int64_t rows[4] = {1, HK, 5, D};
    attn_tensor key, keys = first, values = first;
    MUST(attn_tensor_init(&key, c.args.key->data, ATTN_F32, 4, rows));
    attn_pages_append_args args = c.args;
    args.key = args.value = &key;
    args.key_pages = &keys, args.value_pages = &values;
    for (int i = 0; i < (2 * N + 2) * HALF; i++) block[i] = (float)i;
    memcpy(before, block, sizeof before);
    for (int i = 0; i < 2; i++) {
        attn_tensor *moved = i == 0 ? &keys : &values;
        for (int at = -HALF; at <= HALF; at++) {
            moved->data = block + HALF + at;
            if (at == -HALF || at == HALF) continue;
            REFUSED(OVERLAP, "key_pages shares memory with value_pages");
        }
        moved->data = block + 2 * HALF;
        moved->stride[0]--; /* another distance: pages drift */
        REFUSED(OVERLAP, "shares");
        moved->stride[0] = -2 * HALF; /* from behind, but a row too far */
        moved->data = block + 2 * HALF + (N - 1) * 2 * HALF - D;
        REFUSED(OVERLAP, "shares");
        *moved = first;
        moved->stride[1] = PAGE * D * 2 * N, moved->stride[0] = PAGE * D; /* heads outermost: no page lies by itself */
        REFUSED(OVERLAP, "shares");
        *moved = first;
    }
    assert_memory_equal(before, block, sizeof before);
    values.data = block + 2 * HALF;
    MUST(attn_pages_append(engine, &args));
    free(block);
    destroy(&c);
}

static void nothing_may_be_written(void **state)
{
    (void)state;
    struct call c = {.given = ATTN_F32, .pages = 2, .heads = 2, .page = 3, .count = 0};
    for (int k = 0; k < 2; k++) c.of[k].width = 4, c.of[k].kept = ATTN_I8;
    create(&c, LAYOUT_PLAIN, LAYOUT_PLAIN, 0);
    check_call(&c, engine);
    destroy(&c);
    c.count = 6;
    create(&c, LAYOUT_PLAIN, LAYOUT_PLAIN, 1);
    check_call(&c, engine);
    destroy(&c);
    c.pages = 0; /* no slot is there */
    create(&c, LAYOUT_PLAIN, LAYOUT_PLAIN, 0);
    check_call(&c, engine);
    array_set(&c.slots, 1, 0);
    refused(&c, engine, &c.args, ATTN_ERR_ARGUMENT, "slots[1]");
    destroy(&c);
    int64_t one = -1;
    const attn_tensor all = {&one, ATTN_I64, 1, {INT64_C(1) << 40}, {0}};
    const attn_tensor key = {&one, ATTN_F32, 4, {1, 2, INT64_C(1) << 40, 4}, {0}};
    float pages[2 * 2 * 3 * 4] = {0};
    const attn_tensor to = {pages, ATTN_F32, 4, {2, 2, 3, 4}, {24, 12, 4, 1}};
    attn_pages_append_args args = ATTN_PAGES_APPEND_ARGS_INIT;
    args.slots = &all, args.key = &key, args.key_pages = &to;
    MUST(attn_pages_append(engine, &args)); /* at once */
    one = 5;
    assert_int_equal(attn_pages_append(engine, &args), ATTN_ERR_ARGUMENT);
}

/* ------------------------------------------------------------------------------------------- own means */

static attn_status run_call(attn_engine *on, void *data)
{
    const struct call *c = data;
    return attn_pages_append(on, &c->args);
}

static void bits_do_not_depend_on_threads_nor_failures(void **state)
{
    (void)state;
    for (int i = 0; i < 6; i++) {
        struct call c = {.given = types[i % 3], .pages = 160, .heads = 3, .page = 16, .count = 2100};
        c.of[KEY].width = 33, c.of[VALUE].width = 17;
        c.of[KEY].kept = types[i % 5], c.of[VALUE].kept = i % 2 ? ATTN_I8 : types[i % 4];
        create(&c, LAYOUT_INPUT, LAYOUT_OUTPUT, 0.1);
        const struct own_call call = {
            run_call, &c, {outputs_of(&c, 0), outputs_of(&c, 1), outputs_of(&c, 2), outputs_of(&c, 3), NULL}};
        assert_int_equal(assert_failures_touch_nothing(&call), 1);
        assert_true(assert_threads_change_no_bit(&call) > 0);
        destroy(&c);
    }
}

/* As said: 16 to 32 bytes for each row, and on the stack while that is little. */
static void memory_beside_the_arguments_is_as_said(void **state)
{
    (void)state;
    attn_engine *on = own_engine(1, NULL);
    for (int64_t count = 1; count < 5000; count = count * 3 / 2 + 1) {
        struct call c = {.given = ATTN_F32, .pages = count, .heads = 1, .page = 1, .count = count};
        for (int k = 0; k < 2; k++) c.of[k].width = 1, c.of[k].kept = ATTN_F32;
        create(&c, LAYOUT_PLAIN, LAYOUT_PLAIN, 0);
        own_memory.asked = 0;
        check_call(&c, on);
        assert_int_equal(own_memory.asked, count > 1024);
        destroy(&c);
    }
    attn_engine_destroy(on);
}

/* ---------------------------------------------------------------------------------------------- attention */

/* Rows of B sequences, appended in shuffled pieces to pages in shuffled order, are attended to as they are. */
static void attend_to_pages(attn_dtype given, attn_dtype kept, bool heads_first)
{
    enum { B = 3, HQ = 4, HK = 2, T = 37, PAGE = 5, MOST = 8, N = B * MOST + 2, D = 24, DV = 16, TQ = 4 };
    attn_mechanism *m;
    attn_memory *memory = NULL;
    MUST(attn_mechanism_create_scaled_dot(engine, &m));
    const int64_t query_shape[4] = {B, HQ, TQ, D}, context_shape[4] = {B, HQ, TQ, DV}, table_shape[2] = {B, MOST};
    struct array rows[2], pages[2], scales[2], query, context[2], table, lengths;
    const int64_t batch = B;
    array_create(&query, given, 4, query_shape, LAYOUT_PLAIN, NULL);
    array_fill_normal(&query, &rng, 1);
    array_create(&lengths, ATTN_I32, 1, &batch, LAYOUT_PLAIN, NULL);
    array_create(&table, ATTN_I32, 2, table_shape, LAYOUT_PLAIN, NULL);
    int64_t numbers[N];
    for (int64_t i = 0; i < N; i++) numbers[i] = i;
    rng_shuffle(&rng, numbers, N);
    for (int64_t i = 0; i < B * MOST; i++) array_set(&table, i, (double)numbers[i]);
    for (int64_t b = 0; b < B; b++) array_set(&lengths, b, (double)(b == 0 ? T : rng_integer(&rng, 1, T)));
    for (int k = 0; k < 2; k++) {
        const int64_t width = k == 0 ? D : DV, row_shape[4] = {B, HK, T, width};
        const int64_t n[4] = {N, heads_first ? HK : PAGE, heads_first ? PAGE : HK, width};
        array_create(&rows[k], given, 4, row_shape, LAYOUT_PLAIN, NULL);
        array_fill_normal(&rows[k], &rng, 1);
        array_create(&pages[k], kept, 4, n, LAYOUT_PLAIN, NULL);
        array_create(&scales[k], ATTN_F32, 3, n, LAYOUT_PLAIN, NULL);
        if (kept != ATTN_I8) array_fill(&pages[k], (double)NAN); /* nobody may see it */
        array_fill(&scales[k], (double)NAN);
        attn_tensor *const views[2] = {&pages[k].tensor, &scales[k].tensor};
        for (int i = 0; i < 2 && !heads_first; i++) {
            const int64_t stride = views[i]->stride[1];
            views[i]->shape[1] = HK, views[i]->shape[2] = PAGE;
            views[i]->stride[1] = views[i]->stride[2], views[i]->stride[2] = stride;
        }
    }
    for (int64_t b = 0; b < B; b++) {
        const int64_t length = (int64_t)array_get(&lengths, b);
        for (int64_t first = 0, n; first < length; first += n) {
            int64_t slots[T];
            n = rng_integer(&rng, 1, length - first);
            for (int64_t i = 0; i < n; i++) {
                slots[i] = numbers[b * MOST + (first + i) / PAGE] * PAGE + (first + i) % PAGE;
            }
            attn_tensor parts[2];
            for (int k = 0; k < 2; k++) {
                parts[k] = rows[k].tensor;
                parts[k].shape[0] = 1, parts[k].shape[2] = n;
                const int64_t size = given == ATTN_F64 ? 8 : given == ATTN_F32 ? 4 : 2;
                parts[k].data = (char *)parts[k].data + (b * parts[k].stride[0] + first * parts[k].stride[2]) * size;
            }
            const attn_tensor to = {slots, ATTN_I64, 1, {n}, {1}};
            attn_pages_append_args args = ATTN_PAGES_APPEND_ARGS_INIT;
            args.slots = &to, args.key = &parts[0], args.value = &parts[1];
            args.key_pages = &pages[0].tensor, args.value_pages = &pages[1].tensor;
            if (kept == ATTN_I8) args.key_scales = &scales[0].tensor, args.value_scales = &scales[1].tensor;
            MUST(attn_pages_append(engine, &args));
        }
    }
    for (int i = 0; i < 2; i++) {
        array_create(&context[i], given, 4, context_shape, LAYOUT_PLAIN, NULL);
        attn_forward_args args = ATTN_FORWARD_ARGS_INIT;
        args.query = &query.tensor, args.context = &context[i].tensor;
        if (i == 0) {
            args.key = &pages[0].tensor, args.value = &pages[1].tensor;
            args.page_table = &table.tensor, args.key_lengths = &lengths.tensor;
            if (kept == ATTN_I8) args.key_scales = &scales[0].tensor, args.value_scales = &scales[1].tensor;
        } else if (kept == ATTN_I8) {
            attn_memory_options options = ATTN_MEMORY_OPTIONS_INIT;
            options.dtype = kept, options.batch = B, options.key_heads = HK, options.key_dim = D,
            options.value_dim = DV;
            MUST(attn_memory_create(m, &options, &memory));
            MUST(attn_memory_append(memory, &rows[0].tensor, &rows[1].tensor, &lengths.tensor));
            args.memory = memory;
        } else {
            args.key = &rows[0].tensor, args.value = &rows[1].tensor, args.key_lengths = &lengths.tensor;
        }
        MUST(attn_forward(m, &args));
    }
    if (given == ATTN_F32 || given == ATTN_F64) assert_near(&context[0], &context[1], "context over pages");
    for (int64_t i = 0; i < array_count(&context[0]); i++) {
        const double is = array_get(&context[0], i), want = array_get(&context[1], i);
        assert_true(fabs(is - want) <= 1e-5 * (1 + fabs(want)) + 2 * dtype_half_step(given, want));
    }
    for (int k = 0; k < 2; k++) {
        array_destroy(&rows[k]), array_destroy(&pages[k]), array_destroy(&scales[k]), array_destroy(&context[k]);
    }
    array_destroy(&query), array_destroy(&table), array_destroy(&lengths);
    attn_memory_destroy(memory);
    attn_mechanism_destroy(m);
}

static void what_was_appended_is_attended_to(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        for (int heads_first = 0; heads_first < 2; heads_first++) {
            attend_to_pages(types[i], types[i], heads_first);
            if (types[i] != ATTN_F64) attend_to_pages(types[i], ATTN_I8, heads_first);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_become_what_pages_keep),
        cmocka_unit_test(float64_is_rounded_once),
        cmocka_unit_test(integers_of_rows_that_have_no_scale),
        cmocka_unit_test(pages_may_take_turns_in_a_block),
        cmocka_unit_test(a_slot_that_is_there_twice_is_refused),
        cmocka_unit_test(what_is_missing_or_too_much_is_refused),
        cmocka_unit_test(wrong_types_and_shapes_are_refused),
        cmocka_unit_test(outputs_that_lie_over_anything_are_refused),
        cmocka_unit_test(turns_that_meet_are_refused),
        cmocka_unit_test(nothing_may_be_written),
        cmocka_unit_test(bits_do_not_depend_on_threads_nor_failures),
        cmocka_unit_test(memory_beside_the_arguments_is_as_said),
        cmocka_unit_test(what_was_appended_is_attended_to),
    };
    return cmocka_run_group_tests_name("appending to pages", tests, engine_setup, engine_teardown);
}
