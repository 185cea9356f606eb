/* SPDX-License-Identifier: BSD-3-Clause
 *
 * fenced.h: what the tests of single kernels share: the sets of kernels, numbers, and memory that ends where a page
 * begins that nobody may touch, so that a kernel that reads or writes past its arguments ends the test. */
#ifndef ATTN_TESTS_FENCED_H
#define ATTN_TESTS_FENCED_H

#include "kernels/kernels.h"

/* The set at hand. With ATTN_KERNELS in the environment there is the one that it names, otherwise all that the CPU
 * has. take_set returns 0 past the last of them. */
extern const char *tested;
extern const attn_i_tile_kernels *kernels;
int take_set(size_t index);

/* Half the distance from 1 to the next float: what one rounding may err by, relatively. */
#define UNIT 0x1p-24
/* The relative error of 2^x as tiles compute it, in UNITs. The polynomial's is 9.4e-8 (see tile_math.h), which is 1.6.
 * Its rule ends in t0 + r (t1 + r (...)), |r| <= 1/2: the last sum errs by 1; the product by |r t1 + ...| / 2^r <=
 * 0.42; and what t1 + ... errs by, 2 and little more, comes in times the same 0.42. */
#define POWER_ERROR 4

/* A tile has MOST_ROWS rows of LANES. */
enum { LANES = ATTN_I_LANES, SPAN = ATTN_I_SPAN_LANES, MOST_ROWS = 128, MOST_DEPTH = 128 };

typedef struct tile {
    float at[MOST_ROWS * LANES];
} tile;

typedef struct expectation {
    double want[MOST_ROWS * LANES], error[MOST_ROWS * LANES];
} expectation;

#define EACH(type, x, array) (const type *x = (array); x < (array) + sizeof(array) / sizeof *(array); x++)
#define EACH_SPANS(s)                                                                                                  \
    (attn_i_spans s = {0, 1}; s.first < ATTN_I_SPANS;                                                                  \
     s = s.end < ATTN_I_SPANS ? (attn_i_spans){s.first, s.end + 1} : (attn_i_spans){s.first + 1, s.first + 2})

static inline int lane_of(int span)
{
    return span * SPAN;
}

/* n numbers from low to high, the same for the same seed. */
void fill_numbers(float *to, int64_t n, unsigned seed, double low, double high);

/* A NaN, another one for each seed: its payload must not make a number of it. */
float some_nan(unsigned seed);

enum { FENCED_BLOCKS = 6, FENCED_MOST = 128 * 160 };

/* The last n floats before a forbidden page, of one of FENCED_BLOCKS blocks; they and all before them hold a NaN that
 * no arithmetic makes. */
float *fenced(int block, int64_t n);
int is_untouched(const float *place);

/* Rows in a fenced block: `width` elements each, `stride` apart, copied from rows `from_stride` apart. What lies
 * between them is that NaN. */
attn_i_rows fenced_rows(int block, const float *from, int64_t from_stride, int64_t rows, int64_t width, int64_t stride);

/* Makes numbers of a type of numbers from -1 to 1: integers are up to 127 then. */
void round_to(const attn_i_stored_kernels *type, float *numbers, int64_t n);

/* Rows of the type, which end where a page does that nobody may touch. */
attn_i_stored_rows fenced_stored(const attn_i_stored_kernels *type, int block, const float *from, int64_t from_stride,
                                 int64_t rows, int64_t width, int64_t stride);

/* The lanes of the spans in rows of a tile, the last of which ends with its last span. */
float *fenced_tile(int block, const float *from, int64_t rows, attn_i_spans spans);
int64_t tile_elements(int64_t rows, attn_i_spans spans);

/* Fails unless elements first .. end - 1 of `rows` rows are within `error` of what is wanted (NaN and infinity being
 * met by the same), and all others of the block's last n are untouched. want and error have rows LANES apart, error
 * NULL stands for none. `what` and the numbers tell what was done. */
typedef struct doing {
    const char *what;
    int64_t with[5];
} doing;
void assert_rows(const float *got, int64_t n, int64_t rows, int64_t stride, int64_t first, int64_t end,
                 const double *want, const double *error, int64_t want_stride, doing it);

#endif
