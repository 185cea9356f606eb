/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_published.c: what FlashAttention and FlashInfer publish of their conventions, as calls of this library, against
 * plain loops: causal masks from the bottom right, rows that see nothing, windows by both sides, cumulative sequence
 * lengths, page tables by index pointers and the length of the last page, and log-sum-exps.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support.h"

enum { H = 2, D = 8, MOST_Q = 6, MOST_K = 12 };
static const double bound = 30.0;

static struct array make(int64_t a, int64_t b, int64_t c, uint64_t seed)
{
    const int64_t shape[4] = {a, b, c, D};
    struct rng rng = {seed};
    struct array array;
    array_create(&array, ATTN_F32, 4, shape, LAYOUT_PLAIN, NULL);
    array_fill_normal(&array, &rng, 1.0);
    return array;
}

/* Context and log-sum-exp of one query, of the keys in a list of which it sees some. */
static double attend(const double *query, const double *const *keys, const double *const *values, const bool *sees,
                     int64_t count, double context[D])
{
    double weights[MOST_K], most = -INFINITY, sum = 0.0;
    for (int64_t j = 0; j < count; j++) {
        double e = 0.0;
        for (int d = 0; d < D; d++) e += query[d] * keys[j][d];
        weights[j] = sees[j] ? e / sqrt((double)D) : -INFINITY;
        most = fmax(most, weights[j]);
    }
    for (int d = 0; d < D; d++) context[d] = 0.0;
    for (int64_t j = 0; j < count && most > -INFINITY; j++) {
        const double weight = exp(weights[j] - most);
        sum += weight;
        for (int d = 0; d < D; d++) context[d] += weight * values[j][d];
    }
    for (int d = 0; d < D && sum > 0.0; d++) context[d] /= sum;
    return sum > 0.0 ? most + log(sum) : -INFINITY;
}

/* FlashAttention since 2.1: a causal mask leaves the keys that are 1 below, of seqlen_q rows and seqlen_k columns; a
 * window of (l, r) those from place - l to place + r, both included, place being i + seqlen_k - seqlen_q. */
static void check_mask(int64_t queries, int64_t keys, bool causal, int64_t left, int64_t right,
                       const char *const *published)
{
    struct array q = make(1, H, queries, 1), k = make(1, H, keys, 2), v = make(1, H, keys, 3),
                 c = make(1, H, queries, 4);
    const int64_t rows[3] = {1, H, queries};
    struct array lse;
    attn_mechanism *mechanism;
    attn_forward_args args = ATTN_FORWARD_ARGS_INIT;
    array_create(&lse, ATTN_F32, 3, rows, LAYOUT_PLAIN, NULL);
    MUST(attn_mechanism_create_scaled_dot(engine, &mechanism));
    if (causal) MUST(attn_mechanism_set_causal(mechanism, ATTN_ALIGN_BOTTOM_RIGHT));
    if (left >= 0 || right >= 0) MUST(attn_mechanism_set_window(mechanism, left, right, ATTN_ALIGN_BOTTOM_RIGHT));
    args.query = &q.tensor, args.key = &k.tensor, args.value = &v.tensor;
    args.context = &c.tensor, args.logsumexp = &lse.tensor;
    MUST(attn_forward(mechanism, &args));
    double *query = array_read(&q), *key = array_read(&k), *value = array_read(&v);
    double want[H * MOST_Q * D], sums[H * MOST_Q];
    for (int64_t h = 0; h < H; h++) {
        for (int64_t i = 0; i < queries; i++) {
            const double *all_keys[MOST_K], *all_values[MOST_K];
            bool sees[MOST_K];
            for (int64_t j = 0; j < keys; j++) {
                const int64_t place = i + keys - queries;
                all_keys[j] = key + (h * keys + j) * D, all_values[j] = value + (h * keys + j) * D;
                sees[j] =
                    (!causal || j <= place) && (left < 0 || j >= place - left) && (right < 0 || j <= place + right);
                if (published != NULL) assert_int_equal(sees[j], published[i][j] == '1');
            }
            sums[h * queries + i] =
                attend(query + (h * queries + i) * D, all_keys, all_values, sees, keys, want + (h * queries + i) * D);
        }
    }
    assert_close(&c, want, NULL, bound, "context");
    assert_close(&lse, sums, NULL, bound, "log-sum-exp");
    free(query), free(key), free(value);
    array_destroy(&q), array_destroy(&k), array_destroy(&v), array_destroy(&c), array_destroy(&lse);
    attn_mechanism_destroy(mechanism);
}

static void causal_masks_are_aligned_to_the_bottom_right(void **state)
{
    static const char *const wide[] = {"11110", "11111"}, *const tall[] = {"00", "00", "00", "10", "11"};
    (void)state;
    check_mask(2, 5, true, -1, -1, wide);
    check_mask(5, 2, true, -1, -1, tall); /* the first rows see nothing: 0, log-sum-exp minus infinity */
}

static void windows_have_both_sides_and_both_ends(void **state)
{
    (void)state;
    check_mask(4, 9, false, 2, 1, NULL);
    check_mask(4, 9, false, 0, 0, NULL);
    check_mask(6, 3, false, 1, 2, NULL);
    check_mask(4, 9, true, 3, -1, NULL); /* Mistral's: causal, and so many before */
}

/* cu_seqlens of FlashAttention's varlen calls: [B + 1], from 0, rows packed [total, heads, D]. */
static void cumulative_lengths_cut_packed_rows(void **state)
{
    enum { B = 3, TOTAL_Q = 7, TOTAL_K = 12 };
    static const int32_t cu_q[B + 1] = {0, 4, 5, 7}, cu_k[B + 1] = {0, 5, 5, 12};
    const int64_t ends = B + 1;
    struct array q = make(1, TOTAL_Q, H, 1), k = make(1, TOTAL_K, H, 2), v = make(1, TOTAL_K, H, 3),
                 c = make(1, TOTAL_Q, H, 4);
    attn_tensor views[4] = {q.tensor, k.tensor, v.tensor, c.tensor}, offsets[2];
    attn_mechanism *mechanism;
    attn_forward_args args = ATTN_FORWARD_ARGS_INIT;
    (void)state;
    for (int i = 0; i < 4; i++) { /* [total, H, D] as [1, H, total, D] */
        views[i].shape[1] = H, views[i].shape[2] = i % 3 == 0 ? TOTAL_Q : TOTAL_K;
        views[i].stride[1] = D, views[i].stride[2] = H * D;
    }
    MUST(attn_tensor_init(&offsets[0], (void *)(uintptr_t)cu_q, ATTN_I32, 1, &ends));
    MUST(attn_tensor_init(&offsets[1], (void *)(uintptr_t)cu_k, ATTN_I32, 1, &ends));
    MUST(attn_mechanism_create_scaled_dot(engine, &mechanism));
    MUST(attn_mechanism_set_causal(mechanism, ATTN_ALIGN_BOTTOM_RIGHT));
    args.query = &views[0], args.key = &views[1], args.value = &views[2], args.context = &views[3];
    args.query_offsets = &offsets[0], args.key_offsets = &offsets[1];
    MUST(attn_forward(mechanism, &args));
    double *query = array_read(&q), *key = array_read(&k), *value = array_read(&v), want[TOTAL_Q * H * D];
    for (int b = 0; b < B; b++) {
        for (int32_t i = cu_q[b]; i < cu_q[b + 1]; i++) {
            for (int h = 0; h < H; h++) {
                const double *keys[MOST_K], *values[MOST_K];
                bool sees[MOST_K];
                const int64_t count = cu_k[b + 1] - cu_k[b], place = i - cu_q[b] + count - (cu_q[b + 1] - cu_q[b]);
                for (int64_t j = 0; j < count; j++) {
                    keys[j] = key + ((cu_k[b] + j) * H + h) * D, values[j] = value + ((cu_k[b] + j) * H + h) * D;
                    sees[j] = j <= place;
                }
                attend(query + (i * H + h) * D, keys, values, sees, count, want + (i * H + h) * D);
            }
        }
    }
    assert_close(&c, want, NULL, bound, "packed rows");
    free(query), free(key), free(value);
    array_destroy(&q), array_destroy(&k), array_destroy(&v), array_destroy(&c);
    attn_mechanism_destroy(mechanism);
}

/* FlashInfer's paged memory: request b has pages indices[indptr[b]] .. indices[indptr[b + 1] - 1] in their order, of
 * which the last holds last_page_len[b] positions; NHD [page, position, head, D] or HND [page, head, position, D]. Its
 * log-sum-exps are of base 2: those here, divided by log 2. */
static void pages_go_by_index_pointers_and_the_length_of_the_last(void **state)
{
    enum { B = 3, PAGE = 4, PAGES = 7, INDICES = 6 };
    static const int32_t indices[INDICES] = {5, 0, 3, 6, 2, 5}, indptr[B + 1] = {0, 3, 4, 6};
    static const int32_t last_page_len[B] = {2, 4, 1};
    const int64_t all = INDICES, ends = B + 1, batch = B;
    int32_t lengths[B];
    (void)state;
    for (int b = 0; b < B; b++) lengths[b] = (indptr[b + 1] - indptr[b] - 1) * PAGE + last_page_len[b];
    for (int heads_inside = 0; heads_inside < 2; heads_inside++) {
        struct array q = make(B, H, 1, 1), c = make(B, H, 1, 4);
        struct array k = heads_inside ? make(PAGES, PAGE, H, 2) : make(PAGES, H, PAGE, 2);
        struct array v = heads_inside ? make(PAGES, PAGE, H, 3) : make(PAGES, H, PAGE, 3);
        attn_tensor views[2] = {k.tensor, v.tensor}, table, offsets, counts;
        attn_mechanism *mechanism;
        attn_forward_args args = ATTN_FORWARD_ARGS_INIT;
        for (int i = 0; i < 2; i++) {
            views[i].shape[1] = H, views[i].shape[2] = PAGE;
            views[i].stride[1] = heads_inside ? D : PAGE * D, views[i].stride[2] = heads_inside ? H * D : D;
        }
        MUST(attn_tensor_init(&table, (void *)(uintptr_t)indices, ATTN_I32, 1, &all));
        MUST(attn_tensor_init(&offsets, (void *)(uintptr_t)indptr, ATTN_I32, 1, &ends));
        MUST(attn_tensor_init(&counts, lengths, ATTN_I32, 1, &batch));
        MUST(attn_mechanism_create_scaled_dot(engine, &mechanism));
        args.query = &q.tensor, args.context = &c.tensor, args.key = &views[0], args.value = &views[1];
        args.page_table = &table, args.page_offsets = &offsets, args.key_lengths = &counts;
        MUST(attn_forward(mechanism, &args));
        double *query = array_read(&q), *key = array_read(&k), *value = array_read(&v), want[B * H * D];
        for (int b = 0; b < B; b++) {
            for (int h = 0; h < H; h++) {
                const double *keys[MOST_K], *values[MOST_K];
                bool sees[MOST_K];
                for (int j = 0; j < lengths[b]; j++) {
                    const int64_t page = indices[indptr[b] + j / PAGE], place = j % PAGE;
                    const int64_t row = heads_inside ? (page * PAGE + place) * H + h : (page * H + h) * PAGE + place;
                    keys[j] = key + row * D, values[j] = value + row * D, sees[j] = true;
                }
                attend(query + (b * H + h) * D, keys, values, sees, lengths[b], want + (b * H + h) * D);
            }
        }
        assert_close(&c, want, NULL, bound, heads_inside ? "pages, NHD" : "pages, HND");
        free(query), free(key), free(value);
        array_destroy(&q), array_destroy(&k), array_destroy(&v), array_destroy(&c);
        attn_mechanism_destroy(mechanism);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(causal_masks_are_aligned_to_the_bottom_right),
        cmocka_unit_test(windows_have_both_sides_and_both_ends),
        cmocka_unit_test(cumulative_lengths_cut_packed_rows),
        cmocka_unit_test(pages_go_by_index_pointers_and_the_length_of_the_last),
    };
    return cmocka_run_group_tests(tests, engine_setup, engine_teardown);
}
