/* SPDX-License-Identifier: BSD-3-Clause
 *
 * fuzz_memory.c: sequences of operations on a memory, beside plain arrays that the same is done to. Attention over the
 * memory must be what the twin makes of the arrays, and a plan that meets the memory now and then does the same; failed
 * operations change nothing. What is left of an input is another such sequence, of numbers of 16 and 8 bits, by a
 * mechanism that is exact and by one that is fast. What is left of that may tell pages: then all of it happens again to
 * memories in pages of so many positions.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz_array.h"
#include "fuzz_twin.h"
#include "store.h"

enum { MOST_ROWS = 4, MOST_KEYS = 48, MOST_HEADS = 2, MOST_DIM = 24, MOST_PAGE = 20 };

typedef double all_rows[MOST_ROWS][MOST_HEADS][MOST_KEYS][MOST_DIM];

/* What the memory should hold, and what was appended. */
struct plain {
    int64_t batch, length[MOST_ROWS];
    all_rows key, value, given_key, given_value;
};

/* A plan of calls with so many sequences and queries. */
struct planned {
    attn_plan *plan;
    int64_t batch, queries;
};

struct world {
    struct problem problem;
    struct twin_problem shape; /* of all calls, but for batch, queries and keys */
    enum fuzz_engine engine;
    attn_memory_options options;
    attn_rope_options rope;
    attn_memory *memory;
    int64_t pages; /* of a fixed pool */
    struct planned planned;
    struct plain plain;
};

static attn_mechanism *mechanism(struct world *w)
{
    return problem_mechanism(&w->problem, w->engine);
}

static bool keys_alone(const struct world *w)
{
    return (w->options.flags & ATTN_MEMORY_KEYS_ALONE) != 0;
}

/* --------------------------------------------------------------------------------------------- creation */

static void take_options(struct world *w, struct bytes *b)
{
    const struct twin_problem *t = &w->problem.scene.twin;
    const unsigned choice = take(b);
    w->options = (attn_memory_options)ATTN_MEMORY_OPTIONS_INIT;
    w->options.flags = choice % 4;
    w->options.dtype = w->problem.has_integers ? ATTN_I8 : w->problem.scene.dtype;
    w->options.batch = w->plain.batch;
    w->options.key_heads = t->key_heads;
    w->options.key_dim = t->score == TWIN_LOCATION && !keys_alone(w) ? 0 : t->key_dim;
    w->options.value_dim = keys_alone(w) ? 0 : t->value_dim;
    w->options.capacity = take_range(b, 0, 20);
    const bool turns = choice / 4 % 4 == 3 && !keys_alone(w) && t->score != TWIN_ADDITIVE && t->score != TWIN_CONCAT &&
                       t->score != TWIN_LOCATION && t->key_dim >= 2;
    if (turns) {
        w->rope = (attn_rope_options)ATTN_ROPE_OPTIONS_INIT;
        w->rope.layout = take(b) % 2 != 0 ? ATTN_ROPE_HALVES : ATTN_ROPE_INTERLEAVED;
        w->rope.dimensions = 2 * take_range(b, 1, t->key_dim / 2);
        w->options.rope = &w->rope;
    }
}

/* By attn_rope, in the type that a memory turns them in: what is rounded after it must be rounded alike. */
static void turn_stored(const struct world *w, double *key, int64_t position)
{
    const attn_dtype dtype = w->problem.has_integers ? ATTN_F32 : w->problem.scene.dtype;
    const int64_t shape[2] = {1, w->options.key_dim};
    static unsigned char room[MOST_DIM * sizeof(float)];
    struct array row = {.memory = room, .bytes = sizeof room};
    attn_rope_options rope = w->rope;
    rope.first = position;
    OK(attn_tensor_init(&row.tensor, room, dtype, 2, shape));
    array_write(&row, key);
    OK(attn_rope(fuzz_engine(w->engine), &rope, &row.tensor, &row.tensor));
    for (int64_t d = 0; d < shape[1]; d++) key[d] = array_get(&row, d);
}

static void turn(const struct world *w, double *key, int64_t position)
{
    if (w->problem.is_stored) {
        turn_stored(w, key, position);
        return;
    }
    const int64_t n = w->rope.dimensions;
    for (int64_t i = 0; i < n / 2; i++) {
        double *from_a = w->rope.layout == ATTN_ROPE_HALVES ? key + i : key + 2 * i;
        double *from_b = w->rope.layout == ATTN_ROPE_HALVES ? key + i + n / 2 : key + 2 * i + 1;
        const double angle = (double)position * pow(10000.0, -2.0 * (double)i / (double)n);
        const double a = *from_a, c = *from_b;
        *from_a = a * cos(angle) - c * sin(angle);
        *from_b = c * cos(angle) + a * sin(angle);
    }
}

/* True if keys are kept as they come: of additive scores, those that come projected, where no tiles convert them. */
static bool keeps_keys_raw(const struct world *w)
{
    const enum fuzz_engine e = w->engine;
    const enum twin_score score = w->problem.scene.twin.score;
    if (score != TWIN_ADDITIVE && score != TWIN_CONCAT) return true;
    return w->problem.additive_flags & ATTN_ADDITIVE_KEY_PROJECTED &&
           (e == BLAS_ONE || e == BLAS_THREE || e == BLAS_BACKWARDS);
}

/* True if keys and values may be of any type: integers are made of them, and no parameter tells them another. */
static bool takes_any_type(const struct world *w)
{
    return w->problem.has_integers && w->problem.scene.param_count == 0;
}

/* What is kept of a row that was appended at a position. */
static void keep(struct world *w, int64_t r, int64_t h, int64_t position)
{
    struct plain *plain = &w->plain;
    const struct twin_problem *t = &w->problem.scene.twin;
    double *key = plain->key[r][h][position], *value = plain->value[r][h][position];
    memcpy(key, plain->given_key[r][h][position], sizeof plain->key[r][h][position]);
    memcpy(value, plain->given_value[r][h][position], sizeof plain->value[r][h][position]);
    if (keys_alone(w)) memcpy(value, key, sizeof plain->value[r][h][position]);
    if (w->options.rope != NULL) turn(w, key, position);
    if (!w->problem.has_integers) return;
    if (keeps_keys_raw(w)) quantise_row(key, t->key_dim);
    quantise_row(value, keys_alone(w) ? t->key_dim : t->value_dim);
}

/* ------------------------------------------------------------------------------------------- operations */

static void check_lengths(const struct world *w)
{
    int64_t batch = 0, lengths[MOST_ROWS] = {0};
    OK(attn_memory_lengths(w->memory, &batch, lengths, MOST_ROWS));
    CHECK(batch == w->plain.batch, "%d sequences, not %d", (int)batch, (int)w->plain.batch);
    for (int64_t r = 0; r < batch; r++) {
        CHECK(lengths[r] == w->plain.length[r], "sequence %d has %d positions, not %d", (int)r, (int)lengths[r],
              (int)w->plain.length[r]);
    }
}

/* Calls until it succeeds: where failures are wanted its first allocation fails, then its second, ... */
#define WITH_FAILURES(status, wanted, call)                                                                            \
    for (int64_t fail_at = (wanted) ? 0 : -1;; fail_at++) {                                                            \
        fuzz_count_allocations(fail_at);                                                                               \
        (status) = (call);                                                                                             \
        const bool failed = fail_at >= 0 && fuzz_allocations().asked > fail_at;                                        \
        fuzz_count_allocations(-1);                                                                                    \
        if (!failed) break;                                                                                            \
        CHECK((status) == ATTN_ERR_NOMEM, "%s without memory", attn_status_string(status));                            \
        check_lengths(w);                                                                                              \
    }

/* True if it has room for so many more of each sequence; in pages, if it has even where none is shared. */
static bool has_room(const struct world *w, const int64_t *counts)
{
    const int64_t page = w->options.page;
    int64_t pages = 0;
    for (int64_t r = 0; r < w->plain.batch; r++) {
        const int64_t length = w->plain.length[r] + counts[r];
        if (page == 0 && length > w->options.capacity) return false;
        if (page > 0) pages += (length + page - 1) / page;
    }
    return pages <= w->pages;
}

static attn_tensor integers(int64_t *numbers, int64_t count)
{
    return (attn_tensor){.data = numbers, .dtype = ATTN_I64, .ndim = 1, .shape = {count}, .stride = {1}};
}

static void append(struct world *w, struct bytes *b)
{
    struct plain *plain = &w->plain;
    struct problem *p = &w->problem;
    const struct twin_problem *t = &p->scene.twin;
    const int64_t n = take_range(b, 0, 9), rows = plain->batch;
    const unsigned choice = take(b);
    int64_t counts[MOST_ROWS];
    struct array key = {0}, value = {0};
    const int64_t key_shape[4] = {rows, t->key_heads, n, t->key_dim};
    const int64_t value_shape[4] = {rows, t->key_heads, n, t->value_dim};
    bool fits = true;

    for (int64_t r = 0; r < rows; r++) {
        counts[r] = choice & 1 ? take_range(b, 0, n) : n;
        fits &= plain->length[r] + counts[r] <= MOST_KEYS;
    }
    if (!fits) return;
    static const attn_dtype dtypes[] = {ATTN_F32, ATTN_F16, ATTN_BF16};
    const attn_dtype dtype = takes_any_type(w) ? dtypes[choice / 16 % 3] : p->scene.dtype;
    if (w->options.key_dim > 0) {
        fuzz_array(&key, b, dtype, 4, key_shape, LAYOUT_INPUT);
        for (int64_t i = array_count(&key) - 1; i >= 0; i--) array_set(&key, i, problem_number(p, 1.0, 1.0));
    }
    if (!keys_alone(w)) {
        fuzz_array(&value, b, dtype, 4, value_shape, LAYOUT_INPUT);
        for (int64_t i = array_count(&value) - 1; i >= 0; i--) array_set(&value, i, problem_number(p, 1.0, 1.0));
    }
    const attn_tensor tensor = integers(counts, rows);
    const attn_tensor *const of_key = w->options.key_dim > 0 ? &key.tensor : NULL;
    const attn_tensor *const of_value = keys_alone(w) ? NULL : &value.tensor;
    attn_status status = ATTN_OK;
    if (choice & 2) { /* more than there are, or less than nothing */
        const int64_t right = counts[rows - 1];
        counts[rows - 1] = choice & 4 ? n + 1 : -1;
        status = attn_memory_append(w->memory, of_key, of_value, &tensor);
        CHECK(status != ATTN_OK, "appended %d of %d positions", (int)counts[rows - 1], (int)n);
        fuzz_check_sentence(status);
        counts[rows - 1] = right;
    }
    WITH_FAILURES(status, choice & 8, attn_memory_append(w->memory, of_key, of_value, choice & 1 ? &tensor : NULL));
    if (w->options.flags & ATTN_MEMORY_FIXED && !has_room(w, counts) && (w->options.page == 0 || status != ATTN_OK)) {
        CHECK(status == ATTN_ERR_BUFFER, "a full memory took more: %s", attn_status_string(status));
        return;
    }
    OK(status);
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t h = 0; h < t->key_heads; h++) {
            for (int64_t j = 0; j < counts[r]; j++) {
                const int64_t at = (r * t->key_heads + h) * n + j, to = plain->length[r] + j;
                for (int64_t d = 0; of_key && d < t->key_dim; d++) {
                    plain->given_key[r][h][to][d] = array_get(&key, at * t->key_dim + d);
                }
                for (int64_t d = 0; of_value && d < t->value_dim; d++) {
                    plain->given_value[r][h][to][d] = array_get(&value, at * t->value_dim + d);
                }
                keep(w, r, h, to);
            }
        }
        plain->length[r] += counts[r];
    }
}

static void truncate(struct world *w, struct bytes *b)
{
    struct plain *plain = &w->plain;
    int64_t lengths[MOST_ROWS];
    const unsigned choice = take(b);
    for (int64_t r = 0; r < plain->batch; r++) lengths[r] = take_range(b, 0, plain->length[r]);
    const attn_tensor tensor = integers(lengths, plain->batch);
    if (choice & 1) {
        const int64_t right = lengths[0];
        lengths[0] = choice & 2 ? plain->length[0] + 1 : -1;
        const attn_status status = attn_memory_truncate(w->memory, &tensor);
        CHECK(status != ATTN_OK, "cut %d positions to %d", (int)plain->length[0], (int)lengths[0]);
        fuzz_check_sentence(status);
        lengths[0] = right;
    }
    OK(attn_memory_truncate(w->memory, &tensor));
    memcpy(plain->length, lengths, (size_t)plain->batch * sizeof *lengths);
}

static void reorder(struct world *w, struct bytes *b)
{
    static struct plain before;
    struct plain *plain = &w->plain;
    const unsigned choice = take(b);
    const int64_t count = take_range(b, 1, MOST_ROWS);
    int64_t rows[MOST_ROWS];
    attn_status status = ATTN_OK;
    for (int64_t r = 0; r < count; r++) rows[r] = take_range(b, 0, plain->batch - 1);
    if (choice & 4) rows[choice / 16 % count] = -1; /* one that joins */
    const attn_tensor tensor = integers(rows, count);
    if (choice & 1) {
        const int64_t right = rows[count - 1];
        rows[count - 1] = choice & 2 ? plain->batch : -2;
        status = attn_memory_reorder(w->memory, &tensor);
        CHECK(status != ATTN_OK, "took sequence %d of %d", (int)rows[count - 1], (int)plain->batch);
        fuzz_check_sentence(status);
        rows[count - 1] = right;
    }
    WITH_FAILURES(status, choice & 8, attn_memory_reorder(w->memory, &tensor));
    OK(status);
    before = *plain;
    plain->batch = count;
    for (int64_t r = 0; r < count; r++) {
        plain->length[r] = rows[r] < 0 ? 0 : before.length[rows[r]];
        if (rows[r] < 0) continue;
        memcpy(plain->key[r], before.key[rows[r]], sizeof plain->key[r]);
        memcpy(plain->value[r], before.value[rows[r]], sizeof plain->value[r]);
        memcpy(plain->given_key[r], before.given_key[rows[r]], sizeof plain->given_key[r]);
        memcpy(plain->given_value[r], before.given_value[rows[r]], sizeof plain->given_value[r]);
    }
}

/* Row `from` of a sequence becomes row `to`. */
static void move_row(all_rows *of, int64_t r, int64_t from, int64_t to)
{
    for (int64_t h = 0; h < MOST_HEADS; h++) memmove((*of)[r][h][to], (*of)[r][h][from], sizeof(*of)[r][h][to]);
}

/* Some positions of each sequence are chosen, by the bits of an input. */
static void keep_some(struct world *w, struct bytes *b)
{
    struct plain *plain = &w->plain;
    int64_t lengths[MOST_ROWS], offsets[MOST_ROWS + 1] = {0}, positions[MOST_ROWS * MOST_KEYS + 1], count = 0;
    const unsigned choice = take(b);
    bool moves = false;
    attn_status status = ATTN_OK;
    for (int64_t r = 0; r < plain->batch; r++) {
        lengths[r] = take_range(b, 0, plain->length[r]);
        for (int64_t at = lengths[r]; at < plain->length[r]; at++) {
            if (take(b) % 3 == 0) continue;
            moves |= at != lengths[r] + count - offsets[r];
            positions[count++] = at;
        }
        offsets[r + 1] = count;
    }
    const attn_tensor first = integers(lengths, plain->batch), from = integers(offsets, plain->batch + 1);
    const attn_tensor chosen = integers(positions, count);
    if (choice & 1 && count > 0) {
        const int64_t right = positions[count - 1];
        positions[count - 1] = choice & 2 ? MOST_KEYS + 1 : -1;
        status = attn_memory_keep(w->memory, &first, &chosen, &from);
        CHECK(status != ATTN_OK, "kept position %d", (int)positions[count - 1]);
        fuzz_check_sentence(status);
        positions[count - 1] = right;
    }
    WITH_FAILURES(status, choice & 8, attn_memory_keep(w->memory, &first, &chosen, &from));
    if (moves && w->options.rope != NULL) {
        CHECK(status == ATTN_ERR_UNSUPPORTED, "turned keys were moved");
        return;
    }
    if (status == ATTN_ERR_BUFFER && w->options.page > 0 && w->options.flags & ATTN_MEMORY_FIXED) return;
    OK(status);
    for (int64_t r = 0; r < plain->batch; r++) {
        for (int64_t i = offsets[r]; i < offsets[r + 1]; i++) {
            all_rows *const all[] = {&plain->key, &plain->value, &plain->given_key, &plain->given_value};
            for (int k = 0; k < 4; k++) move_row(all[k], r, positions[i], lengths[r] + i - offsets[r]);
        }
        plain->length[r] = lengths[r] + offsets[r + 1] - offsets[r];
    }
}

/* Goes on with a copy; what happens to the other memory then must not matter. */
static void fork_memory(struct world *w, struct bytes *b)
{
    const unsigned choice = take(b);
    attn_memory *copy = NULL;
    attn_status status = ATTN_OK;
    WITH_FAILURES(status, choice & 8, attn_memory_fork(w->memory, &copy));
    OK(status);
    attn_memory *other = choice & 1 ? copy : w->memory;
    w->memory = choice & 1 ? w->memory : copy;
    if (choice & 2) {
        int64_t nothing[MOST_ROWS] = {0};
        const attn_tensor none = integers(nothing, w->plain.batch);
        OK(attn_memory_truncate(other, &none));
    }
    attn_memory_destroy(other);
}

/* ------------------------------------------------------------------------------------------- attending */

static int64_t greatest_length(const struct plain *plain)
{
    int64_t most = 0;
    for (int64_t r = 0; r < plain->batch; r++) most = plain->length[r] > most ? plain->length[r] : most;
    return most;
}

/* Rows up to the greatest length, 0 past a sequence's own. The caller frees them. */
static double *whole_rows(const struct world *w, all_rows *of, int64_t width)
{
    const struct plain *plain = &w->plain;
    const int64_t heads = w->problem.scene.twin.key_heads, keys = greatest_length(plain);
    const int64_t count = plain->batch * heads * keys;
    double *whole = must_allocate((size_t)(count * width + 1) * sizeof *whole);
    for (int64_t at = 0; at < count; at++) {
        const int64_t r = at / keys / heads, h = at / keys % heads, j = at % keys;
        for (int64_t d = 0; d < width; d++) {
            whole[at * width + d] = j < plain->length[r] ? (*of)[r][h][j][d] : 0.0;
        }
    }
    return whole;
}

/* The problem as the twin sees it: whole arrays of the greatest length. The caller frees them. */
static struct twin_problem plain_problem(struct world *w, int64_t queries, const double *query, double **key,
                                         double **value)
{
    struct plain *plain = &w->plain;
    struct twin_problem t = w->problem.scene.twin;
    const int64_t keys = greatest_length(plain);
    t.batch = plain->batch, t.queries = queries, t.keys = keys, t.query = query;
    if (keys_alone(w)) t.value_dim = t.key_dim;
    t.key = *key = whole_rows(w, &plain->key, t.key_dim);
    t.value = *value = whole_rows(w, &plain->value, t.value_dim);
    if (keys_alone(w) && !w->problem.has_integers) t.value = NULL; /* which may be kept otherwise than the keys */
    t.key_lengths = plain->length;
    return t;
}

static void check(const struct world *w, const struct array *got, const double *want, const double *magnitude,
                  const char *what)
{
    const struct worst worst = compare(got, want, magnitude);
    CHECK(worst.ratio <= SCENE_FACTOR, "%s, %s[%d] is %.9g, wanted %.9g: %.3g times the unit",
          fuzz_engine_name(w->engine), what, (int)worst.index, worst.got, worst.want, worst.ratio);
}

/* The same content in a memory that it was appended to at once gives the same bits. */
static void check_whole(struct world *w, const attn_forward_args *args, const struct array *context,
                        const struct twin_problem *t)
{
    attn_memory_options options = w->options;
    attn_memory *whole = NULL;
    struct array other;
    attn_forward_args again = *args;
    struct array key = {0}, value = {0};
    const int64_t key_shape[4] = {t->batch, t->key_heads, t->keys, t->key_dim};
    const int64_t value_shape[4] = {t->batch, t->key_heads, t->keys, t->value_dim};
    struct bytes none = {NULL, 0};
    const bool is_stored = w->problem.is_stored, has_values = !keys_alone(w);
    if (w->problem.scene.dtype == ATTN_F64 || (w->options.rope != NULL && !is_stored)) return;
    const attn_dtype dtype = takes_any_type(w) ? ATTN_F32 : w->problem.scene.dtype;
    options.batch = t->batch;
    options.flags &= ATTN_MEMORY_KEYS_ALONE;
    OK(attn_memory_create(mechanism(w), &options, &whole));
    double *keys = whole_rows(w, &w->plain.given_key, t->key_dim);
    double *values = whole_rows(w, &w->plain.given_value, t->value_dim);
    if (options.key_dim > 0) {
        fuzz_array(&key, &none, dtype, 4, key_shape, LAYOUT_PLAIN);
        array_write(&key, keys);
    }
    if (has_values) {
        fuzz_array(&value, &none, dtype, 4, value_shape, LAYOUT_PLAIN);
        array_write(&value, values);
    }
    free(keys), free(values);
    const attn_tensor counts = integers(w->plain.length, t->batch);
    OK(attn_memory_append(whole, options.key_dim > 0 ? &key.tensor : NULL, has_values ? &value.tensor : NULL, &counts));
    fuzz_array_again(&other, context);
    again.context = &other.tensor;
    again.memory = whole;
    OK(attn_forward(mechanism(w), &again));
    CHECK(fuzz_same(&other, context), "%s: other bits from a memory that was filled at once",
          fuzz_engine_name(w->engine));
    attn_memory_destroy(whole);
}

/* A plan that was made when there was another memory, or a shorter one, gives the bits of attn_forward. */
static void check_plan(struct world *w, const attn_forward_args *args, const struct array *query,
                       const struct array *context, bool fails)
{
    struct planned *planned = &w->planned;
    struct bytes none = {NULL, 0};
    struct array here, got, want;
    attn_forward_args of = *args;
    fuzz_array(&here, &none, query->tensor.dtype, 4, query->tensor.shape, LAYOUT_PLAIN);
    for (int64_t i = array_count(query) - 1; i >= 0; i--) array_set(&here, i, array_get(query, i));
    fuzz_array(&got, &none, context->tensor.dtype, 4, context->tensor.shape, LAYOUT_PLAIN);
    fuzz_array_again(&want, &got);
    of.query = &here.tensor;
    of.context = &got.tensor;
    of.weights = NULL;
    if (planned->plan == NULL || planned->batch != w->plain.batch || planned->queries != query->tensor.shape[2]) {
        attn_plan_destroy(planned->plan);
        planned->plan = NULL;
        OK(attn_plan_create(mechanism(w), &of, &planned->plan));
        planned->batch = w->plain.batch;
        planned->queries = query->tensor.shape[2];
        CHECK(fuzz_untouched(&got), "a plan that has not run has written");
    }
    attn_status status;
    WITH_FAILURES(status, fails, attn_plan_run(planned->plan, &of));
    OK(status);
    of.context = &want.tensor;
    OK(attn_forward(mechanism(w), &of));
    CHECK(fuzz_same(&got, &want), "%s: other bits by a plan", fuzz_engine_name(w->engine));
}

static void attend(struct world *w, struct bytes *b)
{
    struct problem *p = &w->problem;
    const struct twin_problem *rule = &p->scene.twin;
    const unsigned choice = take(b);
    const int64_t queries = take_range(b, 0, 4), rows = w->plain.batch;
    const int64_t query_shape[4] = {rows, rule->query_heads, queries, rule->query_dim};
    const int64_t context_shape[4] = {rows, rule->query_heads, queries,
                                      keys_alone(w) ? rule->key_dim : rule->value_dim};
    const int64_t weights_shape[4] = {rows, rule->query_heads, queries, greatest_length(&w->plain)};
    struct array query, context, weights = {0}, again;
    attn_forward_args args = p->scene.args;
    struct twin_result want;
    double *key, *value;

    const unsigned layout = p->precision == ATTN_PRECISION_FAST ? LAYOUT_PLAIN : LAYOUT_INPUT;
    fuzz_array(&query, b, p->scene.dtype, 4, query_shape, layout);
    for (int64_t i = array_count(&query) - 1; i >= 0; i--) array_set(&query, i, problem_number(p, 1.0, 1.0));
    fuzz_array(&context, b, p->scene.dtype, 4, context_shape, LAYOUT_OUTPUT);
    if (choice & 1) fuzz_array(&weights, b, dtype_computed(p->scene.dtype), 4, weights_shape, LAYOUT_OUTPUT);
    double *query_numbers = array_read(&query);
    args.query = &query.tensor;
    args.context = &context.tensor;
    args.weights = choice & 1 ? &weights.tensor : NULL;
    args.memory = w->memory;
    fuzz_count_allocations(-1);
    OK(attn_forward(mechanism(w), &args));
    CHECK(fuzz_allocations().asked <= 1, "%d allocations", (int)fuzz_allocations().asked);
    CHECK(fuzz_gaps_untouched(&context) && (!(choice & 1) || fuzz_gaps_untouched(&weights)),
          "written between elements");
    const struct twin_problem t = plain_problem(w, queries, query_numbers, &key, &value);
    fuzz_run_twin(&t, dtype_computed(p->scene.dtype), &want);
    allow_fast(p, &t, &want);
    check(w, &context, want.context, want.context_magnitude, "context");
    if (choice & 1) check(w, &weights, want.scores[TWIN_WEIGHTS], want.scores_magnitude[TWIN_WEIGHTS], "weights");
    if (choice & 2) {
        size_t bytes = 0;
        fuzz_array_again(&again, &context);
        args.context = &again.tensor;
        if (choice & 1) fuzz_wipe(&weights);
        OK(attn_forward_workspace(mechanism(w), &args, &bytes));
        args.workspace = fuzz_block(b, bytes < 1 << 18 ? bytes : 0);
        args.workspace_size = bytes;
        if (bytes < 1 << 18) {
            OK(attn_forward(mechanism(w), &args));
            CHECK(fuzz_same(&again, &context), "other bits in a workspace");
        }
        args.workspace = NULL;
        args.workspace_size = 0;
    }
    if (choice & 4) {
        args.weights = NULL;
        fuzz_wipe(&context);
        args.context = &context.tensor;
        OK(attn_forward(mechanism(w), &args));
        check_whole(w, &args, &context, &t);
    }
    if (choice & 8) check_plan(w, &args, &query, &context, choice & 16);
    twin_free(&want);
    free(query_numbers), free(key), free(value);
}

/* ----------------------------------------------------------------------------------------------- whole */

static void operate(struct bytes *b, struct stored stored, attn_precision precision, int64_t page)
{
    enum { MOST_OPERATIONS = 14 };
    static struct world w;
    memset(&w, 0, sizeof w);
    w.plain.batch = 1 + take(b) % 3;
    w.engine = (enum fuzz_engine)(take(b) % FUZZ_ENGINES);
    w.shape = (struct twin_problem){.batch = w.plain.batch, .keys = MOST_KEYS};
    w.shape.key_heads = 1 + take(b) % MOST_HEADS;
    w.shape.query_heads = w.shape.key_heads * (1 + take(b) % 2);
    w.shape.query_dim = take_range(b, 1, 12);
    w.shape.key_dim = take_range(b, 1, MOST_DIM);
    w.shape.value_dim = take_range(b, 1, MOST_DIM);
    w.shape.hidden_dim = take_range(b, 1, 12);
    problem_create_rule(&w.problem, b, &w.shape);
    if (stored.dtype != 0) problem_store(&w.problem, b, stored);
    if (precision == ATTN_PRECISION_FAST) problem_make_fast(&w.problem);
    take_options(&w, b);
    w.options.page = page;
    if (page > 0) w.pages = w.options.batch * ((w.options.capacity + page - 1) / page);
    OK(attn_memory_create(mechanism(&w), &w.options, &w.memory));
    for (int i = 0; i < MOST_OPERATIONS && b->left > 0; i++) {
        const unsigned choice = take(b), operation = choice % 8;
        if (operation < 3) append(&w, b);
        if (operation == 3 && choice < 128) truncate(&w, b);
        if (operation == 3 && choice >= 128) keep_some(&w, b);
        if (operation == 4) reorder(&w, b);
        if (operation == 5) fork_memory(&w, b);
        if (operation > 5) attend(&w, b);
        check_lengths(&w);
    }
    attend(&w, b);
    attn_plan_destroy(w.planned.plan);
    attn_memory_destroy(w.memory);
    problem_destroy(&w.problem);
}

void fuzz_one(struct bytes *b)
{
    struct bytes first = *b;
    operate(b, stored_of(0), ATTN_PRECISION_EXACT, 0);
    const struct stored stored = stored_of(take(b));
    struct bytes second = *b, fast = *b, paged_fast = *b;
    if (stored.dtype != 0) {
        operate(b, stored, ATTN_PRECISION_EXACT, 0);
        operate(&fast, stored, ATTN_PRECISION_FAST, 0);
    }
    const int64_t page = take_range(b, 0, MOST_PAGE);
    if (page == 0) return;
    fuzz_arrays_begin();
    operate(&first, stored_of(0), ATTN_PRECISION_EXACT, page);
    if (stored.dtype == 0) return;
    operate(&second, stored, ATTN_PRECISION_EXACT, page);
    operate(&paged_fast, stored, ATTN_PRECISION_FAST, page);
}
