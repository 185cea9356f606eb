/* SPDX-License-Identifier: BSD-3-Clause
 *
 * kernels/choose.c: which set of kernels an engine computes with. Nothing of a set runs before the CPU is known to have
 * what it was compiled for. */
#include "kernels/kernels.h"

#include <string.h>

typedef struct kernel_set {
    const attn_i_kernels *f32, *f64;
    const attn_i_tile_kernels *tile;
    const attn_i_tile_arithmetic *tile_float;
    const attn_i_stored_kernels *stored[ATTN_I8 + 1]; /* by dtype, of which some have none */
    const char *features[6];                          /* all of them are needed, by the names of attn_i_cpu */
} kernel_set;

#define STORED(set)                                                                                                    \
    extern const attn_i_tile_arithmetic attn_i_##set##_f32_tile_float;                                                 \
    extern const attn_i_stored_kernels attn_i_##set##_f32_stored_f32, attn_i_##set##_f32_stored_f16,                   \
        attn_i_##set##_f32_stored_bf16, attn_i_##set##_f32_stored_i8
#define TABLES(set)                                                                                                    \
    {                                                                                                                  \
        [ATTN_F32] = &attn_i_##set##_f32_stored_f32, [ATTN_F16] = &attn_i_##set##_f32_stored_f16,                      \
        [ATTN_BF16] = &attn_i_##set##_f32_stored_bf16, [ATTN_I8] = &attn_i_##set##_f32_stored_i8                       \
    }

extern const attn_i_kernels attn_i_portable_f32_table, attn_i_portable_f64_table;
extern const attn_i_tile_kernels attn_i_portable_f32_tile_table;
STORED(portable);
#if defined(ATTN_I_X86_KERNELS)
extern const attn_i_kernels attn_i_avx2_f32_table, attn_i_avx2_f64_table;
extern const attn_i_kernels attn_i_avx512_f32_table, attn_i_avx512_f64_table;
extern const attn_i_tile_kernels attn_i_avx2_f32_tile_table, attn_i_avx512_f32_tile_table;
STORED(avx2);
STORED(avx512);
#endif
#if defined(ATTN_I_ARM_KERNELS)
extern const attn_i_kernels attn_i_neon_f32_table, attn_i_neon_f64_table;
extern const attn_i_tile_kernels attn_i_neon_f32_tile_table;
STORED(neon);
#endif

/* From narrow to wide. */
static const kernel_set sets[] = {
    {&attn_i_portable_f32_table,
     &attn_i_portable_f64_table,
     &attn_i_portable_f32_tile_table,
     &attn_i_portable_f32_tile_float,
     TABLES(portable),
     {NULL}},
#if defined(ATTN_I_X86_KERNELS)
    {&attn_i_avx2_f32_table,
     &attn_i_avx2_f64_table,
     &attn_i_avx2_f32_tile_table,
     &attn_i_avx2_f32_tile_float,
     TABLES(avx2),
     {"avx2", "fma", "f16c"}},
    {&attn_i_avx512_f32_table,
     &attn_i_avx512_f64_table,
     &attn_i_avx512_f32_tile_table,
     &attn_i_avx512_f32_tile_float,
     TABLES(avx512),
     {"avx512f", "avx512dq", "avx512bw", "avx512vl", "f16c"}},
#endif
#if defined(ATTN_I_ARM_KERNELS)
    {&attn_i_neon_f32_table,
     &attn_i_neon_f64_table,
     &attn_i_neon_f32_tile_table,
     &attn_i_neon_f32_tile_float,
     TABLES(neon),
     {"neon"}},
#endif
};

#if defined(ATTN_I_X86_KERNELS)
extern const attn_i_tile_arithmetic attn_i_avx512_bf16_f32_tile_bf16;
extern const attn_i_row_kernels attn_i_avx512_bf16_f32_rows_bf16;
extern const attn_i_row_kernels attn_i_avx512_vnni_f32_rows_i8;

static int multiplies_integers(const attn_i_cpu *cpu)
{
    return attn_i_cpu_has(cpu, "avx512_vnni");
}

/* Intel's CPUs take several steps for what AMD's do in one: there it is slower than float32. */
static int multiplies_bf16(const attn_i_cpu *cpu)
{
    enum { ZEN_4 = 0x19 };
    return attn_i_cpu_has(cpu, "avx512_bf16") && strcmp(cpu->maker, "AuthenticAMD") == 0 && cpu->family >= ZEN_4;
}
#elif defined(ATTN_I_ARM_KERNELS)
extern const attn_i_tile_arithmetic attn_i_neon_bf16_f32_tile_bf16;
extern const attn_i_row_kernels attn_i_neon_bf16_f32_rows_bf16;

static int multiplies_bf16(const attn_i_cpu *cpu)
{
    return attn_i_cpu_has(cpu, "bf16");
}
#endif

static const attn_i_fast_kernels fast_kernels[] = {
#if defined(ATTN_I_X86_KERNELS)
    {"avx512", "vdpbf16ps", ATTN_BF16, &attn_i_avx512_bf16_f32_tile_bf16, &attn_i_avx512_bf16_f32_rows_bf16,
     multiplies_bf16},
    {"avx512", "vpdpwssd", ATTN_I8, NULL, &attn_i_avx512_vnni_f32_rows_i8, multiplies_integers},
#elif defined(ATTN_I_ARM_KERNELS)
    {"neon", "bfdot", ATTN_BF16, &attn_i_neon_bf16_f32_tile_bf16, &attn_i_neon_bf16_f32_rows_bf16, multiplies_bf16},
#endif
    {NULL, NULL, 0, NULL, NULL, NULL}};

static int runs_on(const kernel_set *set, const attn_i_cpu *cpu)
{
    for (size_t i = 0; set->features[i] != NULL; i++) {
        if (!attn_i_cpu_has(cpu, set->features[i])) return 0;
    }
    return 1;
}

static const kernel_set *choose_set(const attn_i_cpu *cpu, const char *name)
{
    const kernel_set *chosen = NULL;
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        if (runs_on(&sets[i], cpu) && (name == NULL || strcmp(name, sets[i].f32->name) == 0)) chosen = &sets[i];
    }
    return chosen;
}

const attn_i_kernels *attn_i_kernels_choose(const attn_i_cpu *cpu, const char *name, attn_dtype dtype)
{
    const kernel_set *chosen = choose_set(cpu, name);
    return chosen == NULL ? NULL : dtype == ATTN_F32 ? chosen->f32 : chosen->f64;
}

const attn_i_tile_kernels *attn_i_tile_kernels_choose(const attn_i_cpu *cpu, const char *name)
{
    const kernel_set *chosen = choose_set(cpu, name);
    return chosen == NULL ? NULL : chosen->tile;
}

const attn_i_stored_kernels *attn_i_stored_kernels_choose(const attn_i_cpu *cpu, const char *name, attn_dtype dtype)
{
    const kernel_set *chosen = choose_set(cpu, name);
    return chosen == NULL ? NULL : chosen->stored[dtype];
}

const attn_i_tile_arithmetic *attn_i_tile_float_choose(const attn_i_cpu *cpu, const char *name)
{
    const kernel_set *chosen = choose_set(cpu, name);
    return chosen == NULL ? NULL : chosen->tile_float;
}

const attn_i_fast_kernels *attn_i_fast_kernels_choose(const attn_i_cpu *cpu, const char *name, attn_dtype dtype)
{
    const kernel_set *chosen = choose_set(cpu, name);
    for (const attn_i_fast_kernels *fast = fast_kernels; chosen != NULL && fast->set != NULL; fast++) {
        if (strcmp(fast->set, chosen->f32->name) == 0 && fast->dtype == dtype && fast->suits(cpu)) return fast;
    }
    return NULL;
}

const char *attn_i_kernels_name(const attn_i_cpu *cpu, size_t index)
{
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        if (runs_on(&sets[i], cpu) && index-- == 0) return sets[i].f32->name;
    }
    return NULL;
}
