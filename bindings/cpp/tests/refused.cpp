/* SPDX-License-Identifier: BSD-3-Clause
 *
 * refused.cpp: what must not compile, a case each; case 0 is the same program as it should be. header.sh compiles it.
 */
#include <attn/attn.hpp>

#include <vector>

#ifndef CASE
#define CASE 0
#endif

void use(const attn::mechanism &mechanism);

void use(const attn::mechanism &mechanism)
{
    const std::vector<float> in(4);
    std::vector<float> out(4);
    const float fixed[2][2] = {};
    const float *const pointer = in.data();
    attn::forward_args args;
    attn::backward_args gradients;
    args.query = {in, {2, 2}};
    args.key = fixed;
    args.value = {pointer, {2, 2}};
    args.context = {out, {2, 2}};
    gradients.d_query = {out.data(), {2, 2}};
    args.workspace = out;
#if CASE == 1 /* an output of a const container */
    args.context = {in, {2, 2}};
#elif CASE == 2  /* of a const array */
    args.weights = fixed;
#elif CASE == 3  /* of a pointer to const */
    gradients.d_query = {pointer, {2, 2}};
#elif CASE == 4  /* of a view for reading */
    args.context = args.query;
#elif CASE == 5  /* scratch of const memory */
    args.workspace = in;
#elif CASE == 6  /* a view of a temporary */
    args.query = {std::vector<float>(4), {2, 2}};
#elif CASE == 7  /* elements without a dtype */
    std::vector<bool> mask(4);
    args.mask = {mask, {2, 2}};
#elif CASE == 8  /* a copy of a handle */
    const attn::mechanism copy = mechanism;
#elif CASE == 9  /* a status that nobody looks at; with -Werror */
    attn::try_forward(mechanism, args);
#elif CASE == 10 /* five dimensions */
    args.query = {in, {1, 1, 1, 2, 2}};
#elif CASE == 11 /* an output of const memory by its dtype */
    args.context = {static_cast<const void *>(pointer), attn::dtype::f32, {2, 2}};
#endif
    if (attn::try_forward(mechanism, args) != attn::status::ok) return;
    static_cast<void>(gradients);
}
