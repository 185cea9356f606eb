/* SPDX-License-Identifier: BSD-3-Clause
 *
 * handles/engine.c: creating and destroying engines. */
#include "handles/engine.h"

#include "handles/status.h"
#include "handles/structs.h"
#include "runtime/quota.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_THREADS = 1024 };

/* ATTN_WAY in the environment decides where the options do not, so that a test suite can run once per way. */
static attn_status choose_way(attn_way asked, attn_way *way)
{
    static const struct {
        const char *word;
        attn_way way;
    } words[] = {{"", ATTN_WAY_AUTOMATIC},
                 {"automatic", ATTN_WAY_AUTOMATIC},
                 {"blas", ATTN_WAY_BLAS},
                 {"tiles", ATTN_WAY_TILES}};
    if (asked < ATTN_WAY_AUTOMATIC || asked > ATTN_WAY_TILES) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "way is %" PRId32 ", which is none", asked);
    }
    const char *word = getenv("ATTN_WAY");
    if (asked == ATTN_WAY_AUTOMATIC && word != NULL) {
        size_t i = 0, count = sizeof words / sizeof *words;
        while (i < count && strcmp(word, words[i].word) != 0) i++;
        if (i == count) {
            return attn_i_fail(ATTN_ERR_ARGUMENT,
                               "the environment has ATTN_WAY=%.40s, but automatic, blas or tiles is "
                               "meant",
                               word);
        }
        asked = words[i].way;
    }
    *way = asked;
    return ATTN_OK;
}

/* So does ATTN_KERNELS. */
static attn_status choose_kernels(const char *name, attn_engine *engine)
{
    if (name == NULL) {
        name = getenv("ATTN_KERNELS");
        if (name != NULL && *name == '\0') name = NULL;
    }
    engine->kernels_f32 = attn_i_kernels_choose(&engine->cpu, name, ATTN_F32);
    engine->kernels_f64 = attn_i_kernels_choose(&engine->cpu, name, ATTN_F64);
    for (attn_dtype dtype = 0; dtype <= ATTN_I8; dtype++) {
        engine->stored[dtype] = attn_i_stored_kernels_choose(&engine->cpu, name, dtype);
        engine->fast[dtype] = attn_i_fast_kernels_choose(&engine->cpu, name, dtype);
        if (engine->fast[dtype] == NULL) continue;
        engine->fast_stored[dtype] = *engine->stored[dtype];
        engine->fast_stored[dtype].rows = *engine->fast[dtype]->rows;
    }
    engine->tile_float = attn_i_tile_float_choose(&engine->cpu, name);
    engine->tile_kernels = attn_i_tile_kernels_choose(&engine->cpu, name);
    if (engine->kernels_f32 != NULL) return ATTN_OK;

    char names[64] = "";
    const char *one;
    for (size_t i = 0; (one = attn_i_kernels_name(&engine->cpu, i)) != NULL; i++) {
        size_t used = strlen(names);
        snprintf(names + used, sizeof names - used, "%s%s", i == 0 ? "" : ", ", one);
    }
    return attn_i_fail(ATTN_ERR_UNSUPPORTED, "kernels is \"%.40s\", but this build and CPU have %s", name, names);
}

/* Our product is as fast as that of a BLAS that suits the CPU; and it uses the threads that the engine was told to use,
 * where a BLAS has one, or brings others, which after each product wait in a busy loop and keep ours from the cores.
 * So the BLAS is for a lone CPU. The engine's threads do not count: no bit may depend on them. */
static int wants_own_products(const attn_engine *engine, attn_way asked)
{
    if (asked != ATTN_WAY_AUTOMATIC) return asked == ATTN_WAY_TILES;
    return !engine->blas.suits_cpu || engine->blas.threads != 1 || engine->cpu.count != 1;
}

static attn_status check_options(const attn_engine_options *options)
{
    if (options->threads < 0 || options->threads > MOST_THREADS) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "threads is %" PRId32 ", but 0 to %d are taken", options->threads,
                           MOST_THREADS);
    }
    if (options->reserved != 0) return attn_i_fail(ATTN_ERR_ARGUMENT, "reserved is not 0");
    if ((options->allocate == NULL) != (options->release == NULL)) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "allocate and release belong together, but one of them is NULL");
    }
    return ATTN_OK;
}

static attn_status check_blas(const attn_i_blas_info *blas)
{
    if (blas->our_integers) return ATTN_OK;
    return attn_i_fail(
        ATTN_ERR_BACKEND,
        "the BLAS in %.200s takes 64-bit integers (ILP64), but this library was built for one with 32-bit "
        "integers: load that one instead, for example libopenblas in place of libopenblas64",
        blas->file[0] != '\0' ? blas->file : "this process");
}

/* Not what the engine knows of CPUs: how a call is computed must not depend on the time that it is given. */
static int32_t default_threads(const attn_engine *engine)
{
    const int quota = attn_i_quota_cpus("");
    const int count = quota > 0 && quota < engine->cpu.count ? quota : engine->cpu.count;
    return count < MOST_THREADS ? count : MOST_THREADS;
}

static attn_status create(const attn_engine_options *given, attn_engine **created)
{
    if (created == NULL) return attn_i_fail(ATTN_ERR_ARGUMENT, "engine is NULL");
    attn_engine_options options = {0};
    attn_way way = ATTN_WAY_BLAS;
    attn_status status = ATTN_OK;
    if (given != NULL) {
        status = attn_i_struct_read(&options, sizeof options, sizeof options, given, given->struct_size,
                                    "attn_engine_options");
    }
    if (status == ATTN_OK) status = check_options(&options);
    if (status == ATTN_OK) status = choose_way(options.way, &way);
    if (status != ATTN_OK) return status;

    attn_i_allocator allocator = attn_i_allocator_default();
    if (options.allocate != NULL) {
        allocator = (attn_i_allocator){options.allocate, options.release, options.allocator_data};
    }
    attn_engine *engine = attn_i_allocate(&allocator, sizeof *engine);
    if (engine == NULL) return attn_i_fail(ATTN_ERR_NOMEM, "no memory for an engine");
    memset(engine, 0, sizeof *engine);
    atomic_init(&engine->references, 1);
    engine->allocator = allocator;
    engine->way = way == ATTN_WAY_BLAS ? ATTN_WAY_BLAS : ATTN_WAY_TILES;
    engine->has_executor = options.execute != NULL;
    attn_i_cpu_detect(&engine->cpu);
    attn_i_blas_describe(&engine->cpu, &engine->blas);
    engine->threads = options.threads != 0 ? options.threads : default_threads(engine);
    engine->own_products = wants_own_products(engine, way);
    status = check_blas(&engine->blas);
    if (status == ATTN_OK) status = choose_kernels(options.kernels, engine);
    if (status == ATTN_OK) {
        engine->pool = attn_i_pool_create(&allocator, engine->threads, options.execute, options.executor_data);
        if (engine->pool == NULL) status = attn_i_fail(ATTN_ERR_NOMEM, "no memory for an engine's threads");
    }
    if (status != ATTN_OK) {
        attn_i_release(&allocator, engine, sizeof *engine);
        return status;
    }
    if (options.log != NULL && !engine->blas.suits_cpu) {
        options.log(options.log_data, ATTN_LOG_WARNING, engine->blas.advice);
    }
    *created = engine;
    return ATTN_OK;
}

attn_status attn_engine_create(const attn_engine_options *options, attn_engine **engine)
{
    attn_status status = create(options, engine);
    return status == ATTN_OK ? ATTN_OK : attn_i_fail_in("attn_engine_create", status);
}

void attn_i_engine_take(attn_engine *engine)
{
    atomic_fetch_add_explicit(&engine->references, 1, memory_order_relaxed);
}

void attn_i_engine_drop(attn_engine *engine)
{
    if (atomic_fetch_sub_explicit(&engine->references, 1, memory_order_acq_rel) != 1) return;
    attn_i_allocator allocator = engine->allocator;
    attn_i_pool_destroy(engine->pool, &allocator);
    attn_i_release(&allocator, engine, sizeof *engine);
}

void attn_engine_destroy(attn_engine *engine)
{
    if (engine != NULL) attn_i_engine_drop(engine);
}

const attn_i_stored_kernels *attn_i_engine_stored_kernels(const attn_engine *engine, attn_dtype dtype)
{
    return engine->stored[dtype];
}

const attn_i_fast_kernels *attn_i_engine_fast_kernels(const attn_engine *engine, attn_dtype dtype)
{
    return engine->fast[dtype];
}

const attn_i_stored_kernels *attn_i_engine_fast_stored_kernels(const attn_engine *engine, attn_dtype dtype)
{
    return engine->fast[dtype] == NULL ? NULL : &engine->fast_stored[dtype];
}

const attn_i_kernels *attn_i_engine_kernels(const attn_engine *engine, attn_dtype dtype)
{
    return dtype == ATTN_F32 ? engine->kernels_f32 : engine->kernels_f64;
}
