/* SPDX-License-Identifier: BSD-3-Clause
 *
 * runtime/cpu.c: reads the CPU's features from the CPU itself (x86: cpuid and xgetbv) or from the system (ARM: hwcap).
 */
#define _GNU_SOURCE
#include "runtime/cpu.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { MOST_CPUS = 1 << 20 };

static int usable_cpus(void)
{
#if defined(__linux__)
    /* The system refuses a set that is smaller than its own, whose size it does not tell. */
    for (size_t cpus = CPU_SETSIZE; cpus <= MOST_CPUS; cpus *= 2) {
        const size_t bytes = CPU_ALLOC_SIZE(cpus);
        cpu_set_t *set = CPU_ALLOC(cpus);
        if (set == NULL) break;
        const int told = sched_getaffinity(0, bytes, set) == 0;
        const int usable = told ? CPU_COUNT_S(bytes, set) : 0;
        CPU_FREE(set);
        if (told) return usable > 0 ? usable : 1;
    }
#endif
    long count = sysconf(_SC_NPROCESSORS_ONLN);
    return count < 1 ? 1 : count > MOST_CPUS ? MOST_CPUS : (int)count;
}

static void add(attn_i_cpu *cpu, const char *feature)
{
    size_t used = strlen(cpu->features);
    snprintf(cpu->features + used, sizeof cpu->features - used, "%s%s", used == 0 ? "" : " ", feature);
}

#if defined(__x86_64__)
#include <cpuid.h>

typedef struct x86_feature {
    const char *name;
    unsigned leaf, reg, bit; /* leaf 1, 7, or SECOND for the second part of 7; register 0 to 3 for a to d */
    unsigned state;          /* bits of XCR0 that the system must have enabled */
    int vector_bits;
} x86_feature;

enum { SECOND = 8 };
enum { STATE_AVX = 0x6, STATE_AVX512 = 0xE6, STATE_AMX = 0x60000 };

static const x86_feature x86_features[] = {
    {"sse2", 1, 3, 26, 0, 128},
    {"sse3", 1, 2, 0, 0, 128},
    {"ssse3", 1, 2, 9, 0, 128},
    {"sse4.1", 1, 2, 19, 0, 128},
    {"sse4.2", 1, 2, 20, 0, 128},
    {"avx", 1, 2, 28, STATE_AVX, 256},
    {"f16c", 1, 2, 29, STATE_AVX, 256},
    {"fma", 1, 2, 12, STATE_AVX, 256},
    {"avx2", 7, 1, 5, STATE_AVX, 256},
    {"avx512f", 7, 1, 16, STATE_AVX512, 512},
    {"avx512dq", 7, 1, 17, STATE_AVX512, 512},
    {"avx512bw", 7, 1, 30, STATE_AVX512, 512},
    {"avx512vl", 7, 1, 31, STATE_AVX512, 512},
    {"avx512_vnni", 7, 2, 11, STATE_AVX512, 512},
    {"avx512_bf16", SECOND, 0, 5, STATE_AVX512, 512},
    {"amx_tile", 7, 3, 24, STATE_AMX, 512},
};

static unsigned enabled_state(void)
{
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c >> 27 & 1)) return 0; /* no OSXSAVE */
    unsigned low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

static void name_maker(attn_i_cpu *cpu)
{
    enum { EXTENDED = 15 };
    unsigned a, b, c, d, letters[3];
    if (!__get_cpuid(0, &a, &letters[0], &letters[2], &letters[1])) return;
    memcpy(cpu->maker, letters, sizeof letters);
    if (!__get_cpuid(1, &a, &b, &c, &d)) return;
    cpu->family = (int)(a >> 8 & 15);
    if (cpu->family == EXTENDED) cpu->family += (int)(a >> 20 & 255);
}

static void detect(attn_i_cpu *cpu)
{
    cpu->architecture = "x86_64";
    name_maker(cpu);
    unsigned brand[12] = {0}, leaves[SECOND + 1][4] = {{0}};
    if ((unsigned)__get_cpuid_max(0x80000000u, NULL) >= 0x80000004u) {
        for (unsigned i = 0; i < 3; i++) {
            __get_cpuid(0x80000002u + i, &brand[4 * i], &brand[4 * i + 1], &brand[4 * i + 2], &brand[4 * i + 3]);
        }
        snprintf(cpu->model, sizeof cpu->model, "%.48s", (const char *)brand);
        for (size_t n = strlen(cpu->model); n > 0 && cpu->model[n - 1] == ' '; n--) cpu->model[n - 1] = '\0';
    }
    __get_cpuid(1, &leaves[1][0], &leaves[1][1], &leaves[1][2], &leaves[1][3]);
    __get_cpuid_count(7, 0, &leaves[7][0], &leaves[7][1], &leaves[7][2], &leaves[7][3]);
    if (leaves[7][0] >= 1) {
        __get_cpuid_count(7, 1, &leaves[SECOND][0], &leaves[SECOND][1], &leaves[SECOND][2], &leaves[SECOND][3]);
    }
    unsigned state = enabled_state();
    for (size_t i = 0; i < sizeof x86_features / sizeof *x86_features; i++) {
        const x86_feature *f = &x86_features[i];
        if (!(leaves[f->leaf][f->reg] >> f->bit & 1) || (state & f->state) != f->state) continue;
        add(cpu, f->name);
        if (f->vector_bits > cpu->vector_bits) cpu->vector_bits = f->vector_bits;
    }
}

#elif defined(__aarch64__)
#if defined(__linux__)
#include <sys/auxv.h>
#endif

static void detect(attn_i_cpu *cpu)
{
    cpu->architecture = "aarch64";
    cpu->vector_bits = 128; /* SVE registers may be wider; no kernel is chosen by that */
    add(cpu, "neon");
#if defined(__linux__)
    unsigned long hwcap = getauxval(AT_HWCAP);
    if (hwcap >> 10 & 1) add(cpu, "fp16");
    if (hwcap >> 20 & 1) add(cpu, "dotprod");
    if (hwcap >> 22 & 1) add(cpu, "sve");
    if (getauxval(AT_HWCAP2) >> 14 & 1) add(cpu, "bf16");
#endif
}

#else

static void detect(attn_i_cpu *cpu)
{
    cpu->architecture = "other";
}

#endif

void attn_i_cpu_detect(attn_i_cpu *cpu)
{
    memset(cpu, 0, sizeof *cpu);
    cpu->count = usable_cpus();
    detect(cpu);
}

int attn_i_cpu_has(const attn_i_cpu *cpu, const char *feature)
{
    const size_t length = strlen(feature);
    for (const char *at = cpu->features; *at != '\0'; at += strcspn(at, " "), at += *at == ' ') {
        if (strcspn(at, " ") == length && strncmp(at, feature, length) == 0) return 1;
    }
    return 0;
}
