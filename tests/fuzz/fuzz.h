/* SPDX-License-Identifier: BSD-3-Clause
 *
 * fuzz.h: what the harnesses share: choices read from bytes, arrays between guard pages, an allocator that counts and
 * can fail, and engines that are made once. A harness defines fuzz_one(), which libFuzzer
 * calls with inputs that it makes up, and replay.c with files.
 *
 * An old input must keep its meaning: new choices are read after the old ones.
 */
#ifndef ATTN_TESTS_FUZZ_H
#define ATTN_TESTS_FUZZ_H

#include "support.h"

/* --------------------------------------------------------------------------------------------- choices */

/* What is left of an input; past its end all bytes are 0, and 0 is the plain choice everywhere. */
struct bytes {
    const uint8_t *at;
    size_t left;
};

unsigned take(struct bytes *bytes);
int64_t take_range(struct bytes *bytes, int64_t low, int64_t high); /* low .. high, at most 65536 of them */
bool take_one_in(struct bytes *bytes, unsigned n);                  /* false for 0 */
uint64_t take_word(struct bytes *bytes);                            /* eight bytes */
struct rng take_rng(struct bytes *bytes);                           /* numbers are drawn, from a seed of two bytes */

/* --------------------------------------------------------------------------------------------- failing */

/* Ends the program with a sentence unless the condition holds. */
#define CHECK(condition, ...)                                                                                          \
    do {                                                                                                               \
        if (!(condition)) fuzz_failed(__FILE__, __LINE__, __VA_ARGS__);                                                \
    } while (0)
__attribute__((noreturn, format(printf, 3, 4))) void fuzz_failed(const char *file, int line, const char *format, ...);

/* What a failure tells beside its sentence: a function that prints what the input was made into. */
void fuzz_describe_with(void (*describe)(const void *of), const void *of);

/* A call that may not fail. */
#define OK(expression) fuzz_ok((expression), #expression, __FILE__, __LINE__)
void fuzz_ok(attn_status status, const char *expression, const char *file, int line);

/* The sentence of a refusal is there, and is one line. */
void fuzz_check_sentence(attn_status status);

/* ---------------------------------------------------------------------------------------------- arrays */

/* Makes an array of any layout that `layout` (LAYOUT_ of support.h) allows, in memory that begins or ends at a page
 * that nobody may touch; what lies on the other side is poisoned for AddressSanitizer. Every byte is 0xFF, which is NaN
 * for floats, -1 for integers and true for masks. It lives until the next input; nothing is to be freed. */
void fuzz_array(struct array *array, struct bytes *bytes, attn_dtype dtype, int32_t ndim, const int64_t *shape,
                unsigned layout);

/* A plain block of such memory. */
void *fuzz_block(struct bytes *bytes, size_t size);

/* Another array of the same layout, whose every byte is 0xFF again. */
void fuzz_array_again(struct array *array, const struct array *like);

/* Another array that holds the same. */
void fuzz_array_copy(struct array *array, const struct array *from);

/* Takes leading dimensions of 1 away, some of them. */
void fuzz_lower_rank(struct array *array, struct bytes *bytes);

/* Back to 0xFF; that all of it is still 0xFF, or all that lies between the elements; and that two arrays of one
 * layout hold the same bits. */
void fuzz_wipe(struct array *array);
bool fuzz_untouched(const struct array *array);
bool fuzz_gaps_untouched(const struct array *array);
bool fuzz_same(const struct array *a, const struct array *b);

/* Every element is finite; is not NaN. */
bool fuzz_all_finite(const struct array *array);

/* ----------------------------------------------------------------------------------------- the allocator */

/* Of all engines together. Blocks come full of 0xFF. */
struct fuzz_memory {
    int64_t fail_at; /* the number of the allocation that fails, from 0; negative: none */
    int64_t asked;   /* since fuzz_count_allocations */
    int64_t greatest, alive, failed_so_far;
};
void fuzz_count_allocations(int64_t fail_at);
struct fuzz_memory fuzz_allocations(void);

/* ----------------------------------------------------------------------------------------------- engines */

enum fuzz_engine {
    BLAS_ONE,       /* one thread */
    TILES_ONE,      /* on the widest kernels */
    BLAS_THREE,     /* three threads */
    TILES_THREE,    /* likewise */
    BLAS_BACKWARDS, /* an executor that runs a job's items from the last to the first */
    TILES_BACKWARDS,
    TILES_PORTABLE, /* kernels without an instruction set */
    FUZZ_ENGINES
};
attn_engine *fuzz_engine(enum fuzz_engine which);
const char *fuzz_engine_name(enum fuzz_engine which);

/* Another engine that must give the same bits. */
enum fuzz_engine fuzz_engine_alike(enum fuzz_engine which, unsigned choice);

/* --------------------------------------------------------------------------------------------- harness */

void fuzz_one(struct bytes *bytes);

/* Begins an input: the arrays of the one before are gone. Ends it: what was allocated has been given back. */
void fuzz_begin(void);
void fuzz_end(void);

/* What the harness has done, written when the program ends if FUZZ_COUNTS names a file to append to. */
enum fuzz_count { COUNT_CALLS, COUNT_REFUSED, COUNT_FAILED_ALLOCATIONS, COUNT_TWINS, COUNT_GRADIENTS, FUZZ_COUNTS };
void fuzz_counted(enum fuzz_count what);

#endif
