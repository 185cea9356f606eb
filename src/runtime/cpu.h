/* SPDX-License-Identifier: BSD-3-Clause
 *
 * runtime/cpu.h: the CPU that the process runs on: its name, its vector features, and how many of it may be used. */
#ifndef ATTN_I_RUNTIME_CPU_H
#define ATTN_I_RUNTIME_CPU_H

#include <stdint.h>

typedef struct attn_i_cpu {
    const char *architecture; /* "x86_64", "aarch64", "other" */
    char maker[16];           /* as x86 CPUs name it, "AuthenticAMD"; "" for others */
    int family;               /* theirs; 0 for others */
    char model[64];           /* "" if the CPU does not say */
    int vector_bits;          /* the widest vectors that both CPU and system let us use; 0: unknown */
    int count;                /* CPUs that this process may run on, at least 1 */
    char features[320];       /* names joined by one space, in a fixed order */
} attn_i_cpu;

void attn_i_cpu_detect(attn_i_cpu *cpu);

/* 1 if the feature is among cpu->features. */
int attn_i_cpu_has(const attn_i_cpu *cpu, const char *feature);

#endif
