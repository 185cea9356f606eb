/* SPDX-License-Identifier: BSD-3-Clause
 *
 * old_cpu.c: what scripts/old-cpu runs on emulated CPUs: prints the kernels that an engine takes when nobody tells it;
 * or, with the name of an instruction set, runs one instruction of it, which ends the program where the CPU has none.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attn/attn.h"

static int run_an_instruction_of(const char *set)
{
#if defined(__x86_64__)
    if (strcmp(set, "sse4.1") == 0) {
        __asm__ volatile("ptest %%xmm0, %%xmm0" : : : "cc");
    } else if (strcmp(set, "avx") == 0) {
        __asm__ volatile("vaddps %%ymm0, %%ymm0, %%ymm0" : : : "xmm0");
    } else if (strcmp(set, "avx2") == 0) {
        __asm__ volatile("vpaddd %%ymm0, %%ymm0, %%ymm0" : : : "xmm0");
    } else if (strcmp(set, "fma") == 0) {
        __asm__ volatile("vfmadd231ps %%ymm0, %%ymm0, %%ymm0" : : : "xmm0");
    } else if (strcmp(set, "avx512") == 0) {
        __asm__ volatile("vaddps %%zmm0, %%zmm0, %%zmm0" : : : "xmm0");
    } else {
        fprintf(stderr, "no instruction of %s is known here\n", set);
        return 2;
    }
    return 0;
#else
    fprintf(stderr, "no instruction of %s is known on this architecture\n", set);
    return 2;
#endif
}

static int print_kernels(void)
{
    static const char member[] = "\"kernels\":\"";
    char json[8192];
    size_t bytes = sizeof json;
    attn_engine *engine;
    if (attn_engine_create(NULL, &engine) != ATTN_OK || attn_engine_describe(engine, json, &bytes) != ATTN_OK) {
        fprintf(stderr, "%s\n", attn_last_error());
        return 1;
    }
    attn_engine_destroy(engine);
    const char *name = strstr(json, member);
    if (name == NULL) return 1;
    name += strlen(member);
    printf("%.*s\n", (int)strcspn(name, "\""), name);
    return 0;
}

int main(int argc, char **argv)
{
    return argc > 1 ? run_an_instruction_of(argv[1]) : print_kernels();
}
