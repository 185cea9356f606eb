/* SPDX-License-Identifier: BSD-3-Clause
 *
 * runtime/blas.c: the BLAS, behind one function; the only file that includes cblas.h, but for blas_integers.c. Works
 * with any library that has the cblas interface: what only OpenBLAS, BLIS or MKL can tell is asked through weak
 * references. */
#define _GNU_SOURCE
#include "runtime/blas.h"

#include "runtime/blas_integers.h"
#include "runtime/size.h"

#include <cblas.h>
#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A library that was configured for OpenBLAS refers to it by force: from an archive, a weak reference would fetch
 * nothing. Otherwise it may be any BLAS, and its names are there or not. */
#define WEAK __attribute__((weak))
#if defined(ATTN_I_OPENBLAS)
#define OPENBLAS
#else
#define OPENBLAS WEAK
#endif
extern int openblas_get_parallel(void) OPENBLAS; /* 0 serial, 1 pthread, 2 openmp */
extern int openblas_get_num_threads(void) OPENBLAS;
extern char *openblas_get_config(void) OPENBLAS;
extern char *openblas_get_corename(void) OPENBLAS;
extern char *bli_info_get_version_str(void) WEAK;
extern void MKL_Get_Version_String(char *, int) WEAK;

/* Held by every call into the BLAS, and by a fork. Calls share it, but for those into a serial build of OpenBLAS: that
 * one shares its buffers between callers without a lock, so that two threads inside it give wrong results, whichever
 * engines they come from. A fork holds it alone: OpenBLAS stops its threads before a fork, which a product that they
 * work on would not survive, and the child must not find the lock taken by a thread that it has not. */
static pthread_rwlock_t blas_lock;
static pthread_once_t blas_once = PTHREAD_ONCE_INIT;
static int serial;

static void initialise_lock(void)
{
    pthread_rwlockattr_t attributes;
    pthread_rwlockattr_init(&attributes);
#if defined(__GLIBC__)
    /* Or calls that keep coming would keep a fork waiting. */
    pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
#endif
    pthread_rwlock_init(&blas_lock, &attributes);
    pthread_rwlockattr_destroy(&attributes);
}

static void before_fork(void)
{
    pthread_rwlock_wrlock(&blas_lock);
}

static void after_fork(void)
{
    pthread_rwlock_unlock(&blas_lock);
}

static int is_openblas(void)
{
#if defined(ATTN_I_OPENBLAS)
    return 1;
#else
    return openblas_get_parallel != NULL && openblas_get_num_threads != NULL && openblas_get_config != NULL &&
           openblas_get_corename != NULL;
#endif
}

static void prepare_blas(void)
{
    serial = is_openblas() && openblas_get_parallel() == 0;
    initialise_lock();
    /* Registered after OpenBLAS registered its own handler, ours runs first. */
    pthread_atfork(before_fork, after_fork, initialise_lock);
}

static void enter_blas(void)
{
    pthread_once(&blas_once, prepare_blas);
    if (serial) {
        pthread_rwlock_wrlock(&blas_lock);
    } else {
        pthread_rwlock_rdlock(&blas_lock);
    }
}

static void leave_blas(void)
{
    pthread_rwlock_unlock(&blas_lock);
}

/* With one row, or one column, the stride along it is of no meaning to us but is checked by the BLAS. */
static attn_i_matrix normal(attn_i_matrix m)
{
    if (m.rows == 1) m.row_stride = m.column_stride == 1 ? attn_i_max(m.columns, 1) : 1;
    if (m.columns == 1) m.column_stride = m.row_stride == 1 ? attn_i_max(m.rows, 1) : 1;
    return m;
}

static int row_major(attn_i_matrix m)
{
    return m.column_stride == 1 && m.row_stride >= attn_i_max(m.columns, 1) && m.row_stride <= INT_MAX;
}

int attn_i_blas_takes(attn_i_matrix m)
{
    m = normal(m);
    return row_major(m) || row_major(attn_i_matrix_transpose(m));
}

typedef struct operand {
    attn_i_matrix matrix; /* as it lies in memory, row by row */
    int transposed;
    int leading;
} operand;

static operand as_operand(attn_i_matrix m)
{
    m = normal(m);
    int transposed = !row_major(m);
    if (transposed) m = attn_i_matrix_transpose(m);
    return (operand){m, transposed, (int)m.row_stride};
}

#define TRANS(operand) ((operand).transposed ? CblasTrans : CblasNoTrans)

/* A part whose sizes all fit an int and are not 0. */
static void multiply_part(attn_dtype dtype, attn_i_matrix a, attn_i_matrix b, attn_i_matrix c, int accumulate)
{
    operand ao = as_operand(a), bo = as_operand(b);
    int m = (int)c.rows, n = (int)c.columns, k = (int)a.columns, leading = m == 1 ? n : (int)c.row_stride;
    if (m == 1) { /* c' = b' a', one row at a time */
        CBLAS_TRANSPOSE trans = bo.transposed ? CblasNoTrans : CblasTrans;
        int rows = (int)bo.matrix.rows, columns = (int)bo.matrix.columns, step = (int)normal(a).column_stride;
        if (dtype == ATTN_F32) {
            cblas_sgemv(CblasRowMajor, trans, rows, columns, 1.0f, (const float *)b.data, bo.leading,
                        (const float *)a.data, step, accumulate ? 1.0f : 0.0f, (float *)c.data, 1);
        } else {
            cblas_dgemv(CblasRowMajor, trans, rows, columns, 1.0, (const double *)b.data, bo.leading,
                        (const double *)a.data, step, accumulate ? 1.0 : 0.0, (double *)c.data, 1);
        }
    } else if (dtype == ATTN_F32) {
        cblas_sgemm(CblasRowMajor, TRANS(ao), TRANS(bo), m, n, k, 1.0f, (const float *)a.data, ao.leading,
                    (const float *)b.data, bo.leading, accumulate ? 1.0f : 0.0f, (float *)c.data, leading);
    } else {
        cblas_dgemm(CblasRowMajor, TRANS(ao), TRANS(bo), m, n, k, 1.0, (const double *)a.data, ao.leading,
                    (const double *)b.data, bo.leading, accumulate ? 1.0 : 0.0, (double *)c.data, leading);
    }
}

void attn_i_blas_multiply(attn_dtype dtype, attn_i_matrix a, attn_i_matrix b, attn_i_matrix c, int accumulate)
{
    const int64_t size = dtype == ATTN_F32 ? (int64_t)sizeof(float) : (int64_t)sizeof(double);
    if (c.rows == 0 || c.columns == 0) return;
    if (a.columns == 0) {
        for (int64_t i = 0; i < c.rows && !accumulate; i++) {
            memset(c.data + i * c.row_stride * size, 0, (size_t)(c.columns * size));
        }
        return;
    }
    enter_blas();
    for (int64_t i = 0; i < c.rows; i += ATTN_I_BLAS_LIMIT) {
        int64_t m = attn_i_min(c.rows - i, ATTN_I_BLAS_LIMIT);
        attn_i_matrix ai = attn_i_matrix_rows(a, i, m, size), ci = attn_i_matrix_rows(c, i, m, size);
        for (int64_t j = 0; j < c.columns; j += ATTN_I_BLAS_LIMIT) {
            int64_t n = attn_i_min(c.columns - j, ATTN_I_BLAS_LIMIT);
            attn_i_matrix bj = attn_i_matrix_columns(b, j, n, size), cij = attn_i_matrix_columns(ci, j, n, size);
            for (int64_t l = 0; l < a.columns; l += ATTN_I_BLAS_LIMIT) {
                int64_t k = attn_i_min(a.columns - l, ATTN_I_BLAS_LIMIT);
                multiply_part(dtype, attn_i_matrix_columns(ai, l, k, size), attn_i_matrix_rows(bj, l, k, size), cij,
                              accumulate || l > 0);
            }
        }
    }
    leave_blas();
}

/* The vector width of OpenBLAS's kernel sets (its "cores"): those that are not named here are unknown. */
static int core_vector_bits(const char *core)
{
    static const struct {
        const char *name;
        int bits;
    } cores[] = {
        {"Katmai", 128},       {"Coppermine", 128},     {"Northwood", 128},  {"Prescott", 128},
        {"Banias", 128},       {"Core2", 128},          {"Penryn", 128},     {"Dunnington", 128},
        {"Nehalem", 128},      {"Atom", 128},           {"Athlon", 128},     {"Opteron", 128},
        {"Opteron_SSE3", 128}, {"Barcelona", 128},      {"Bobcat", 128},     {"Nano", 128},
        {"Sandybridge", 256},  {"Bulldozer", 256},      {"Piledriver", 256}, {"Steamroller", 256},
        {"Excavator", 256},    {"Haswell", 256},        {"Zen", 256},        {"SkylakeX", 512},
        {"Cooperlake", 512},   {"Sapphirerapids", 512}, {"armv8", 128},      {"cortexa53", 128},
        {"cortexa57", 128},    {"cortexa72", 128},      {"cortexa73", 128},  {"neoversen1", 128},
        {"thunderx", 128},     {"thunderx2t99", 128},   {"tsv110", 128},
    };
    for (size_t i = 0; i < sizeof cores / sizeof *cores; i++) {
        if (strcmp(core, cores[i].name) == 0) return cores[i].bits;
    }
    return 0;
}

static void describe_openblas(attn_i_blas_info *info)
{
    static const char *const threadings[] = {"serial", "pthread", "openmp"};
    info->library = "OpenBLAS";
    info->version = openblas_get_config();
    info->core = openblas_get_corename();
    info->threads = openblas_get_num_threads();
    int parallel = openblas_get_parallel();
    if (parallel >= 0 && parallel <= 2) info->threading = threadings[parallel];
    info->serialised = parallel == 0;
    info->vector_bits = core_vector_bits(info->core);
}

/* Either somebody told OpenBLAS to, or it is older than the CPU and does not know better. */
static void advise_on_core(const attn_i_cpu *cpu, attn_i_blas_info *info)
{
    const char *forced = getenv("OPENBLAS_CORETYPE"), *fitting = cpu->vector_bits >= 512 ? "SkylakeX" : "Haswell";
    int used = snprintf(info->advice, sizeof info->advice,
                        "OpenBLAS runs its %s kernels (%d-bit vectors) on a CPU with %d-bit vectors and can be several "
                        "times faster: ",
                        info->core, info->vector_bits, cpu->vector_bits);
    if (forced != NULL && *forced != '\0') {
        snprintf(info->advice + used, sizeof info->advice - (size_t)used,
                 "the environment has OPENBLAS_CORETYPE=%.20s; take it away, or set it to %s", forced, fitting);
    } else {
        snprintf(info->advice + used, sizeof info->advice - (size_t)used,
                 "take a newer OpenBLAS, or set OPENBLAS_CORETYPE=%s before the process starts", fitting);
    }
}

void attn_i_blas_describe(const attn_i_cpu *cpu, attn_i_blas_info *info)
{
    *info = (attn_i_blas_info){.library = "BLAS", .version = "", .core = "", .threading = "unknown", .suits_cpu = 1};
    if (is_openblas()) {
        describe_openblas(info);
    } else if (bli_info_get_version_str != NULL) {
        info->library = "BLIS";
        info->version = bli_info_get_version_str();
    } else if (MKL_Get_Version_String != NULL) {
        info->library = "MKL";
    }

    Dl_info where;
    void *symbol = NULL;
    void (*function)(void) = (void (*)(void))cblas_sgemm;
    memcpy(&symbol, &function, sizeof symbol);
    if (dladdr(symbol, &where) != 0 && where.dli_fname != NULL) {
        snprintf(info->file, sizeof info->file, "%s", where.dli_fname);
    }

    enter_blas();
    info->our_integers = attn_i_blas_takes_our_integers();
    leave_blas();

    if (info->vector_bits != 0 && info->vector_bits < cpu->vector_bits) {
        info->suits_cpu = 0;
        advise_on_core(cpu, info);
    } else if (strcmp(info->library, "BLAS") == 0) {
        info->suits_cpu = 0;
        snprintf(info->advice, sizeof info->advice,
                 "this BLAS does not say what it is; the reference BLAS would be tens of times slower than OpenBLAS");
    }
}
