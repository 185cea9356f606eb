/* SPDX-License-Identifier: BSD-3-Clause
 *
 * command_stats.c: attn stats says what the weights of a .npy file are like: of each row its entropy, the effective
 * number of keys and the strongest key, of each key the sum over the rows. As attn_weights_stats of the library, which
 * tells them of weights that are nowhere.
 */
#include "command.h"
#include "fail.h"
#include "npy.h"
#include "number.h"
#include "options.h"
#include "output.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

typedef struct row_stats {
    double entropy;
    int64_t strongest; /* -1: all weights are 0 */
} row_stats;

/* Weights [batch, heads, rows, keys]; missing leading dimensions are 1. */
typedef struct weights {
    attn_tensor tensor;
    int64_t n[4], stride[4];
    row_stats *rows; /* of all of them, in order */
} weights;

static weights read(const char *path)
{
    weights w = {.tensor = npy_read(path, 0), .n = {1, 1, 1, 1}};
    if (!number_is_real(w.tensor.dtype)) fail("%s does not hold weights, which are " NUMBER_TYPES, path);
    for (int32_t d = 0; d < w.tensor.ndim; ++d) {
        w.n[4 - w.tensor.ndim + d] = w.tensor.shape[d];
        w.stride[4 - w.tensor.ndim + d] = w.tensor.stride[d];
    }
    return w;
}

static double weight_at(const weights *w, int64_t b, int64_t h, int64_t i, int64_t j)
{
    const int64_t at = b * w->stride[0] + h * w->stride[1] + i * w->stride[2] + j * w->stride[3];
    return number_read(w->tensor.dtype, w->tensor.data, at);
}

static void check(const weights *w, const char *path)
{
    for (int64_t row = 0; row < w->n[0] * w->n[1] * w->n[2]; ++row) {
        const int64_t i = row % w->n[2], h = row / w->n[2] % w->n[1], b = row / w->n[2] / w->n[1];
        for (int64_t j = 0; j < w->n[3]; ++j) {
            const double x = weight_at(w, b, h, i, j);
            if (isfinite(x) && x >= 0) continue;
            fail("%s has %g in row %lld, column %lld; weights are finite and not negative", path, x, (long long)i,
                 (long long)j);
        }
    }
}

/* The place of (b, h, i) among the rows. */
static int64_t row_at(const weights *w, int64_t b, int64_t h, int64_t i)
{
    return (b * w->n[1] + h) * w->n[2] + i;
}

/* A row is divided by its sum: dropout, or local attention, may have left it another one than 1. */
static row_stats stats_of(const weights *w, int64_t b, int64_t h, int64_t i)
{
    row_stats s = {0, -1};
    double sum = 0, most = 0;
    for (int64_t j = 0; j < w->n[3]; ++j) {
        const double x = weight_at(w, b, h, i, j);
        sum += x;
        if (!(x > most)) continue;
        most = x;
        s.strongest = j;
    }
    for (int64_t j = 0; j < w->n[3]; ++j) {
        const double x = weight_at(w, b, h, i, j);
        if (x > 0) s.entropy += x / sum * (log(sum) - log(x));
    }
    return s;
}

static void measure(weights *w)
{
    w->rows = allocate((size_t)(w->n[0] * w->n[1] * w->n[2]), sizeof *w->rows);
    for (int64_t b = 0; b < w->n[0]; ++b) {
        for (int64_t h = 0; h < w->n[1]; ++h) {
            for (int64_t i = 0; i < w->n[2]; ++i) w->rows[row_at(w, b, h, i)] = stats_of(w, b, h, i);
        }
    }
}

static double sum_of(const weights *w, int64_t b, int64_t h, int64_t j)
{
    double sum = 0;
    for (int64_t i = 0; i < w->n[2]; ++i) sum += weight_at(w, b, h, i, j);
    return sum;
}

/* ------------------------------------------------------------------------------------------------ as a table */

static void print_matrix(FILE *out, const weights *w, int64_t b, int64_t h)
{
    if (w->n[0] > 1) (void)fprintf(out, "batch %lld%s", (long long)b, w->n[1] > 1 ? ", " : "\n");
    if (w->n[1] > 1) (void)fprintf(out, "head %lld\n", (long long)h);
    (void)fprintf(out, "%8s %10s %10s %10s\n", "query", "entropy", "keys", "strongest");
    for (int64_t i = 0; i < w->n[2]; ++i) {
        const row_stats s = w->rows[row_at(w, b, h, i)];
        (void)fprintf(out, "%8lld %10.4f %10.2f ", (long long)i, s.entropy, exp(s.entropy));
        if (s.strongest >= 0) (void)fprintf(out, "%10lld\n", (long long)s.strongest);
        if (s.strongest < 0) (void)fprintf(out, "%10s\n", "none");
    }
    (void)fprintf(out, "%8s %10s\n", "key", "sum");
    for (int64_t j = 0; j < w->n[3]; ++j) (void)fprintf(out, "%8lld %10.4f\n", (long long)j, sum_of(w, b, h, j));
}

static void print_table(FILE *out, const weights *w)
{
    for (int64_t k = 0; k < w->n[0] * w->n[1]; ++k) {
        if (k > 0) (void)fputc('\n', out);
        print_matrix(out, w, k / w->n[1], k % w->n[1]);
    }
}

/* -------------------------------------------------------------------------------------------------- as JSON */

enum { ENTROPY, KEYS, STRONGEST, SUMS, MEMBERS };

static void print_number(FILE *out, const weights *w, int member, int64_t b, int64_t h, int64_t last)
{
    const row_stats s = member != SUMS ? w->rows[row_at(w, b, h, last)] : (row_stats){0, 0};
    if (member == STRONGEST) {
        (void)fprintf(out, "%lld", (long long)s.strongest);
    } else {
        (void)fprintf(out, "%.17g",
                      member == SUMS   ? sum_of(w, b, h, last)
                      : member == KEYS ? exp(s.entropy)
                                       : s.entropy);
    }
}

/* One member, nested as the file is, but for one dimension. */
static void print_member(FILE *out, const weights *w, int member)
{
    const int32_t rank = w->tensor.ndim;
    const int64_t count = w->n[member == SUMS ? 3 : 2];
    const bool in_array = member == SUMS || rank >= 2;
    if (rank >= 4) (void)fputc('[', out);
    for (int64_t b = 0; b < w->n[0]; ++b) {
        (void)fprintf(out, "%s%s", b > 0 ? ", " : "", rank >= 3 ? "[" : "");
        for (int64_t h = 0; h < w->n[1]; ++h) {
            (void)fprintf(out, "%s%s", h > 0 ? ", " : "", in_array ? "[" : "");
            for (int64_t k = 0; k < count; ++k) {
                if (k > 0) (void)fputs(", ", out);
                print_number(out, w, member, b, h, k);
            }
            if (in_array) (void)fputc(']', out);
        }
        if (rank >= 3) (void)fputc(']', out);
    }
    if (rank >= 4) (void)fputc(']', out);
}

static void print_json(FILE *out, const weights *w)
{
    static const char *const names[MEMBERS] = {"entropy", "effective_keys", "strongest", "key_sums"};
    for (int member = 0; member < MEMBERS; ++member) {
        (void)fprintf(out, "%s\"%s\": ", member == 0 ? "{" : ", ", names[member]);
        print_member(out, w, member);
    }
    (void)fputs("}\n", out);
}

static void execute(int argc, char **argv)
{
    static const struct option options[] = {
        {"json", no_argument, NULL, 'j'}, {"help", no_argument, NULL, OPTION_HELP}, {NULL, 0, NULL, 0}};
    bool as_json = false;
    while (options_next(&command_stats, argc, argv, ":h", options) != -1) as_json = true;
    options_operands(argc, argv, 1, "the .npy file of the weights");
    const char *path = argv[optind];
    weights w = read(path);
    check(&w, path);
    measure(&w);
    FILE *out = output_open("-");
    if (as_json) {
        print_json(out, &w);
    } else {
        print_table(out, &w);
    }
    free(w.rows);
    free(w.tensor.data);
    output_commit();
}

static const char text[] =
    "usage: attn stats WEIGHTS.npy [--json]\n"
    "\n"
    "WEIGHTS.npy is " NUMBER_TYPES ": [keys], [rows, keys], [heads, rows, keys] or [batch, heads, rows, keys].\n"
    "\n"
    "Prints of each row (query) its entropy in nats, the effective number of keys, which is exp of that, and the\n"
    "strongest key, the first of several; and of each key the sum over the rows. A row that does not add up to 1 is\n"
    "divided by its sum for the entropy.\n"
    "\n"
    "  --json   print a JSON object instead, with all digits\n";
static const char *const help[] = {text, NULL};

const command command_stats = {
    .name = "stats",
    .summary = "say what weights are like: entropy, effective keys, strongest key, sums by key",
    .help = help,
    .execute = execute,
};
