/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_resident.c: a memory occupies hardly more of the machine's memory than the rows that are in it, however many it
 * has room for, and whether the system gives it small pages or huge ones.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "support.h"

enum { DIM = 32, HUGE_PAGE = 2 << 20, SLACK = 1 << 20 };

/* What this process occupies, in bytes; 0: nobody says. */
static int64_t resident(void)
{
    char text[128] = "", *rest;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL) return 0;
    if (fgets(text, sizeof text, file) == NULL) text[0] = 0;
    fclose(file);
    strtol(text, &rest, 10); /* all that it has addresses for */
    const long here = strtol(rest, NULL, 10);
    return (int64_t)here * sysconf(_SC_PAGESIZE);
}

struct shape {
    int64_t batch, heads, capacity, page;
};

/* What a memory with room for so much comes to occupy with `rows` positions in each sequence, beside these. */
static int64_t beside_rows(const struct shape *s, int64_t rows)
{
    struct rule rule;
    attn_memory *memory;
    attn_memory_options options = ATTN_MEMORY_OPTIONS_INIT;
    options.dtype = ATTN_F32;
    options.batch = s->batch;
    options.key_heads = s->heads;
    options.key_dim = options.value_dim = DIM;
    options.capacity = s->capacity;
    options.page = s->page;
    rule_create(&rule, engine, RULE_SCALED_DOT, DIM, DIM);
    struct array key;
    struct rng rng = {1};
    array_create(&key, ATTN_F32, 4, (int64_t[]){s->batch, s->heads, 1, DIM}, LAYOUT_PLAIN, &rng);
    array_fill(&key, 1);
    const int64_t before = resident();
    MUST(attn_memory_create(rule.mechanism, &options, &memory));
    for (int64_t i = 0; i < rows; i++) MUST(attn_memory_append(memory, &key.tensor, &key.tensor, NULL));
    const int64_t after = resident(), size = 2 * s->batch * s->heads * rows * DIM * (int64_t)sizeof(float);
    attn_memory_destroy(memory);
    array_destroy(&key);
    rule_destroy(&rule);
    return after - before - size;
}

/* 64 MB of keys and as much of values, in as many places as there are heads and sequences. */
static void room_for_many_sequences_is_not_occupied(void **state)
{
    (void)state;
    const struct shape shape = {8, 16, 4096, 0};
    assert_in_range(beside_rows(&shape, 1) + SLACK, 0, 2 * SLACK + 2 * 8 * 16 * 4096);
    assert_in_range(beside_rows(&shape, 2048) + SLACK, 0, 2 * SLACK + 2 * 8 * 16 * 4096);
}

/* The same in pages, which are used from the first one on. */
static void room_for_many_pages_is_not_occupied(void **state)
{
    (void)state;
    const struct shape shape = {8, 16, 4096, 16};
    assert_in_range(beside_rows(&shape, 1) + SLACK, 0, 2 * SLACK + 2 * HUGE_PAGE);
    assert_in_range(beside_rows(&shape, 2048) + SLACK, 0, 2 * SLACK + 2 * HUGE_PAGE);
}

/* 64 MB of each, in four places. */
static void room_for_long_sequences_is_not_occupied(void **state)
{
    (void)state;
    const struct shape shape = {1, 4, 131072, 0};
    assert_in_range(beside_rows(&shape, 1) + SLACK, 0, 2 * SLACK + 2 * 4 * HUGE_PAGE);
    assert_in_range(beside_rows(&shape, 65536) + SLACK, 0, 2 * SLACK + 2 * 4 * HUGE_PAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(room_for_many_sequences_is_not_occupied),
        cmocka_unit_test(room_for_many_pages_is_not_occupied),
        cmocka_unit_test(room_for_long_sequences_is_not_occupied),
    };
    return cmocka_run_group_tests(tests, engine_setup, engine_teardown);
}
