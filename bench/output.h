/* SPDX-License-Identifier: BSD-3-Clause
 *
 * output.h: results for people, as a table, and for programs, as JSON. */
#ifndef ATTN_BENCH_OUTPUT_H
#define ATTN_BENCH_OUTPUT_H

#include "measure.h"

#include <stdio.h>

/* What the figures were measured on, out of attn_engine_describe. */
typedef struct attn_bench_machine {
    char version[16], way[16], kernels[16], cpu[64], blas[160], advice[320];
} attn_bench_machine;

/* Of an engine with default options; the program ends if there is none. */
void attn_bench_machine_describe(attn_bench_machine *machine);

void attn_bench_print_machine(const attn_bench_machine *machine);
void attn_bench_print_heading(void);

/* scaling: speed on these threads over that on the fewest; its median is 0 where there is no such ratio. */
void attn_bench_print(const attn_bench_case *c, const attn_bench_result *r, attn_bench_interval scaling);

/* One object of the list; the caller writes the brackets and commas around it. */
void attn_bench_json(FILE *file, const attn_bench_machine *machine, const attn_bench_case *c,
                     const attn_bench_result *r, attn_bench_interval scaling);

#endif
