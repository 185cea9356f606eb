/* SPDX-License-Identifier: BSD-3-Clause
 *
 * own_means.h: engines with means of the test's own: an allocator whose k-th allocation fails, and that fills what it
 * gives with NaN; an executor that runs a job's items in an order of its own. And what both are for: a call that is
 * repeated until it has all memory, and one on many kinds of engine. */
#ifndef ATTN_TESTS_OWN_MEANS_H
#define ATTN_TESTS_OWN_MEANS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support.h"

static struct {
    int64_t fail_at, asked, alive, bytes; /* fail_at: the number of the allocation that fails; -1: none */
} own_memory = {.fail_at = -1};

static void *own_allocate(void *data, size_t bytes, size_t alignment)
{
    void *block = NULL;
    (void)data;
    if (own_memory.asked++ == own_memory.fail_at) return NULL;
    if (posix_memalign(&block, alignment, bytes) != 0) abort();
    memset(block, 0xFF, bytes); /* NaN: memory does not come clean */
    own_memory.alive++;
    own_memory.bytes += (int64_t)bytes;
    return block;
}

static void own_release(void *data, void *block, size_t bytes)
{
    (void)data;
    own_memory.alive--;
    own_memory.bytes -= (int64_t)bytes;
    free(block);
}

static void own_execute(void *data, int64_t count, attn_task_fn task, void *task_data)
{
    struct rng rng = {3};
    int64_t *order = must_allocate((size_t)count * sizeof *order);
    for (int64_t i = 0; i < count; i++) order[i] = i;
    rng_shuffle(&rng, order, count);
    for (int64_t i = 0; i < count; i++) task(task_data, order[i]);
    free(order);
    ++*(int *)data;
}

static attn_engine *own_engine(int32_t threads, int *jobs)
{
    attn_engine_options options = ATTN_ENGINE_OPTIONS_INIT;
    attn_engine *made = NULL;
    options.threads = threads;
    options.allocate = own_allocate;
    options.release = own_release;
    options.execute = jobs != NULL ? own_execute : NULL;
    options.executor_data = jobs;
    MUST(attn_engine_create(&options, &made));
    return made;
}

/* A call of a test's, and the outputs that it writes. */
struct own_call {
    attn_status (*run)(attn_engine *on, void *data);
    void *data;
    struct array *outputs[5]; /* up to a NULL */
};

static unsigned char *own_snapshot(const struct own_call *call, int output)
{
    unsigned char *copy = must_allocate(call->outputs[output]->bytes);
    memcpy(copy, call->outputs[output]->memory, call->outputs[output]->bytes);
    return copy;
}

/* Whichever allocation fails, the status says so, no output is touched, and nothing leaks. Returns how many there are.
 */
static inline int64_t assert_failures_touch_nothing(const struct own_call *call)
{
    unsigned char *before[4];
    attn_engine *on = own_engine(2, NULL);
    const int64_t alive = own_memory.alive, bytes = own_memory.bytes;
    for (int o = 0; call->outputs[o] != NULL; o++) before[o] = own_snapshot(call, o);
    for (own_memory.fail_at = 0;; own_memory.fail_at++) {
        own_memory.asked = 0;
        const attn_status status = call->run(on, call->data);
        if (own_memory.alive != alive || own_memory.bytes != bytes) fail_msg("memory leaked");
        if (status == ATTN_OK) break;
        assert_int_equal(status, ATTN_ERR_NOMEM);
        for (int o = 0; call->outputs[o] != NULL; o++) {
            assert_memory_equal(before[o], call->outputs[o]->memory, call->outputs[o]->bytes);
        }
    }
    const int64_t count = own_memory.fail_at;
    own_memory.fail_at = -1;
    for (int o = 0; call->outputs[o] != NULL; o++) free(before[o]);
    attn_engine_destroy(on);
    assert_int_equal(own_memory.alive, 0);
    return count;
}

/* The outputs have the same bits on any number of threads, and in any order of items. Returns how many jobs there were.
 */
static inline int assert_threads_change_no_bit(const struct own_call *call)
{
    static const int32_t threads[] = {1, 2, 3, 7, 7}; /* the last with the executor */
    unsigned char *fresh[4], *first[4];
    int jobs = 0;
    for (int o = 0; call->outputs[o] != NULL; o++) fresh[o] = own_snapshot(call, o);
    for (int i = 0; i < 5; i++) {
        attn_engine *on = own_engine(threads[i], i == 4 ? &jobs : NULL);
        for (int o = 0; call->outputs[o] != NULL; o++) {
            memcpy(call->outputs[o]->memory, fresh[o], call->outputs[o]->bytes);
        }
        MUST(call->run(on, call->data));
        for (int o = 0; call->outputs[o] != NULL; o++) {
            if (i == 0) first[o] = own_snapshot(call, o);
            assert_memory_equal(first[o], call->outputs[o]->memory, call->outputs[o]->bytes);
        }
        attn_engine_destroy(on);
    }
    for (int o = 0; call->outputs[o] != NULL; o++) free(fresh[o]), free(first[o]);
    return jobs;
}

#endif
