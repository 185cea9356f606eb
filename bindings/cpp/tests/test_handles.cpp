/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_handles.cpp: handles move, failures throw or return, engines take objects for allocator, executor and log. */
#include "check.hpp"

#include <cstdlib>
#include <memory_resource>
#include <new>
#include <optional>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>

namespace
{

int news = 0; /* how often this program has asked for memory, by the functions below */

} // namespace

/* Not inlined: one of a pair alone would look like a mistake to the compiler. */
__attribute__((noinline)) void *operator new(std::size_t bytes)
{
    news++;
    void *const memory = std::malloc(bytes); // NOLINT(cppcoreguidelines-no-malloc)
    if (memory == nullptr) throw std::bad_alloc();
    return memory;
}

__attribute__((noinline)) void operator delete(void *memory) noexcept
{
    std::free(memory);
}

__attribute__((noinline)) void operator delete(void *memory, std::size_t) noexcept
{
    std::free(memory);
}

namespace
{

template <class Handle>
constexpr bool moves_alone =
    std::is_nothrow_move_constructible_v<Handle> &&std::is_nothrow_move_assignable_v<Handle> &&
    !std::is_copy_constructible_v<Handle> && !std::is_copy_assignable_v<Handle> && sizeof(Handle) == sizeof(void *);
static_assert(moves_alone<attn::engine> && moves_alone<attn::mechanism> && moves_alone<attn::memory> &&
              moves_alone<attn::multihead>);
static_assert(!std::is_copy_constructible_v<attn::forward_call> && !std::is_move_constructible_v<attn::forward_call>);
static_assert(std::is_nothrow_constructible_v<attn::forward_call, const attn::mechanism &, const attn::forward_args &>);

attn::forward_args args_of(std::vector<float> &in, std::vector<float> &out)
{
    attn::forward_args args;
    args.query = args.key = {in, {2, 3}};
    args.context = {out, {2, 3}};
    return args;
}

void a_moved_handle_is_the_same_handle()
{
    attn::engine engine;
    const attn_engine *const was = engine.get();
    attn::engine other = std::move(engine);
    CHECK(other.get() == was && other);
    attn::mechanism mechanism(other, attn::dot{});
    std::vector<float> in = check::numbers(6, 1), out(6), again(6);
    attn::forward(mechanism, args_of(in, out));
    attn::forward_call call(mechanism, args_of(in, again));
    const attn::mechanism moved = std::move(mechanism);
    attn::forward(moved, args_of(in, out));
    call.run();
    CHECK(out == again);

    std::optional<attn::mechanism> gone = attn::mechanism(other, attn::dot{});
    attn::forward_call keeps(*gone, args_of(in, again));
    keeps.run();
    gone.reset(); /* what runs is kept alive */
    again.assign(6, 0);
    keeps.run();
    CHECK(out == again);
}

void a_handle_that_was_moved_from_is_refused_and_can_be_assigned_to()
{
    attn::engine engine;
    attn::mechanism mechanism(engine, attn::dot{});
    attn::mechanism moved = std::move(mechanism);
    std::vector<float> in = check::numbers(6, 1), out(6);
    CHECK(!mechanism && mechanism.get() == nullptr && mechanism.name() == nullptr); // NOLINT(bugprone-use-after-move)
    CHECK(attn::try_forward(mechanism, args_of(in, out)) == attn::status::argument);
    CHECK(mechanism.try_set_scale(2) == attn::status::argument);
    CHECK(mechanism.try_param_count().status() == attn::status::argument);
    CHECK_THROWS(attn::forward(mechanism, args_of(in, out)), attn::status::argument, "mechanism is NULL");
    mechanism = attn::mechanism(engine, attn::scaled_dot{});
    CHECK(std::strcmp(mechanism.name(), "scaled-dot") == 0);
    attn::forward(mechanism, args_of(in, out));

    const attn::engine away = std::move(engine);
    CHECK_THROWS(attn::mechanism(engine, attn::dot{}), attn::status::argument, // NOLINT(bugprone-use-after-move)
                 "engine is NULL");
    CHECK_THROWS(static_cast<void>(engine.describe()), attn::status::argument, "engine is NULL");
}

void handles_are_adopted_and_released()
{
    attn_engine *raw = nullptr;
    CHECK(attn_engine_create(nullptr, &raw) == ATTN_OK);
    attn::engine engine(raw);
    CHECK(engine.get() == raw);
    attn_engine *released = engine.release();
    CHECK(released == raw && !engine);
    attn_engine_destroy(released);
    attn::engine none(nullptr);
    CHECK(!none);
    none = attn::engine();
    CHECK(none && none.get() != nullptr);
}

void handles_views_and_calls_allocate_nothing()
{
    std::vector<float> in = check::numbers(6, 1), out(6), w(9), d_w(9), lse(2);
    const int before = news;
    const attn::engine engine;
    attn::mechanism mechanism(engine, attn::general{3, 3});
    mechanism.bind_param("W", {w, {3, 3}}).set_causal(attn::align::top_left);
    attn::forward_args args = args_of(in, out);
    args.logsumexp = lse;
    attn::forward(mechanism, args);
    attn::forward_call(mechanism, args).run();
    attn::backward_args gradients;
    gradients.d_context = {in, {2, 3}};
    gradients.d_params[0] = {d_w, {3, 3}};
    attn::backward(mechanism, args, gradients);
    CHECK(attn::engine::try_create() && mechanism.try_set_scale(HUGE_VAL) != attn::status::ok);
    CHECK(news == before);
    CHECK(!engine.describe().empty() && news > before); /* what counts, counts */
}

void failures_throw_the_librarys_sentence()
{
    const attn::engine engine;
    attn::mechanism mechanism(engine, attn::general{3, 3});
    std::vector<float> in = check::numbers(6, 1), out(6), w(9);
    CHECK_THROWS(attn::forward(mechanism, args_of(in, out)), attn::status::parameter,
                 "parameter W of general is not bound");
    CHECK_THROWS(mechanism.bind_param("X", {w, {3, 3}}), attn::status::parameter, "X");
    CHECK_THROWS(mechanism.bind_param("W", {w, {9}}), attn::status::shape, "W");
    CHECK_THROWS(mechanism.set_temperature(0), attn::status::argument, "tau");
    CHECK_THROWS(attn::mechanism(engine, attn::general{0, 3}), attn::status::argument, "query_dim");
    CHECK_THROWS(static_cast<void>(attn::constant("ATTN_NOTHING")), attn::status::argument, "ATTN_NOTHING");
    CHECK_THROWS(static_cast<void>(mechanism.param_info(1)), attn::status::argument, "index");
    attn::engine_options options;
    options.threads = -1;
    CHECK_THROWS(attn::engine{options}, attn::status::argument, "threads");
    try {
        mechanism.set_scale(HUGE_VAL);
        CHECK(false);
    } catch (const std::runtime_error &thrown) { /* also by its base */
        CHECK(std::strcmp(thrown.what(), attn::last_error()) == 0);
    }
}

void twins_return_what_the_others_throw()
{
    attn::engine_options options;
    options.threads = -1;
    auto failed = attn::engine::try_create(options);
    CHECK(!failed && failed.status() == attn::status::argument);
    CHECK_THROWS(failed.value(), attn::status::argument, "threads");
    auto engine = attn::engine::try_create();
    CHECK(engine && engine.status() == attn::status::ok && engine->get() != nullptr);
    const attn::engine taken = *std::move(engine);
    CHECK(taken.get() != nullptr);
    CHECK(attn::mechanism::try_create(taken, attn::additive{2, 2, -1}).status() == attn::status::argument);
    CHECK(std::strncmp(attn::status_string(attn::status::argument), "ATTN_ERR_ARGUMENT: ", 19) == 0);
    CHECK(attn::status_string(static_cast<attn::status>(12345)) != nullptr);
}

/* What failed on one thread is told on another, whatever has failed there since. */
void a_result_keeps_its_sentence()
{
    std::optional<attn::result<attn::engine>> failed;
    std::thread([&] {
        attn::engine_options options;
        options.threads = -1;
        failed.emplace(attn::engine::try_create(options));
    }).join();
    CHECK(attn::try_constant("ATTN_NOTHING").status() == attn::status::argument);
    CHECK(std::strstr(failed->what(), "threads is -1") != nullptr);
    CHECK_THROWS(failed->value(), attn::status::argument, "threads is -1");
    const attn::result<attn::engine> moved = *std::move(failed);
    CHECK(std::strstr(moved.what(), "threads is -1") != nullptr);
    const attn::result<std::int64_t> unknown = attn::try_constant("ATTN_NOTHING"), copied = unknown;
    CHECK(std::strstr(copied.what(), "ATTN_NOTHING") != nullptr && copied.what() != unknown.what());
    CHECK(std::strcmp(attn::try_constant("ATTN_OK").what(), attn::status_string(attn::status::ok)) == 0);
}

void the_library_tells_of_itself()
{
    CHECK(attn::abi_version() == ATTN_ABI_VERSION);
    CHECK(attn::constant("ATTN_ERR_SHAPE") == ATTN_ERR_SHAPE);
    CHECK(attn::constant("sizeof attn_forward_args") == static_cast<std::int64_t>(sizeof(attn_forward_args)));
    const std::string json = attn::engine().describe();
    CHECK(json.front() == '{' && json.back() == '}');
    CHECK(json.find(attn::version()) != std::string::npos);
    char little[4] = "abc";
    std::size_t bytes = sizeof little;
    CHECK(attn::engine().try_describe(little, bytes) == attn::status::buffer);
    CHECK(bytes > sizeof little && std::strcmp(little, "abc") == 0);
}

/* A resource that counts, and has nothing left when it is told so. */
class counting : public std::pmr::memory_resource
{
  public:
    int given = 0, back = 0;
    std::size_t out = 0;
    bool empty = false;

  private:
    void *do_allocate(std::size_t bytes, std::size_t alignment) override
    {
        if (empty) throw std::bad_alloc();
        given++;
        out += bytes;
        return std::pmr::new_delete_resource()->allocate(bytes, alignment);
    }
    void do_deallocate(void *pointer, std::size_t bytes, std::size_t alignment) override
    {
        back++;
        out -= bytes;
        std::pmr::new_delete_resource()->deallocate(pointer, bytes, alignment);
    }
    bool do_is_equal(const memory_resource &other) const noexcept override
    {
        return this == &other;
    }
};

void an_engine_allocates_from_a_resource()
{
    counting resource;
    attn::engine_options options;
    options.allocate_from(resource);
    {
        const attn::engine engine(options);
        attn::mechanism mechanism(engine, attn::dot{});
        CHECK(resource.given > 0 && resource.out > 0);
        resource.empty = true;
        CHECK_THROWS(attn::mechanism(engine, attn::dot{}), attn::status::nomem, "");
        resource.empty = false;
    }
    CHECK(resource.given == resource.back && resource.out == 0);
    resource.empty = true;
    CHECK(attn::engine::try_create(options).status() == attn::status::nomem);
}

/* With scratch of the caller's, no call asks the engine for any; nor does one made ready after its first run. */
void workspaces_stand_in_for_the_allocator()
{
    constexpr int length = 96, width = 64;
    counting resource;
    attn::engine_options options;
    options.allocate_from(resource);
    options.threads = 1;
    const attn::engine engine(options);
    const attn::mechanism mechanism(engine, attn::scaled_dot{});
    const std::vector<float> in = check::numbers(length * width, 1), w = check::numbers(width * width, 2);
    std::vector<float> out(in.size()), d_in(in.size()), lse(length);
    attn::forward_args args;
    args.query = args.key = {in, {length, width}};
    args.context = {out, {length, width}};
    args.logsumexp = lse;
    attn::backward_args gradients;
    gradients.d_context = {in, {length, width}};
    gradients.d_query = {d_in, {length, width}};
    attn::multihead_options shape;
    shape.query_heads = 4;
    shape.query_dim = width;
    attn::multihead layer(mechanism, shape);
    for (const char *name : {"W_q", "W_k", "W_v", "W_o"}) layer.bind_param(name, {w, {width, width}});
    attn::multihead_args of_layer;
    of_layer.query = {in, {length, width}};
    of_layer.output = {out, {length, width}};
    attn::multihead_backward_args back;
    back.d_output = {in, {length, width}};
    back.d_query = {d_in, {length, width}};
    const auto allocations = [&] {
        const int before = resource.given;
        attn::forward(mechanism, args);
        attn::backward(mechanism, args, gradients);
        layer.forward(of_layer);
        layer.backward(of_layer, back);
        return resource.given - before;
    };
    CHECK(allocations() == 4);
    std::vector<std::byte> scratch[4];
    scratch[0].resize(attn::forward_workspace(mechanism, args));
    scratch[1].resize(attn::backward_workspace(mechanism, args, gradients));
    scratch[2].resize(layer.workspace(of_layer));
    scratch[3].resize(layer.backward_workspace(of_layer, back));
    args.workspace = scratch[0];
    gradients.workspace = scratch[1];
    of_layer.workspace = scratch[2];
    back.workspace = scratch[3];
    CHECK(allocations() == 0);

    args.workspace = {scratch[0].data(), 1};
    CHECK(attn::try_forward(mechanism, args) == attn::status::buffer);
    const std::size_t out_before = resource.out;
    {
        const int given = resource.given;
        attn::forward_call call(mechanism, args); /* has scratch of its own */
        CHECK(resource.given == given);
        call.run();
        CHECK(resource.given == given + 2);
        call.run();
        call.run(args);
        CHECK(resource.given == given + 2);
    }
    CHECK(resource.out == out_before);
    resource.empty = true;
    attn::forward_call call(mechanism, args);
    CHECK(call.try_run() == attn::status::nomem && call.try_run(args) == attn::status::nomem);
    resource.empty = false;
    call.run();
}

void an_engine_is_what_its_options_say()
{
    attn::engine_options options;
    options.threads = 3;
    options.way = attn::way::blas;
    options.kernels = "portable";
    const std::string json = attn::engine(options).describe();
    CHECK(json.find("\"way\":\"blas\"") != std::string::npos);
    CHECK(json.find("\"kernels\":\"portable\"") != std::string::npos);
    CHECK(json.find("\"threads\":3") != std::string::npos);
}

void an_engine_runs_its_jobs_on_an_executor()
{
    std::int64_t items = 0;
    int messages = 0;
    auto pool = [&](std::int64_t count, attn::task task) {
        for (std::int64_t i = count - 1; i >= 0; i--) task(i);
        items += count;
    };
    auto log = [&](attn::log_level level, const char *message) {
        CHECK(level == attn::log_level::info || level == attn::log_level::warning);
        CHECK(message[0] != '\0');
        messages++;
    };
    attn::engine_options options;
    options.threads = 4;
    options.execute_with(pool).log_to(log);
    const attn::engine engine(options);
    const attn::mechanism mechanism(engine, attn::scaled_dot{});
    const std::vector<float> in = check::numbers(8 * 128 * 32, 1);
    std::vector<float> out(in.size()), alone(in.size());
    attn::forward_args args;
    args.query = args.key = {in, {1, 8, 128, 32}};
    args.context = {out, {1, 8, 128, 32}};
    attn::forward(mechanism, args);
    CHECK(items > 0);
    /* There is something to say where the BLAS does not suit the CPU. */
    CHECK((messages > 0) == (engine.describe().find("\"suits_cpu\":false") != std::string::npos));

    attn::engine_options one;
    one.threads = 1;
    one.way = attn::way::automatic;
    args.context = {alone, {1, 8, 128, 32}};
    attn::forward(attn::mechanism(attn::engine(one), attn::scaled_dot{}), args);
    CHECK(out == alone); /* the same bits for any number of threads */
}

/* Of the work that a run gives to its executor, another one of the same call is no part. */
void a_call_that_runs_is_not_run_beside_itself()
{
    attn::forward_call *beside = nullptr;
    attn::status said = attn::status::ok;
    auto pool = [&](std::int64_t count, attn::task task) {
        if (beside != nullptr) said = beside->try_run();
        for (std::int64_t i = 0; i < count; i++) task(i);
    };
    attn::engine_options options;
    options.threads = 4;
    options.execute_with(pool);
    const attn::engine engine(options);
    const attn::mechanism mechanism(engine, attn::scaled_dot{});
    const std::vector<float> in = check::numbers(8 * 128 * 32, 1);
    std::vector<float> out(in.size());
    attn::forward_args args;
    args.query = args.key = {in, {1, 8, 128, 32}};
    args.context = {out, {1, 8, 128, 32}};
    attn::forward_call call(mechanism, args);
    call.run();
    beside = &call;
    call.run();
    CHECK(said == attn::status::argument);
    beside = nullptr;
    call.run();
}

} // namespace

int main()
{
    return check::run({{"a_moved_handle_is_the_same_handle", a_moved_handle_is_the_same_handle},
                       {"a_handle_that_was_moved_from_is_refused_and_can_be_assigned_to",
                        a_handle_that_was_moved_from_is_refused_and_can_be_assigned_to},
                       {"handles_are_adopted_and_released", handles_are_adopted_and_released},
                       {"handles_views_and_calls_allocate_nothing", handles_views_and_calls_allocate_nothing},
                       {"failures_throw_the_librarys_sentence", failures_throw_the_librarys_sentence},
                       {"twins_return_what_the_others_throw", twins_return_what_the_others_throw},
                       {"a_result_keeps_its_sentence", a_result_keeps_its_sentence},
                       {"the_library_tells_of_itself", the_library_tells_of_itself},
                       {"an_engine_allocates_from_a_resource", an_engine_allocates_from_a_resource},
                       {"workspaces_stand_in_for_the_allocator", workspaces_stand_in_for_the_allocator},
                       {"an_engine_is_what_its_options_say", an_engine_is_what_its_options_say},
                       {"an_engine_runs_its_jobs_on_an_executor", an_engine_runs_its_jobs_on_an_executor},
                       {"a_call_that_runs_is_not_run_beside_itself", a_call_that_runs_is_not_run_beside_itself}});
}
