/* SPDX-License-Identifier: BSD-3-Clause
 *
 * fuzz_array.c: arrays of the harnesses: slots of memory between guard pages, mapped once.
 */
#define _DEFAULT_SOURCE
#include "fuzz_array.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"

#ifndef __has_feature
#define __has_feature(feature) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size)   ((void)(address), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#endif

enum { SLOTS = 512, SLOT_BYTES = 1 << 22, UNTOUCHED = 0xFF };

static struct {
    unsigned char *at;
    size_t used_from, used;
} slots[SLOTS];
static int slots_taken;

void fuzz_arrays_begin(void)
{
    while (slots_taken > 0) {
        slots_taken--;
        ASAN_POISON_MEMORY_REGION(slots[slots_taken].at + slots[slots_taken].used_from, slots[slots_taken].used);
    }
}

static unsigned char *block(size_t size, bool at_the_end)
{
    CHECK(slots_taken < SLOTS && size <= SLOT_BYTES, "the harness wants slot %d of %zu bytes", slots_taken, size);
    if (slots[slots_taken].at == NULL) {
        const size_t page = (size_t)sysconf(_SC_PAGESIZE);
        unsigned char *map =
            mmap(NULL, SLOT_BYTES + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        CHECK(map != MAP_FAILED && mprotect(map + page, SLOT_BYTES, PROT_READ | PROT_WRITE) == 0, "no memory");
        slots[slots_taken].at = map + page;
        ASAN_POISON_MEMORY_REGION(map + page, SLOT_BYTES);
    }
    slots[slots_taken].used_from = at_the_end ? SLOT_BYTES - size : 0;
    slots[slots_taken].used = size;
    unsigned char *at = slots[slots_taken].at + slots[slots_taken].used_from;
    slots_taken++;
    ASAN_UNPOISON_MEMORY_REGION(at, size);
    memset(at, UNTOUCHED, size);
    return at;
}

void *fuzz_block(struct bytes *b, size_t size)
{
    return block(size, take(b) % 2 == 0);
}

static size_t dtype_size(attn_dtype dtype)
{
    if (dtype == ATTN_F16 || dtype == ATTN_BF16) return 2;
    return dtype == ATTN_F64 || dtype == ATTN_I64 ? 8 : dtype == ATTN_F32 || dtype == ATTN_I32 ? 4 : 1;
}

/* One byte says all of a layout, so that the numbers of the input are not lost among strides: it seeds what is drawn.
 * 0 is contiguous and ends at the guard page, 1 contiguous and begins after one. */
void fuzz_array(struct array *array, struct bytes *b, attn_dtype dtype, int32_t ndim, const int64_t *shape,
                unsigned layout)
{
    const unsigned choice = take(b);
    struct rng rng = {choice * 977};
    const bool free_layout = choice > 1 && layout != LAYOUT_PLAIN;
    const bool permuted = free_layout && (layout & LAYOUT_PERMUTED) && rng_chance(&rng, 0.5);
    const bool padded = free_layout && (layout & LAYOUT_PADDED) && rng_chance(&rng, 0.5);
    const bool reversed = free_layout && (layout & LAYOUT_REVERSED) && rng_chance(&rng, 0.4);
    const bool broadcast = free_layout && (layout & LAYOUT_BROADCAST) && rng_chance(&rng, 0.2);
    int64_t order[4] = {0, 1, 2, 3}, start = 0, extent = 1; /* order: outermost first */
    bool empty = false;

    memset(array, 0, sizeof *array);
    array->tensor.dtype = dtype;
    array->tensor.ndim = ndim;
    if (permuted) rng_shuffle(&rng, order, ndim);
    if (padded && rng_chance(&rng, 0.3)) extent = rng_integer(&rng, 2, 3);
    for (int32_t place = ndim - 1; place >= 0; place--) {
        const int64_t d = order[place];
        array->tensor.shape[d] = shape[d];
        empty |= shape[d] == 0;
        if (broadcast && rng_chance(&rng, 0.5)) continue;
        array->tensor.stride[d] = extent;
        extent *= shape[d] > 0 ? shape[d] : 1;
        if (padded && rng_chance(&rng, 0.5)) extent += rng_integer(&rng, 1, 5);
    }
    /* From the first element to the last: what follows in the padding is not the tensor's. */
    int64_t last = 0;
    for (int32_t d = 0; d < ndim && !empty; d++) last += (shape[d] - 1) * array->tensor.stride[d];
    for (int32_t d = 0; d < ndim && !empty; d++) {
        if (!reversed || !rng_chance(&rng, 0.5)) continue;
        start += (shape[d] - 1) * array->tensor.stride[d];
        array->tensor.stride[d] = -array->tensor.stride[d];
    }
    array->bytes = empty ? 0 : (size_t)(last + 1) * dtype_size(dtype);
    array->memory = block(array->bytes, choice % 2 == 0);
    array->tensor.data = array->memory + (size_t)start * dtype_size(dtype);
    if (empty && choice % 4 == 3) array->tensor.data = NULL;
}

void fuzz_array_again(struct array *array, const struct array *like)
{
    *array = *like;
    if (like->memory == NULL) return;
    const bool at_the_end = ((uintptr_t)(like->memory + like->bytes) & 4095) == 0;
    array->memory = block(like->bytes, at_the_end);
    if (like->tensor.data != NULL) {
        array->tensor.data = array->memory + ((unsigned char *)like->tensor.data - like->memory);
    }
}

void fuzz_array_copy(struct array *array, const struct array *from)
{
    fuzz_array_again(array, from);
    if (from->bytes > 0) memcpy(array->memory, from->memory, from->bytes);
}

void fuzz_lower_rank(struct array *array, struct bytes *b)
{
    attn_tensor *t = &array->tensor;
    unsigned times = take(b) % 4;
    while (times-- > 0 && t->ndim > 1 && t->shape[0] == 1) {
        for (int32_t d = 1; d < t->ndim; d++) {
            t->shape[d - 1] = t->shape[d];
            t->stride[d - 1] = t->stride[d];
        }
        t->ndim--;
        t->shape[t->ndim] = -7; /* entries past ndim are not read */
        t->stride[t->ndim] = INT64_MAX;
    }
}

void fuzz_wipe(struct array *array)
{
    if (array->bytes > 0) memset(array->memory, UNTOUCHED, array->bytes);
}

bool fuzz_untouched(const struct array *array)
{
    for (size_t i = 0; i < array->bytes; i++) {
        if (array->memory[i] != UNTOUCHED) return false;
    }
    return true;
}

bool fuzz_gaps_untouched(const struct array *array)
{
    static unsigned char taken[SLOT_BYTES];
    const attn_tensor *t = &array->tensor;
    const size_t size = dtype_size(t->dtype);
    const int64_t count = array_count(array);
    if ((size_t)count * size == array->bytes) return true;
    memset(taken, 0, array->bytes);
    for (int64_t i = 0; i < count; i++) {
        int64_t offset = 0, rest = i;
        for (int32_t d = t->ndim - 1; d >= 0; d--) {
            offset += rest % t->shape[d] * t->stride[d];
            rest /= t->shape[d];
        }
        memset(taken + ((unsigned char *)t->data - array->memory) + offset * (int64_t)size, 1, size);
    }
    for (size_t i = 0; i < array->bytes; i++) {
        if (!taken[i] && array->memory[i] != UNTOUCHED) return false;
    }
    return true;
}

bool fuzz_same(const struct array *a, const struct array *b)
{
    return a->bytes == 0 || memcmp(a->memory, b->memory, a->bytes) == 0;
}

bool fuzz_all_finite(const struct array *array)
{
    for (int64_t i = array_count(array) - 1; i >= 0; i--) {
        if (!isfinite(array_get(array, i))) return false;
    }
    return true;
}
