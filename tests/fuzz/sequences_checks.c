/* SPDX-License-Identifier: BSD-3-Clause
 *
 * sequences_checks.c: batches of sequences (sequences_checks.h). Tensors of a sequence alone are views into those of
 * the batch, but for keys and values in pages, whose table is cut.
 */
#include "sequences_checks.h"

#include <math.h>
#include <string.h>

enum { MOST_SEQUENCES = 4 };
enum { CONTEXT, WEIGHTS, SCORES, LOGSUMEXP, ENTROPY, STRONGEST, KEY_SUMS, OUTPUTS };

struct batch {
    struct problem *p;
    struct rng rng; /* of masks and pages */
    bool has_queries, has_keys, has_pages, is_packed, masks_last;
    int64_t batch, query_rows, key_rows, longest, page;
    int64_t q[MOST_SEQUENCES + 1], k[MOST_SEQUENCES + 1], n[MOST_SEQUENCES]; /* n: the keys of each */
    struct array query, key, value, key_scales, value_scales, mask, bias, lengths, query_offsets, key_offsets, table,
        page_offsets;
    int64_t length[MOST_SEQUENCES]; /* the valid ones */
    attn_forward_args args;
    unsigned wanted;
};

/* ----------------------------------------------------------------------------------------------- shapes */

/* Of a padded batch nothing is said of bits. */
static bool is_ragged(const struct batch *s)
{
    return s->has_queries || s->has_keys || s->has_pages;
}

static int64_t take_rows(struct bytes *b, int64_t most)
{
    const unsigned choice = take(b);
    return choice % 8 == 0 ? 0 : choice % 8 == 1 ? take_range(b, 0, most) : take_range(b, 0, 9);
}

/* Where sequences begin; what is before and after them is nobody's. */
static int64_t take_offsets(struct bytes *b, int64_t batch, int64_t most, int64_t *offsets)
{
    offsets[0] = take(b) % 4;
    for (int64_t s = 0; s < batch; s++) offsets[s + 1] = offsets[s] + take_rows(b, most);
    return offsets[batch] + take(b) % 3;
}

static void take_shape(struct batch *s, struct bytes *b, unsigned choice)
{
    const struct problem *p = s->p;
    const bool is_location = p->scene.twin.score == TWIN_LOCATION;
    const int64_t most = is_location ? p->location_rows : take(b) % 8 == 7 ? 300 : 40;
    s->has_queries = choice % 2 == 0;
    s->has_pages = choice / 2 % 2 == 1;
    s->has_keys = !s->has_pages && choice / 4 % 2 == 0;
    s->is_packed = choice / 4 % 2 == 0;
    s->batch = take_range(b, s->has_queries ? 0 : 1, MOST_SEQUENCES);
    s->query_rows = s->has_queries ? take_offsets(b, s->batch, 40, s->q) : take_rows(b, 40);
    if (s->has_keys) s->key_rows = take_offsets(b, s->batch, most < 9 ? 9 : most, s->k);
    if (!s->has_keys) s->key_rows = take_rows(b, most);
    if (is_location && s->has_keys) { /* no sequence may have more */
        for (int64_t i = 0; i < s->batch; i++) {
            if (s->k[i + 1] - s->k[i] > most) s->k[i + 1] = s->k[i] + most;
            if (s->k[i + 1] < s->k[i]) s->k[i + 1] = s->k[i];
        }
        s->key_rows = s->k[s->batch] + 1;
    } else if (is_location && s->key_rows > most) {
        s->key_rows = most;
    }
    if (!s->has_keys && !s->has_pages) s->longest = s->key_rows;
    s->page = 1 + take(b) % (choice >= 128 ? 70 : 5);
    for (int64_t i = 0; i < s->batch; i++) {
        const int64_t rows = s->has_keys ? s->k[i + 1] - s->k[i] : s->key_rows;
        s->n[i] = s->has_pages ? take_range(b, 0, rows) : rows;
        s->length[i] = s->has_pages ? s->n[i] : take(b) % 4 == 0 ? take_range(b, 0, rows) : rows;
        if (s->n[i] > s->longest) s->longest = s->n[i];
    }
}

/* ------------------------------------------------------------------------------------------------ inputs */

static void fill(struct batch *s, struct array *a, bool is_integers)
{
    for (int64_t i = 0, n = array_count(a); i < n; i++) {
        array_set(a, i, is_integers ? (double)rng_integer(&s->rng, -127, 127) : problem_number(s->p, 1.0, 1.0));
    }
}

static void integers(struct array *a, struct bytes *b, int32_t ndim, const int64_t *shape, const int64_t *numbers)
{
    fuzz_array(a, b, take(b) % 2 == 0 ? ATTN_I64 : ATTN_I32, ndim, shape, LAYOUT_OUTPUT);
    for (int64_t i = 0, n = array_count(a); i < n && numbers != NULL; i++) array_set(a, i, (double)numbers[i]);
}

static void make_rows(struct batch *s, struct bytes *b, struct array *a, struct array *scales, int64_t width)
{
    const struct problem *p = s->p;
    const bool by_integers = p->has_integers;
    const int64_t most = s->longest / s->page + 1;
    const int64_t shape[4] = {s->has_pages  ? s->batch * most + 1
                              : s->has_keys ? 1
                                            : s->batch,
                              p->scene.twin.key_heads, s->has_pages ? s->page : s->key_rows, width};
    fuzz_array(a, b, by_integers ? ATTN_I8 : p->scene.dtype, 4, shape, LAYOUT_INPUT);
    fill(s, a, by_integers);
    if (!by_integers) return;
    fuzz_array(scales, b, ATTN_F32, 3, shape, LAYOUT_INPUT);
    for (int64_t i = 0, n = array_count(scales); i < n; i++) array_set(scales, i, rng_uniform(&s->rng, 0.001, 0.02));
}

/* Sequences may have pages in common. What is past a sequence's last page is -1 still. */
static void make_table(struct batch *s, struct bytes *b)
{
    const int64_t most = s->longest / s->page + 1, pages = s->batch * most + 1;
    int64_t offsets[MOST_SEQUENCES + 1] = {take(b) % 2};
    for (int64_t i = 0; i < s->batch; i++) {
        offsets[i + 1] = offsets[i] + (s->n[i] + s->page - 1) / s->page + (s->is_packed ? take(b) % 2 : 0);
    }
    const int64_t shape[2] = {s->batch, most}, all = offsets[s->batch];
    integers(&s->table, b, s->is_packed ? 1 : 2, s->is_packed ? &all : shape, NULL);
    for (int64_t i = 0; i < s->batch; i++) {
        for (int64_t k = 0; k * s->page < s->n[i]; k++) {
            array_set(&s->table, s->is_packed ? offsets[i] + k : i * most + k,
                      (double)rng_integer(&s->rng, 0, pages - 1));
        }
    }
    s->args.page_table = &s->table.tensor;
    const int64_t count = s->batch + 1;
    if (s->is_packed) integers(&s->page_offsets, b, 1, &count, offsets), s->args.page_offsets = &s->page_offsets.tensor;
}

static void make_broadcast(struct batch *s, struct bytes *b, struct array *a, attn_dtype dtype, int64_t columns)
{
    const unsigned choice = take(b);
    const int64_t full[4] = {s->batch, s->p->scene.twin.query_heads, s->query_rows, columns};
    int64_t shape[4];
    for (int d = 0; d < 4; d++) shape[d] = full[d] > 0 && choice >> d & 1 ? 1 : full[d];
    fuzz_array(a, b, dtype, 4, shape, LAYOUT_INPUT);
    for (int64_t i = 0, n = array_count(a); i < n; i++) {
        if (dtype == ATTN_BOOL) array_set(a, i, rng_chance(&s->rng, 0.6));
        if (dtype != ATTN_BOOL) array_set(a, i, rng_chance(&s->rng, 0.1) ? -INFINITY : rng_normal(&s->rng));
    }
}

static void make(struct batch *s, struct bytes *b)
{
    const struct problem *p = s->p;
    const struct twin_problem *t = &p->scene.twin;
    attn_forward_args *a = &s->args;
    const int64_t query[4] = {s->has_queries ? 1 : s->batch, t->query_heads, s->query_rows, t->query_dim};
    const int64_t count = s->batch + 1;
    *a = p->scene.args;
    a->mask = a->bias = a->key_lengths = NULL;
    fuzz_array(&s->query, b, p->scene.dtype, 4, query, LAYOUT_INPUT);
    fill(s, &s->query, false);
    a->query = &s->query.tensor;
    if (a->key != NULL) {
        make_rows(s, b, &s->key, &s->key_scales, t->key_dim), a->key = &s->key.tensor;
        if (p->has_integers) a->key_scales = &s->key_scales.tensor;
    }
    if (a->value != NULL) {
        make_rows(s, b, &s->value, &s->value_scales, t->value_dim), a->value = &s->value.tensor;
        if (p->has_integers) a->value_scales = &s->value_scales.tensor;
    }
    if (s->has_queries) integers(&s->query_offsets, b, 1, &count, s->q), a->query_offsets = &s->query_offsets.tensor;
    if (s->has_keys) integers(&s->key_offsets, b, 1, &count, s->k), a->key_offsets = &s->key_offsets.tensor;
    if (s->has_pages) make_table(s, b);
    if (s->has_pages || take(b) % 2 == 0) {
        integers(&s->lengths, b, 1, &s->batch, s->length);
        a->key_lengths = &s->lengths.tensor;
    }
    const unsigned beside = take(b);
    s->masks_last = beside % 4 == 1;
    if (s->masks_last) a->mask_align = ATTN_ALIGN_BOTTOM_RIGHT;
    if (beside % 4 % 3 != 0) {
        make_broadcast(s, b, &s->mask, ATTN_BOOL, s->masks_last ? 1 + take(b) % 12 : s->longest);
        a->mask = &s->mask.tensor;
    }
    if (beside / 4 % 4 == 1) make_broadcast(s, b, &s->bias, p->scene.dtype, s->longest), a->bias = &s->bias.tensor;
}

/* --------------------------------------------------------------------------------------------- sequences */

static int64_t dtype_size(attn_dtype dtype)
{
    if (dtype == ATTN_F16 || dtype == ATTN_BF16) return 2;
    return dtype == ATTN_F64 || dtype == ATTN_I64 ? 8 : dtype == ATTN_F32 || dtype == ATTN_I32 ? 4 : 1;
}

static void narrow(attn_tensor *t, int d, int64_t first, int64_t count)
{
    if (t->data != NULL) t->data = (char *)t->data + first * t->stride[d] * dtype_size(t->dtype);
    t->shape[d] = count;
}

/* The rows of sequence i. */
static void take_queries(const struct batch *s, attn_tensor *t, int64_t i)
{
    if (s->has_queries) narrow(t, 2, s->q[i], s->q[i + 1] - s->q[i]);
    if (!s->has_queries) narrow(t, 0, i, 1);
}

static void take_keys(const struct batch *s, attn_tensor *t, int64_t i)
{
    if (s->has_keys) narrow(t, 2, s->k[i], s->k[i + 1] - s->k[i]);
    if (!s->has_keys && !s->has_pages) narrow(t, 0, i, 1);
}

static void take_broadcast(const struct batch *s, attn_tensor *t, int64_t i, bool is_of_last)
{
    if (t->shape[0] > 1) narrow(t, 0, i, 1);
    if (s->has_queries && t->shape[2] > 1) narrow(t, 2, s->q[i], s->q[i + 1] - s->q[i]);
    if (!is_of_last && t->shape[3] > 1) t->shape[3] = s->n[i];
}

static const attn_tensor *cut(const attn_tensor *from, attn_tensor *to)
{
    if (from != NULL) *to = *from;
    return from == NULL ? NULL : to;
}

/* What a call with sequence i alone points to. */
struct alone {
    attn_forward_args args;
    attn_weights_stats stats;
    attn_tensor query, key, value, key_scales, value_scales, mask, bias, lengths, table, outputs[OUTPUTS];
    int64_t length;
    bool is_whole; /* dropout draws the same */
};

static void make_alone(const struct batch *s, struct alone *one, int64_t i, const struct array outputs[OUTPUTS])
{
    const struct twin_problem *t = &s->p->scene.twin;
    attn_forward_args *a = &one->args;
    memset(one, 0, sizeof *one);
    *a = s->args;
    a->query_offsets = a->key_offsets = a->page_offsets = NULL;
    if ((a->query = cut(a->query, &one->query)) != NULL) take_queries(s, &one->query, i);
    if ((a->key = cut(a->key, &one->key)) != NULL) take_keys(s, &one->key, i);
    if ((a->value = cut(a->value, &one->value)) != NULL) take_keys(s, &one->value, i);
    if ((a->key_scales = cut(a->key_scales, &one->key_scales)) != NULL) take_keys(s, &one->key_scales, i);
    if ((a->value_scales = cut(a->value_scales, &one->value_scales)) != NULL) take_keys(s, &one->value_scales, i);
    if ((a->mask = cut(a->mask, &one->mask)) != NULL) take_broadcast(s, &one->mask, i, s->masks_last);
    if ((a->bias = cut(a->bias, &one->bias)) != NULL) take_broadcast(s, &one->bias, i, false);
    one->length = s->length[i];
    one->lengths = (attn_tensor){.data = &one->length, .dtype = ATTN_I64, .ndim = 1, .shape = {1}, .stride = {1}};
    if (a->key_lengths != NULL) a->key_lengths = &one->lengths;
    if ((a->page_table = cut(a->page_table, &one->table)) != NULL) {
        if (!s->is_packed) narrow(&one->table, 0, i, 1);
        if (s->is_packed) {
            const int64_t first = (int64_t)array_get(&s->page_offsets, i);
            narrow(&one->table, 0, first, (int64_t)array_get(&s->page_offsets, i + 1) - first);
        }
    }
    const int64_t first = s->has_queries ? s->q[i] : i * t->query_heads * s->query_rows;
    one->is_whole = a->dropout == 0 || !s->has_queries || t->query_heads == 1;
    a->dropout_offset += (uint64_t)first;
    one->stats = (attn_weights_stats)ATTN_WEIGHTS_STATS_INIT;
    const attn_tensor **slots[OUTPUTS] = {&a->context,         &a->weights,         &a->scores,
                                          &a->logsumexp,       &one->stats.entropy, &one->stats.strongest,
                                          &one->stats.key_sums};
    for (int o = 0; o < OUTPUTS; o++) {
        *slots[o] = NULL;
        if (!(s->wanted >> o & 1)) continue;
        one->outputs[o] = outputs[o].tensor;
        if (o == KEY_SUMS) {
            take_keys(s, &one->outputs[o], i);
            if (s->has_pages) narrow(&one->outputs[o], 0, i, 1), one->outputs[o].shape[2] = s->n[i];
        } else {
            take_queries(s, &one->outputs[o], i);
        }
        if (o == WEIGHTS || o == SCORES) one->outputs[o].shape[3] = s->n[i];
        *slots[o] = &one->outputs[o];
    }
    a->stats = s->wanted >> ENTROPY != 0 ? &one->stats : NULL;
}

/* ------------------------------------------------------------------------------------------------- calls */

struct call {
    struct array outputs[OUTPUTS];
    attn_weights_stats stats;
    attn_forward_args args;
};

static void make_outputs(const struct batch *s, struct bytes *b, struct call *c)
{
    const struct twin_problem *t = &s->p->scene.twin;
    const attn_dtype dtype = s->p->scene.dtype, computed = dtype_computed(dtype);
    const int64_t of_one = s->has_queries ? 1 : s->batch, columns = s->longest + take(b) % 3;
    const bool is_wider = s->has_keys || s->has_pages;
    const int64_t context[4] = {of_one, t->query_heads, s->query_rows, t->value_dim},
                  scores[4] = {of_one, t->query_heads, s->query_rows, is_wider ? columns : s->key_rows},
                  sums[3] = {s->has_keys ? 1 : s->batch, t->query_heads, s->has_pages ? s->longest : s->key_rows};
    memset(c, 0, sizeof *c);
    for (int o = 0; o < OUTPUTS; o++) {
        if (!(s->wanted >> o & 1)) continue;
        const attn_dtype type = o == CONTEXT ? dtype : o == STRONGEST ? ATTN_I32 : computed;
        fuzz_array(&c->outputs[o], b, type, o < LOGSUMEXP ? 4 : 3,
                   o == CONTEXT    ? context
                   : o == KEY_SUMS ? sums
                                   : scores,
                   LAYOUT_OUTPUT);
    }
}

static void bind(const struct batch *s, struct call *c)
{
    c->args = s->args;
    c->stats = (attn_weights_stats)ATTN_WEIGHTS_STATS_INIT;
    const attn_tensor **slots[OUTPUTS] = {&c->args.context,  &c->args.weights,    &c->args.scores,   &c->args.logsumexp,
                                          &c->stats.entropy, &c->stats.strongest, &c->stats.key_sums};
    for (int o = 0; o < OUTPUTS; o++) *slots[o] = s->wanted >> o & 1 ? &c->outputs[o].tensor : NULL;
    c->args.stats = s->wanted >> ENTROPY != 0 ? &c->stats : NULL;
}

static void again(const struct batch *s, const struct call *like, struct call *c)
{
    *c = *like;
    for (int o = 0; o < OUTPUTS; o++) {
        if (s->wanted >> o & 1) fuzz_array_again(&c->outputs[o], &like->outputs[o]);
    }
    bind(s, c);
}

/* What a failure tells of the batch. */
static void check_same_array(const struct batch *s, const struct array *got, const struct array *want, const char *what,
                             int which)
{
    for (int64_t i = 0, n = array_count(got); i < n && !fuzz_same(got, want); i++) {
        const double is = array_get(got, i), other = array_get(want, i);
        CHECK(is == other || (isnan(is) && isnan(other)),
              "%s, tensor %d[%d]: %.9g, not %.9g; %d sequences,%s%s%s%s%s %d rows of queries, %d of keys, pages of %d",
              what, which, (int)i, is, other, (int)s->batch, s->has_queries ? " ragged queries" : "",
              s->has_keys ? " ragged keys" : "", s->has_pages ? " pages" : "", s->masks_last ? " mask of the last" : "",
              s->args.bias != NULL ? " bias" : "", (int)s->query_rows, (int)s->key_rows, (int)s->page);
    }
    CHECK(fuzz_same(got, want), "%s, tensor %d: other bits", what, which);
}

static void check_same(const struct batch *s, const struct call *got, const struct call *want, const char *what)
{
    for (int o = 0; o < OUTPUTS; o++) {
        if (s->wanted >> o & 1) check_same_array(s, &got->outputs[o], &want->outputs[o], what, o);
    }
}

/* Past a sequence's keys there is nothing, which a call with it alone does not write. */
static void fill_past(const struct batch *s, struct call *c)
{
    const struct twin_problem *t = &s->p->scene.twin;
    for (int o = WEIGHTS; o <= SCORES; o++) {
        if (!(s->wanted >> o & 1)) continue;
        const int64_t columns = c->outputs[o].tensor.shape[3];
        const double nothing = o == SCORES && s->args.scores_stage != ATTN_SCORES_WEIGHTS ? -INFINITY : 0;
        for (int64_t i = 0; i < s->batch; i++) {
            for (int64_t h = 0; h < t->query_heads; h++) {
                const int64_t first = s->has_queries ? s->q[i] : 0, end = s->has_queries ? s->q[i + 1] : s->query_rows;
                for (int64_t row = first; row < end; row++) {
                    const int64_t at = ((s->has_queries ? 0 : i) * t->query_heads + h) * s->query_rows + row;
                    for (int64_t j = s->n[i]; j < columns; j++) array_set(&c->outputs[o], at * columns + j, nothing);
                }
            }
        }
    }
    for (int64_t i = 0; i < s->batch && s->wanted >> KEY_SUMS & 1 && s->has_pages; i++) {
        for (int64_t h = 0; h < t->query_heads; h++) {
            for (int64_t j = s->n[i]; j < s->longest; j++) {
                array_set(&c->outputs[KEY_SUMS], (i * t->query_heads + h) * s->longest + j, 0);
            }
        }
    }
}

static void check_forward(struct batch *s, struct call *c, enum fuzz_engine on, struct bytes *b)
{
    static struct call other;
    static struct alone one;
    const attn_mechanism *m = problem_mechanism(s->p, on);
    const unsigned check = take(b);
    bind(s, c);
    fuzz_count_allocations(-1);
    OK(attn_forward(m, &c->args));
    CHECK(fuzz_allocations().asked <= 1, "%d allocations", (int)fuzz_allocations().asked);
    for (int o = 0; o < OUTPUTS; o++) CHECK(!(s->wanted >> o & 1) || fuzz_gaps_untouched(&c->outputs[o]), "a gap");
    bool is_whole = is_ragged(s);
    again(s, c, &other);
    for (int64_t i = 0; i < s->batch; i++) {
        make_alone(s, &one, i, other.outputs);
        is_whole &= one.is_whole;
        OK(attn_forward(m, &one.args));
    }
    fill_past(s, &other);
    if (is_whole) check_same(s, c, &other, "a sequence alone");
    again(s, c, &other);
    if (check % 4 == 0) {
        OK(attn_forward(problem_mechanism(s->p, fuzz_engine_alike(on, check / 4)), &other.args));
    } else if (check % 4 == 1) {
        size_t bytes;
        OK(attn_forward_workspace(m, &other.args, &bytes));
        if (bytes > (size_t)1 << 20) return;
        other.args.workspace = fuzz_block(b, bytes);
        other.args.workspace_size = bytes;
        OK(attn_forward(m, &other.args));
    } else if (check % 4 == 2) {
        attn_plan *plan;
        OK(attn_plan_create(m, &c->args, &plan));
        OK(attn_plan_run(plan, &other.args));
        attn_plan_destroy(plan);
    } else {
        fuzz_count_allocations(0);
        const attn_status status = attn_forward(m, &other.args);
        const bool asked = fuzz_allocations().asked > 0;
        fuzz_count_allocations(-1);
        CHECK(status == (asked ? ATTN_ERR_NOMEM : ATTN_OK), "%s", attn_status_string(status));
        for (int o = 0; o < OUTPUTS && asked; o++) {
            CHECK(!(s->wanted >> o & 1) || fuzz_untouched(&other.outputs[o]), "output %d was written", o);
        }
        if (asked) return;
    }
    check_same(s, &other, c, "once more");
}

/* -------------------------------------------------------------------------------------------- gradients */

/* Of queries, keys and values; and, that all sequences add to, of bias, slopes and sinks. */
enum { D_QUERY, D_KEY, D_VALUE, OF_ROWS, D_BIAS = OF_ROWS, D_ALIBI, D_SINKS, GRADIENTS };

static void check_backward(struct batch *s, enum fuzz_engine on, struct bytes *b)
{
    static struct call c;
    static struct alone one;
    struct array d_context, d[GRADIENTS], wanted[OF_ROWS];
    const attn_mechanism *m = problem_mechanism(s->p, on);
    const unsigned which = take(b) % 64;
    attn_backward_args back = ATTN_BACKWARD_ARGS_INIT;
    s->wanted = 1U << CONTEXT | 1U << LOGSUMEXP;
    s->args.scores_stage = ATTN_SCORES_RAW;
    make_outputs(s, b, &c);
    bind(s, &c);
    OK(attn_forward(m, &c.args));
    fuzz_array(&d_context, b, s->p->scene.dtype, 4, c.outputs[CONTEXT].tensor.shape, LAYOUT_INPUT);
    for (int64_t i = 0, n = array_count(&d_context); i < n; i++) array_set(&d_context, i, rng_normal(&s->rng));
    back.forward = &c.args;
    back.d_context = &d_context.tensor;
    const attn_tensor *of[GRADIENTS] = {s->args.query,
                                        s->args.key,
                                        s->args.value,
                                        s->args.bias,
                                        s->p->scene.slopes.memory != NULL ? &s->p->scene.slopes.tensor : NULL,
                                        s->p->scene.sinks.memory != NULL ? &s->p->scene.sinks.tensor : NULL};
    const attn_tensor **slots[GRADIENTS] = {&back.d_query, &back.d_key,   &back.d_value,
                                            &back.d_bias,  &back.d_alibi, &back.d_sinks};
    for (int g = 0; g < GRADIENTS; g++) {
        if (of[g] == NULL || (which >> g & 1)) continue;
        fuzz_array(&d[g], b, of[g]->dtype, of[g]->ndim, of[g]->shape, LAYOUT_OUTPUT);
        *slots[g] = &d[g].tensor;
    }
    const attn_status status = attn_backward(m, &back);
    if (s->has_pages || s->p->has_integers || s->p->scene.twin.hardmax) {
        CHECK(status != ATTN_OK, "a gradient of what has none");
        for (int g = 0; g < GRADIENTS; g++) CHECK(*slots[g] == NULL || fuzz_untouched(&d[g]), "a gradient was written");
        return;
    }
    CHECK(status == ATTN_OK, "%s: %s", attn_status_string(status), attn_last_error());
    for (int g = 0; g < GRADIENTS; g++) CHECK(*slots[g] == NULL || fuzz_gaps_untouched(&d[g]), "a gap");
    bool is_whole = is_ragged(s); /* and what is summed, too, may be had another way */
    for (int g = OF_ROWS; g < GRADIENTS; g++) is_whole &= *slots[g] == NULL;
    for (int g = 0; g < OF_ROWS; g++) {
        if (*slots[g] != NULL) fuzz_array_again(&wanted[g], &d[g]);
    }
    for (int64_t i = 0; i < s->batch; i++) {
        attn_tensor flow = d_context.tensor, own[OF_ROWS];
        attn_backward_args single = ATTN_BACKWARD_ARGS_INIT;
        const attn_tensor **own_slots[OF_ROWS] = {&single.d_query, &single.d_key, &single.d_value};
        make_alone(s, &one, i, c.outputs);
        is_whole &= one.is_whole;
        take_queries(s, &flow, i);
        single.forward = &one.args;
        single.d_context = &flow;
        for (int g = 0; g < OF_ROWS; g++) {
            if (*slots[g] == NULL) continue;
            own[g] = wanted[g].tensor;
            if (g == D_QUERY) take_queries(s, &own[g], i);
            if (g != D_QUERY) take_keys(s, &own[g], i);
            *own_slots[g] = &own[g];
        }
        OK(attn_backward(m, &single));
    }
    for (int g = 0; g < OF_ROWS && is_whole; g++) {
        if (*slots[g] != NULL) check_same_array(s, &d[g], &wanted[g], "gradients of a sequence alone", g);
    }
}

void check_sequences(struct problem *p, struct bytes *b)
{
    static struct batch s;
    static struct call c;
    const unsigned choice = take(b);
    if (choice == 0) return;
    memset(&s, 0, sizeof s);
    s.p = p;
    s.rng = take_rng(b);
    take_shape(&s, b, choice);
    make(&s, b);
    s.wanted = take(b) % (1 << OUTPUTS);
    if (s.wanted == 0) s.wanted = 1U << CONTEXT;
    if (p->scene.twin.hardmax) s.wanted |= 1U << CONTEXT;
    const unsigned stage = take(b);
    s.args.scores_stage = (attn_scores_stage)(stage % 4);
    if (p->scene.twin.local >= TWIN_PREDICTIVE && stage % 4 < ATTN_SCORES_MASKED) {
        s.args.scores_stage = ATTN_SCORES_MASKED;
    }
    make_outputs(&s, b, &c);
    const enum fuzz_engine on = stage / 4 % 2 == 0 ? TILES_ONE : BLAS_ONE;
    check_forward(&s, &c, on, b);
    if (stage / 8 % 2 == 0) check_backward(&s, on, b);
}
