/* SPDX-License-Identifier: BSD-3-Clause
 *
 * engine.hpp: attn::engine, the means to compute, and what every handle is. Part of attn.hpp. */
#ifndef ATTN_ENGINE_HPP
#define ATTN_ENGINE_HPP

#include "attn.h"
#include "status.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace attn
{

namespace detail
{

/* Owns a handle of the library's; moves, and does not copy. */
template <class T, void (*Destroy)(T *)> class handle
{
  public:
    /* The handle for attn.h; NULL where it was moved from. */
    T *get() const noexcept
    {
        return owned_.get();
    }

    explicit operator bool() const noexcept
    {
        return owned_ != nullptr;
    }

    /* Gives the handle to the caller, who then destroys it. */
    [[nodiscard]] T *release() noexcept
    {
        return owned_.release();
    }

  protected:
    explicit handle(T *adopted) noexcept : owned_(adopted) {}

  private:
    struct destroyer {
        void operator()(T *owned) const noexcept
        {
            Destroy(owned);
        }
    };
    std::unique_ptr<T, destroyer> owned_;
};

} // namespace detail

enum class way : attn_way { automatic = ATTN_WAY_AUTOMATIC, blas = ATTN_WAY_BLAS, tiles = ATTN_WAY_TILES };

enum class log_level : attn_log_level { info = ATTN_LOG_INFO, warning = ATTN_LOG_WARNING };

/* A job that an executor runs: task(i) for each i in 0 .. count - 1. */
class task
{
  public:
    task(attn_task_fn run, void *data) noexcept : run_(run), data_(data) {}

    void operator()(std::int64_t index) const noexcept
    {
        run_(data_, index);
    }

  private:
    attn_task_fn run_;
    void *data_;
};

/* attn_engine_options. The three functions at its end are for objects in place of pairs of pointers; an object must
 * outlive the engine and all that keeps it alive, but for the log's, which is used only while it is created. An
 * exception that leaves it ends the program, but for one of an allocation: that is no memory. */
struct engine_options {
    std::int32_t threads = 0;
    attn::way way = attn::way::automatic;
    const char *kernels = nullptr;
    attn_allocate_fn allocate = nullptr;
    attn_release_fn release = nullptr;
    void *allocator_data = nullptr;
    attn_execute_fn execute = nullptr;
    void *executor_data = nullptr;
    attn_log_fn log = nullptr;
    void *log_data = nullptr;

    /* Memory from a std::pmr::memory_resource, or from whatever has its allocate and deallocate. All of it is aligned
     * to 64 bytes, since the library does not tell the alignment again when it gives memory back. */
    template <class Resource> engine_options &allocate_from(Resource &resource) noexcept
    {
        allocator_data = &resource;
        allocate = [](void *data, std::size_t bytes, std::size_t) noexcept -> void * {
#if ATTN_THROWS
            try {
                return static_cast<Resource *>(data)->allocate(bytes, most_alignment);
            } catch (...) {
                return nullptr;
            }
#else
            return static_cast<Resource *>(data)->allocate(bytes, most_alignment);
#endif
        };
        release = [](void *data, void *pointer, std::size_t bytes) noexcept {
            static_cast<Resource *>(data)->deallocate(pointer, bytes, most_alignment);
        };
        return *this;
    }

    /* Jobs to pool(count, task): an attn_execute_fn. */
    template <class Pool> engine_options &execute_with(Pool &pool) noexcept
    {
        executor_data = &pool;
        execute = [](void *data, std::int64_t count, attn_task_fn run, void *task_data) noexcept {
            (*static_cast<Pool *>(data))(count, task(run, task_data));
        };
        return *this;
    }

    /* Messages to sink(log_level, const char *). */
    template <class Sink> engine_options &log_to(Sink &sink) noexcept
    {
        log_data = &sink;
        log = [](void *data, attn_log_level level, const char *message) noexcept {
            (*static_cast<Sink *>(data))(static_cast<log_level>(level), message);
        };
        return *this;
    }

  private:
    static constexpr std::size_t most_alignment = 64;
};

namespace detail
{

inline attn_engine_options lower(const engine_options &options) noexcept
{
    auto c = sized<attn_engine_options>();
    c.threads = options.threads;
    c.way = static_cast<attn_way>(options.way);
    c.kernels = options.kernels;
    c.allocate = options.allocate;
    c.release = options.release;
    c.allocator_data = options.allocator_data;
    c.execute = options.execute;
    c.executor_data = options.executor_data;
    c.log = options.log;
    c.log_data = options.log_data;
    return c;
}

} // namespace detail

/* attn_engine. Mechanisms and layers keep it alive, so it may go before them. */
class engine : public detail::handle<attn_engine, attn_engine_destroy>
{
  public:
    /* Takes over a handle of attn.h; nullptr: an empty one, to be assigned to. */
    explicit engine(attn_engine *adopted) noexcept : handle(adopted) {}

    static result<engine> try_create(const engine_options &options = {}) noexcept
    {
        const attn_engine_options c = detail::lower(options);
        attn_engine *made = nullptr;
        const attn_status code = attn_engine_create(&c, &made);
        return detail::made<engine>(code, made);
    }

    /* As attn_engine_describe: bytes is the room on entry, the need on return; no json: only the need is told. */
    status try_describe(char *json, std::size_t &bytes) const noexcept
    {
        return static_cast<status>(attn_engine_describe(get(), json, &bytes));
    }

#if ATTN_THROWS
    explicit engine(const engine_options &options = {}) : engine(try_create(options).value()) {}

    /* JSON: CPU, kernels, threads, BLAS. */
    std::string describe() const
    {
        std::size_t bytes = 0;
        detail::check(try_describe(nullptr, bytes));
        std::string json(bytes, '\0');
        detail::check(try_describe(&json[0], bytes));
        json.resize(bytes - 1);
        return json;
    }
#endif
};

} // namespace attn

#endif
