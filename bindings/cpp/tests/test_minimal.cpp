/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_minimal.cpp: without exceptions there are the twins alone, and they do all there is to do. Compiled with
 * -fno-exceptions and -fno-rtti. */
#include "check.hpp"

#include <type_traits>

namespace
{

static_assert(ATTN_THROWS == 0);
static_assert(!std::is_default_constructible_v<attn::engine>);
static_assert(!std::is_constructible_v<attn::mechanism, const attn::engine &, attn::dot>);

void statuses_do_for_exceptions()
{
    auto engine = attn::engine::try_create();
    CHECK(engine.status() == attn::status::ok);
    auto mechanism = attn::mechanism::try_create(*engine, attn::dot{});
    CHECK(mechanism && mechanism->try_set_temperature(-1) == attn::status::argument);
    CHECK(std::strstr(attn::last_error(), "tau") != nullptr);
    const float query[1][2] = {{1, 0}}, key[2][2] = {{1, 0}, {0, 1}}, value[2][1] = {{1}, {0}};
    float context[1][1];
    attn::forward_args args;
    args.query = query, args.key = key, args.value = value, args.context = context;
    CHECK(attn::try_forward(*mechanism, args) == attn::status::ok);
    const double e = std::exp(1.0);
    CHECK_NEAR(context[0][0], e / (e + 1), 1e-6);
    attn::forward_call call(*mechanism, args);
    context[0][0] = 0;
    CHECK(call.try_run() == attn::status::ok);
    CHECK_NEAR(context[0][0], e / (e + 1), 1e-6);
    float other[1][1] = {};
    args.context = other;
    CHECK(call.try_run(args) == attn::status::ok && other[0][0] == context[0][0]);
    args.context = {context, {2, 1}};
    CHECK(attn::try_forward(*mechanism, args) == attn::status::shape);
    CHECK(call.try_run(args) == attn::status::shape);
    CHECK(attn::forward_call(*mechanism, args).try_run() == attn::status::shape);
}

} // namespace

int main()
{
    return check::run({{"statuses_do_for_exceptions", statuses_do_for_exceptions}});
}
