/* SPDX-License-Identifier: BSD-3-Clause
 *
 * status.hpp: how calls fail in C++: statuses, results, the exception; and what the library says of itself. Part of
 * attn.hpp. */
#ifndef ATTN_STATUS_HPP
#define ATTN_STATUS_HPP

#include "attn.h"

#include <cstdint>
#include <optional>
#include <utility>

#if defined(__cpp_exceptions) && !defined(ATTN_NO_EXCEPTIONS)
#define ATTN_THROWS 1
#include <stdexcept>
#else
#define ATTN_THROWS 0
#endif

namespace attn
{

enum class [[nodiscard]] status : attn_status{ok = ATTN_OK,
                                              argument = ATTN_ERR_ARGUMENT,
                                              struct_size = ATTN_ERR_STRUCT_SIZE,
                                              shape = ATTN_ERR_SHAPE,
                                              dtype = ATTN_ERR_DTYPE,
                                              overlap = ATTN_ERR_OVERLAP,
                                              overflow = ATTN_ERR_OVERFLOW,
                                              parameter = ATTN_ERR_PARAMETER,
                                              buffer = ATTN_ERR_BUFFER,
                                              nomem = ATTN_ERR_NOMEM,
                                              backend = ATTN_ERR_BACKEND,
                                              unsupported = ATTN_ERR_UNSUPPORTED};

/* "ATTN_ERR_SHAPE: ranks or dimensions do not fit together". A static string. */
inline const char *status_string(status code) noexcept
{
    return attn_status_string(static_cast<attn_status>(code));
}

/* This thread's last failure, in words; valid until its next one. */
inline const char *last_error() noexcept
{
    return attn_last_error();
}

/* The version of the library that is loaded, as "major.minor.patch". */
inline const char *version() noexcept
{
    return attn_version();
}

inline std::int32_t abi_version() noexcept
{
    return attn_abi_version();
}

#if ATTN_THROWS
/* A call that failed: its status, and in what() the library's sentence. */
class ATTN_API error : public std::runtime_error
{
  public:
    explicit error(attn::status code) : std::runtime_error(attn_last_error()), code_(code) {}

    attn::status status() const noexcept
    {
        return code_;
    }

  private:
    attn::status code_;
};
#endif

namespace detail
{

#if ATTN_THROWS
[[noreturn]] inline void fail(status code)
{
    throw error(code);
}

inline void check(status code)
{
    if (code != status::ok) fail(code);
}
#endif

} // namespace detail

/* A value, or the status of the call that could not make it. */
template <class T> class [[nodiscard]] result
{
  public:
    result(T value) noexcept : value_(std::move(value)), code_(attn::status::ok) {}

    result(attn::status failure) noexcept : code_(failure) {}

    explicit operator bool() const noexcept
    {
        return value_.has_value();
    }

    attn::status status() const noexcept
    {
        return code_;
    }

    /* The value, which must be there. */
    T &operator*() &noexcept
    {
        return *value_;
    }

    const T &operator*() const &noexcept
    {
        return *value_;
    }

    T &&operator*() &&noexcept
    {
        return *std::move(value_);
    }

    T *operator->() noexcept
    {
        return &*value_;
    }

    const T *operator->() const noexcept
    {
        return &*value_;
    }

#if ATTN_THROWS
    /* The value, or an exception: while the failure is this thread's last. */
    T &value() &
    {
        detail::check(code_);
        return *value_;
    }

    T value() &&
    {
        detail::check(code_);
        return *std::move(value_);
    }
#endif

  private:
    std::optional<T> value_;
    attn::status code_;
};

namespace detail
{

/* An argument struct of attn.h as its _INIT macro makes it: zero is the default of all but the size. */
template <class Args> Args sized() noexcept
{
    Args args{};
    args.struct_size = static_cast<std::uint32_t>(sizeof(Args));
    return args;
}

/* What a C function returned and where it wrote, as a result. By reference: it is read after the call is made. */
template <class T, class From> result<T> made(attn_status code, const From &from) noexcept
{
    if (code != ATTN_OK) return static_cast<status>(code);
    return T(from);
}

} // namespace detail

/* The value of a constant of attn.h, or the size of a struct, as the loaded library has it: attn_constant. */
inline result<std::int64_t> try_constant(const char *name) noexcept
{
    std::int64_t value = 0;
    return detail::made<std::int64_t>(attn_constant(name, &value), value);
}

#if ATTN_THROWS
inline std::int64_t constant(const char *name)
{
    return try_constant(name).value();
}
#endif

} // namespace attn

#endif
