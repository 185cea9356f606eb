/* SPDX-License-Identifier: BSD-3-Clause
 *
 * overhead.cpp: what a call costs in C++ beyond the same call in C, on the least work there is: 1 query, 5 keys of 4
 * dimensions; with a plan, and without one. Says nanoseconds for each, the fastest of many rounds, in turns. */
#include <attn/attn.hpp>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <limits>

namespace
{

constexpr int calls = 2000, rounds = 2000;

template <class Call> double nanoseconds(const Call &call)
{
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < calls; i++) call();
    const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - start;
    return took.count() / calls;
}

struct fastest {
    double time = std::numeric_limits<double>::infinity();

    void operator()(double other)
    {
        if (other < time) time = other;
    }
};

} // namespace

int main()
{
    float query[1][4] = {{1, 2, 3, 4}}, key[5][4] = {{1}, {2}, {3}, {4}, {5}}, value[5][4] = {{5}, {4}, {3}, {2}, {1}};
    float context[1][4] = {};
    attn::engine_options options;
    options.threads = 1;
    const attn::engine engine(options);
    const attn::mechanism mechanism(engine, attn::scaled_dot{});

    const std::int64_t one[2] = {1, 4}, five[2] = {5, 4};
    attn_tensor q, k, v, c;
    bool failed = attn_tensor_init(&q, query, ATTN_F32, 2, one) != ATTN_OK;
    failed |= attn_tensor_init(&k, key, ATTN_F32, 2, five) != ATTN_OK;
    failed |= attn_tensor_init(&v, value, ATTN_F32, 2, five) != ATTN_OK;
    failed |= attn_tensor_init(&c, context, ATTN_F32, 2, one) != ATTN_OK;
    attn_forward_args in_c = ATTN_FORWARD_ARGS_INIT;
    in_c.query = &q, in_c.key = &k, in_c.value = &v, in_c.context = &c;

    attn::forward_args args;
    args.query = query, args.key = key, args.value = value, args.context = context;

    attn::forward_call call(mechanism, args);
    attn_plan *plan = nullptr;
    failed |= attn_plan_create(mechanism.get(), &in_c, &plan) != ATTN_OK;

    fastest planned, prepared, elsewhere, plain, throwing, returning, views;
    for (int round = 0; round < rounds; round++) {
        planned(nanoseconds([&] { failed |= attn_plan_run(plan, nullptr) != ATTN_OK; }));
        prepared(nanoseconds([&] { call.run(); }));
        elsewhere(nanoseconds([&] { call.run(args); }));
        plain(nanoseconds([&] { failed |= attn_forward(mechanism.get(), &in_c) != ATTN_OK; }));
        throwing(nanoseconds([&] { attn::forward(mechanism, args); }));
        returning(nanoseconds([&] { failed |= attn::try_forward(mechanism, args) != attn::status::ok; }));
        views(nanoseconds([&] {
            attn::forward_args fresh;
            fresh.query = query, fresh.key = key, fresh.value = value, fresh.context = context;
            attn::forward(mechanism, fresh);
        }));
    }
    attn_plan_destroy(plan);
    const auto say = [](const char *what, const fastest &it, const fastest &least) {
        std::printf("%-26s  %6.1f ns  %+5.1f\n", what, it.time, it.time - least.time);
    };
    std::printf("attn_plan_run               %6.1f ns\n", planned.time);
    say("attn::forward_call", prepared, planned);
    say("attn::forward_call, args", elsewhere, planned);
    std::printf("attn_forward                %6.1f ns\n", plain.time);
    say("attn::forward, args kept", throwing, plain);
    say("attn::try_forward, kept", returning, plain);
    say("attn::forward, args anew", views, plain);
    return failed;
}
