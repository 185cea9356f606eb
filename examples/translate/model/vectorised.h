/* SPDX-License-Identifier: BSD-3-Clause
 *
 * vectorised.h: VECTORISED marks a function of plain loops that the compiler makes several of, for the vectors that the
 * CPU turns out to have. */
#ifndef TRANSLATE_VECTORISED_H
#define TRANSLATE_VECTORISED_H

#include <math.h>

/* Sanitizers run before what chooses the function has been linked. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 12 &&                               \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define VECTORISED __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define VECTORISED
#endif

/* The C library's vectors of exp, which its header declares to those alone who give up exactness elsewhere
 * (-ffast-math). */
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
extern float expf(float) __attribute__((simd("notinbranch")));
extern double exp(double) __attribute__((simd("notinbranch")));
#endif

#endif
