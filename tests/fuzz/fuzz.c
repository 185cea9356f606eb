/* SPDX-License-Identifier: BSD-3-Clause
 *
 * fuzz.c: choices, failing, the allocator and the engines (fuzz.h); arrays are in fuzz_array.c.
 */
#define _POSIX_C_SOURCE 200809L
#include "fuzz.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz_array.h"

/* --------------------------------------------------------------------------------------------- choices */

unsigned take(struct bytes *b)
{
    if (b->left == 0) return 0;
    b->left--;
    return *b->at++;
}

int64_t take_range(struct bytes *b, int64_t low, int64_t high)
{
    const int64_t count = high - low + 1;
    int64_t number = take(b);
    if (count > 256) number = number * 256 + take(b);
    return low + number % count;
}

bool take_one_in(struct bytes *b, unsigned n)
{
    return take(b) % n == n - 1;
}

uint64_t take_word(struct bytes *b)
{
    uint64_t word = 0;
    for (int i = 0; i < 8; i++) word = word << 8 | take(b);
    return word;
}

struct rng take_rng(struct bytes *b)
{
    const uint64_t high = take(b), low = take(b);
    return (struct rng){high << 8 | low};
}

/* --------------------------------------------------------------------------------------------- failing */

static void (*describe_failure)(const void *of);
static const void *described;

void fuzz_describe_with(void (*describe)(const void *of), const void *of)
{
    describe_failure = describe;
    described = of;
}

void fuzz_failed(const char *file, int line, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "%s:%d: ", file, line);
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n");
    va_end(arguments);
    if (describe_failure != NULL) describe_failure(described);
    abort();
}

void fuzz_ok(attn_status status, const char *expression, const char *file, int line)
{
    fuzz_counted(COUNT_CALLS);
    if (status == ATTN_OK) return;
    fuzz_failed(file, line, "%s is %s: %s", expression, attn_status_string(status), attn_last_error());
}

void fuzz_check_sentence(attn_status status)
{
    const char *sentence = attn_last_error();
    fuzz_counted(COUNT_REFUSED);
    CHECK(status > 0 && strncmp(attn_status_string(status), "ATTN_ERR_", 9) == 0, "status %d", (int)status);
    CHECK(strlen(sentence) > 10 && strchr(sentence, '\n') == NULL, "the sentence is \"%s\"", sentence);
}

/* ----------------------------------------------------------------------------------------- the allocator */

/* A larger block would be the fault of whoever asks: no input needs one. */
static const size_t most_bytes = (size_t)1 << 25;

static struct {
    atomic_int_least64_t fail_at, asked, greatest, alive, failed;
} memory = {.fail_at = -1};

static void *allocate(void *data, size_t bytes, size_t alignment)
{
    void *block = NULL;
    CHECK(data == &memory && bytes > 0, "allocation of %zu bytes", bytes);
    CHECK(alignment > 0 && alignment <= 64 && (alignment & (alignment - 1)) == 0, "alignment %zu", alignment);
    if (memory.greatest < (int64_t)bytes) memory.greatest = (int64_t)bytes;
    if (memory.asked++ == memory.fail_at) {
        memory.failed++;
        fuzz_counted(COUNT_FAILED_ALLOCATIONS);
        return NULL;
    }
    if (bytes > most_bytes) return NULL;
    if (posix_memalign(&block, alignment < sizeof(void *) ? sizeof(void *) : alignment, bytes) != 0) return NULL;
    memset(block, 0xFF, bytes < 65536 ? bytes : 65536);
    memory.alive += (int64_t)bytes;
    return block;
}

static void release(void *data, void *pointer, size_t bytes)
{
    CHECK(data == &memory && pointer != NULL, "released %p", pointer);
    memory.alive -= (int64_t)bytes;
    free(pointer);
}

void fuzz_count_allocations(int64_t fail_at)
{
    memory.fail_at = fail_at;
    memory.asked = memory.greatest = 0;
}

struct fuzz_memory fuzz_allocations(void)
{
    return (struct fuzz_memory){.fail_at = memory.fail_at,
                                .asked = memory.asked,
                                .greatest = memory.greatest,
                                .alive = memory.alive,
                                .failed_so_far = memory.failed};
}

/* ----------------------------------------------------------------------------------------------- engines */

static attn_engine *engines[FUZZ_ENGINES];
static int64_t engines_bytes; /* that they hold, all together */

static void execute_backwards(void *data, int64_t count, attn_task_fn task, void *task_data)
{
    (void)data;
    for (int64_t i = count - 1; i >= 0; i--) task(task_data, i);
}

static void make_engines(void)
{
    for (int e = 0; e < FUZZ_ENGINES; e++) {
        attn_engine_options options = ATTN_ENGINE_OPTIONS_INIT;
        const bool blas = e == BLAS_ONE || e == BLAS_THREE || e == BLAS_BACKWARDS;
        options.way = blas ? ATTN_WAY_BLAS : ATTN_WAY_TILES;
        options.threads = e == BLAS_THREE || e == TILES_THREE || e == BLAS_BACKWARDS || e == TILES_BACKWARDS ? 3 : 1;
        options.allocate = allocate;
        options.release = release;
        options.allocator_data = &memory;
        if (e == BLAS_BACKWARDS || e == TILES_BACKWARDS) options.execute = execute_backwards;
        if (e == TILES_PORTABLE) options.kernels = "portable";
        OK(attn_engine_create(&options, &engines[e]));
    }
    engines_bytes = memory.alive;
}

attn_engine *fuzz_engine(enum fuzz_engine which)
{
    return engines[which];
}

const char *fuzz_engine_name(enum fuzz_engine which)
{
    static const char *const names[FUZZ_ENGINES] = {
        "BLAS, one thread", "tiles, one thread", "BLAS, three threads",    "tiles, three threads",
        "BLAS, backwards",  "tiles, backwards",  "tiles, portable kernels"};
    return names[which];
}

enum fuzz_engine fuzz_engine_alike(enum fuzz_engine which, unsigned choice)
{
    static const enum fuzz_engine blas[] = {BLAS_THREE, BLAS_BACKWARDS, BLAS_ONE};
    static const enum fuzz_engine tiles[] = {TILES_THREE, TILES_BACKWARDS, TILES_ONE};
    return which == BLAS_ONE ? blas[choice % 3] : which == TILES_ONE ? tiles[choice % 3] : which;
}

/* ---------------------------------------------------------------------------------------------- counting */

static atomic_int_least64_t counts[FUZZ_COUNTS];
static int64_t executions;

void fuzz_counted(enum fuzz_count what)
{
    counts[what]++;
}

static void write_counts(void)
{
    const char *name = getenv("FUZZ_COUNTS");
    FILE *file = name != NULL ? fopen(name, "a") : NULL;
    if (file == NULL) return;
    fprintf(file, "%" PRId64, executions);
    for (int i = 0; i < FUZZ_COUNTS; i++) fprintf(file, " %" PRIdLEAST64, counts[i]);
    fprintf(file, "\n");
    fclose(file);
}

/* --------------------------------------------------------------------------------------------- harness */

void fuzz_begin(void)
{
    if (engines[0] == NULL) {
        make_engines();
        atexit(write_counts);
    }
    executions++;
    fuzz_count_allocations(-1);
    fuzz_arrays_begin();
    describe_failure = NULL;
}

/* Engines keep what their threads need, which start with the first large job: that may have grown. */
void fuzz_end(void)
{
    CHECK(memory.alive >= engines_bytes, "more was given back than taken");
    CHECK(memory.alive - engines_bytes < 65536 * FUZZ_ENGINES, "%" PRIdLEAST64 " bytes were not given back",
          memory.alive - engines_bytes);
    engines_bytes = memory.alive;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes bytes = {data, size};
    fuzz_begin();
    fuzz_one(&bytes);
    fuzz_end();
    return 0;
}
