/* SPDX-License-Identifier: BSD-3-Clause
 *
 * run_decomposable.c: attn run --decomposable: both alignments of two sentences, and their gradients. The options have
 * the names that Parikh (2016) and the library have.
 */
#include "fail.h"
#include "number.h"
#include "results.h"
#include "run.h"
#include "tensor.h"

#include <string.h>

static const request_option decomposable_options[] = {{.name = "decomposable", .flag = true},
                                                      {.name = "f"},
                                                      {.name = "g"},
                                                      {.name = "a"},
                                                      {.name = "b"},
                                                      {.name = "a-lengths"},
                                                      {.name = "b-lengths"},
                                                      {.name = "beta"},
                                                      {.name = "alpha"},
                                                      {.name = "a-logsumexp"},
                                                      {.name = "b-logsumexp"},
                                                      {.name = "d-beta", .needs = "grad-out"},
                                                      {.name = "d-alpha", .needs = "grad-out"},
                                                      {.name = "grad-out"},
                                                      {.name = NULL}};
static const char *const outputs[] = {"beta", "alpha", "a-logsumexp", "b-logsumexp", "grad-out", NULL};
static const char *const flows[] = {"d-beta", "d-alpha", NULL};

static attn_decomposable_args read_inputs(request *r)
{
    attn_decomposable_args args = ATTN_DECOMPOSABLE_ARGS_INIT;
    args.f = request_tensor(r, "f");
    args.g = request_tensor(r, "g");
    args.a = request_tensor(r, "a");
    args.b = request_tensor(r, "b");
    args.a_lengths = request_tensor(r, "a-lengths");
    args.b_lengths = request_tensor(r, "b-lengths");
    args.d_beta = request_tensor(r, "d-beta");
    args.d_alpha = request_tensor(r, "d-alpha");
    tensor_check_real(args.f, request_get(r, "f"));
    tensor_check_real(args.g, request_get(r, "g"));
    return args;
}

/* A row for each row of `of`, as wide as `wide`, if it was asked for or gradients need it. */
static const attn_tensor *add_aligned(results *all, const request *r, const char *option, const attn_tensor *of,
                                      const attn_tensor *wide, bool needed)
{
    if (request_get(r, option) == NULL && !needed) return NULL;
    int64_t shape[4];
    memcpy(shape, of->shape, sizeof shape);
    shape[of->ndim - 1] = tensor_last_dimension(wide);
    return results_add(all, request_get(r, option), of->dtype, of->ndim, shape);
}

/* A number for each row; one stays where there is no other dimension. */
static const attn_tensor *add_logsumexp(results *all, const request *r, const char *option, const attn_tensor *of,
                                        bool needed)
{
    static const int64_t one[] = {1};
    if (request_get(r, option) == NULL && !needed) return NULL;
    return results_add(all, request_get(r, option), number_beside(of->dtype), of->ndim > 1 ? of->ndim - 1 : 1,
                       of->ndim > 1 ? of->shape : one);
}

static void add_outputs(results *all, const request *r, attn_decomposable_args *args)
{
    bool by_beta = args->d_beta != NULL, by_alpha = args->d_alpha != NULL;
    args->beta = add_aligned(all, r, "beta", args->f, args->b != NULL ? args->b : args->g, by_beta);
    args->alpha = add_aligned(all, r, "alpha", args->g, args->a != NULL ? args->a : args->f, by_alpha);
    args->a_logsumexp = add_logsumexp(all, r, "a-logsumexp", args->f, by_beta);
    args->b_logsumexp = add_logsumexp(all, r, "b-logsumexp", args->g, by_alpha);
}

static void add_gradients(results *all, const char *directory, attn_decomposable_args *args)
{
    if (directory == NULL) return;
    args->d_f = results_add_gradient(all, directory, "f", args->f);
    args->d_g = results_add_gradient(all, directory, "g", args->g);
    args->d_a = results_add_gradient(all, directory, "a", args->a);
    args->d_b = results_add_gradient(all, directory, "b", args->b);
}

static void run(request *r, attn_engine *engine)
{
    results all = {NULL};
    (void)request_need(r, "f", "FILE");
    (void)request_need(r, "g", "FILE");
    const char *directory = results_directory(r, flows, "--d-beta or --d-alpha");
    if (!request_any(r, outputs)) fail("--decomposable needs --beta FILE or --alpha FILE, or both");
    attn_decomposable_args args = read_inputs(r);
    add_outputs(&all, r, &args);
    add_gradients(&all, directory, &args);
    require(attn_decomposable_forward(engine, &args));
    if (directory != NULL) require(attn_decomposable_backward(engine, &args));
    results_write(&all);
    results_free(&all);
}

static const request_option *const options[] = {decomposable_options, run_engine_options, run_file_options, NULL};
const run_call run_decomposable = {.selector = "decomposable", .options = options, .run = run};

const char run_decomposable_help[] =
    "\n"
    "Decomposable attention, which has these options alone:\n"
    "  --decomposable        both alignments of two sentences a and b from one pass over their scores\n"
    "  --f FILE, --g FILE    F(a) [B, H, Ta, D] and F(b) [B, H, Tb, D]; leading dimensions may be left out\n"
    "  --a FILE, --b FILE    what is aligned: [B, H, Ta, Da], [B, H, Tb, Db]; without them F(a) and F(b) are\n"
    "  --a-lengths FILE      i4 or i8 [B]: the valid rows of each a; likewise --b-lengths\n"
    "  --beta FILE           what in b is aligned with each row of a, [B, H, Ta, Db]\n"
    "  --alpha FILE          what in a is aligned with each row of b, [B, H, Tb, Da]\n"
    "  --a-logsumexp FILE    of the scores of each row of a, [B, H, Ta]; likewise --b-logsumexp\n"
    "  --d-beta FILE         gradients of a loss that flow in; --grad-out writes d_f.npy, d_g, d_a, d_b\n"
    "  --d-alpha FILE\n";
