/* SPDX-License-Identifier: BSD-3-Clause
 *
 * runtime/blas_integers.c: asks the BLAS by a product how wide its integers are; a file of its own, because CMake runs
 * it too (cmake/attn_check_blas.cmake). A BLAS with 64-bit integers has the same function names, and often the same
 * file name, as one with 32-bit ones. */
#include "runtime/blas_integers.h"

#include <cblas.h>
#include <stdint.h>
#include <string.h>

/* What the BLAS's own header declares; with 64 there, every argument is passed whole, and a BLAS with 32-bit integers
 * reads the lower half of it, which is right too. */
#define DECLARED_BITS                                                                                                  \
    _Generic(&cblas_sdot, float (*)(long, const float *, long, const float *, long) : 64,                              \
             float (*)(long long, const float *, long long, const float *, long long) : 64, default : 32)

/* On these a 32-bit argument leaves the upper half of its register undefined, so that the widths cannot be mixed, and a
 * function with 32-bit arguments may not look there, so that the product below is defined for both. Elsewhere arguments
 * are extended to whole registers (64-bit RISC-V, POWER, Z), and any width is understood. */
#if defined(__LP64__) && (defined(__x86_64__) || defined(__aarch64__))
#define WIDTH_MATTERS 1
#else
#define WIDTH_MATTERS 0
#endif

typedef float dot_of_64(int64_t, const float *, int64_t, const float *, int64_t);

int attn_i_blas_takes_our_integers(void)
{
    if (DECLARED_BITS == 64 || !WIDTH_MATTERS) return 1;

    /* As 32 bits this length is 1; as 64 it is negative, for which every BLAS returns 0 and reads nothing. Neither can
     * crash, which a length that is larger than meant could. */
    const int64_t length = 1 - (INT64_C(1) << 32);
    const float one = 1.0f;
    dot_of_64 *dot;
    void (*declared)(void) = (void (*)(void))cblas_sdot;
    memcpy(&dot, &declared, sizeof dot);
    return dot(length, &one, 1, &one, 1) != 0.0f;
}
