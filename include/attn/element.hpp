/* SPDX-License-Identifier: BSD-3-Clause
 *
 * element.hpp: what a type of elements is: attn::dtype_of says it, here alone. And float16 and bfloat16, for compilers
 * that have no types of their own for numbers of 16 bits. Part of attn.hpp. */
#ifndef ATTN_ELEMENT_HPP
#define ATTN_ELEMENT_HPP

#include "attn.h"

#include <cstdint>
#include <cstring>
#include <type_traits>
#if __cplusplus > 202002L && __has_include(<stdfloat>)
#include <stdfloat>
#endif

namespace attn
{

enum class dtype : attn_dtype {
    f32 = ATTN_F32,
    f64 = ATTN_F64,
    f16 = ATTN_F16,
    bf16 = ATTN_BF16,
    i8 = ATTN_I8,
    boolean = ATTN_BOOL,
    i32 = ATTN_I32,
    i64 = ATTN_I64
};

namespace detail
{

inline std::uint32_t bits_of(float number) noexcept
{
    std::uint32_t bits = 0;
    std::memcpy(&bits, &number, sizeof bits);
    return bits;
}

inline float float_of(std::uint32_t bits) noexcept
{
    float number = 0;
    std::memcpy(&number, &bits, sizeof number);
    return number;
}

/* The bits without the last `dropped` of them, 1 to 24, rounded to the nearest, of two to the even one. */
constexpr std::uint32_t rounded(std::uint32_t bits, std::uint32_t dropped) noexcept
{
    return (bits + (1u << (dropped - 1)) - 1 + (bits >> dropped & 1)) >> dropped;
}

inline std::uint16_t narrowed_to_float16(float number) noexcept
{
    const std::uint32_t bits = bits_of(number), sign = bits >> 16 & 0x8000u, size = bits & 0x7fffffffu;
    std::uint32_t narrow = 0x7c00;                                    /* infinity, also for what is 2^16 or more */
    if (size > 0x7f800000u) narrow = 0x7e00u | (size >> 13 & 0x3ffu); /* NaN */
    if (size < 0x47800000u) narrow = rounded(size - (112u << 23), 13);
    if (size < 0x38800000u) { /* below 2^-14: a multiple of 2^-24 */
        const std::uint32_t dropped = 126u - (size >> 23);
        narrow = dropped > 24 ? 0 : rounded((size & 0x7fffffu) | 0x800000u, dropped);
    }
    return static_cast<std::uint16_t>(sign | narrow);
}

inline float widened_from_float16(std::uint16_t bits) noexcept
{
    const std::uint32_t sign = (bits & 0x8000u) << 16, size = bits & 0x7fffu;
    std::uint32_t wide = (size << 13) + (112u << 23);
    if (size < 0x400u) wide = bits_of(static_cast<float>(size) * 0x1p-24f);
    if (size >= 0x7c00u) wide = 0x7f800000u | (size & 0x3ffu) << 13 | (size > 0x7c00u ? 0x400000u : 0u);
    return float_of(sign | wide);
}

inline std::uint16_t narrowed_to_bfloat16(float number) noexcept
{
    const std::uint32_t bits = bits_of(number);
    const bool nan = (bits & 0x7fffffffu) > 0x7f800000u;
    return static_cast<std::uint16_t>(nan ? bits >> 16 | 0x40u : rounded(bits, 16));
}

inline float widened_from_bfloat16(std::uint16_t bits) noexcept
{
    return float_of(static_cast<std::uint32_t>(bits) << 16);
}

/* A number that is kept in 16 bits, and converted to float to be computed with. Its size and alignment are those of
 * std::uint16_t, so that arrays of the one may be read as arrays of the other's bits. */
template <std::uint16_t narrowed(float) noexcept, float widened(std::uint16_t) noexcept> class half
{
  public:
    half() noexcept = default;

    /* Rounded to the nearest, of two to the even one; to infinity, where it is too large. */
    explicit half(float number) noexcept : bits_(narrowed(number)) {}

    /* Exactly. */
    explicit operator float() const noexcept
    {
        return widened(bits_);
    }

    explicit operator double() const noexcept
    {
        return static_cast<double>(widened(bits_));
    }

    static half of_bits(std::uint16_t bits) noexcept
    {
        half number;
        number.bits_ = bits;
        return number;
    }

    std::uint16_t bits() const noexcept
    {
        return bits_;
    }

  private:
    std::uint16_t bits_;
};

} // namespace detail

/* IEEE binary16: 11 significant bits, up to 65504. */
using float16 = detail::half<detail::narrowed_to_float16, detail::widened_from_float16>;
/* The first half of a float: 8 significant bits, its range. */
using bfloat16 = detail::half<detail::narrowed_to_bfloat16, detail::widened_from_bfloat16>;

namespace detail
{

/* The types that are float16 and bfloat16; the standard's may be the compiler's by another name. */
template <class T, class... Types> inline constexpr bool is_one_of = (std::is_same_v<T, Types> || ...);

/* GCC 12 has it in C++ on x86 alone. */
#if defined(__FLT16_MANT_DIG__) && (defined(__clang__) || __GNUC__ >= 13 || defined(__SSE2__))
__extension__ typedef _Float16 compilers_float16; // NOLINT(modernize-use-using): it takes no __extension__
#else
using compilers_float16 = float16;
#endif
#if defined(__BFLT16_MANT_DIG__) || defined(__ARM_BF16_FORMAT_ALTERNATIVE) ||                                          \
    (defined(__clang__) && __clang_major__ >= 15 && defined(__SSE2__))
__extension__ typedef __bf16 compilers_bfloat16; // NOLINT(modernize-use-using)
#else
using compilers_bfloat16 = bfloat16;
#endif
#if defined(__STDCPP_FLOAT16_T__)
using standard_float16 = std::float16_t;
#else
using standard_float16 = float16;
#endif
#if defined(__STDCPP_BFLOAT16_T__)
using standard_bfloat16 = std::bfloat16_t;
#else
using standard_bfloat16 = bfloat16;
#endif

/* An unsigned char counts as a bool, since std::vector<bool> is no array. */
template <class T> constexpr attn_dtype find_dtype() noexcept
{
    if constexpr (is_one_of<T, float>) return ATTN_F32;
    if constexpr (is_one_of<T, double>) return ATTN_F64;
    if constexpr (is_one_of<T, float16, compilers_float16, standard_float16>) return ATTN_F16;
    if constexpr (is_one_of<T, bfloat16, compilers_bfloat16, standard_bfloat16>) return ATTN_BF16;
    if constexpr (is_one_of<T, signed char>) return ATTN_I8;
    if constexpr (is_one_of<T, bool, unsigned char>) return ATTN_BOOL;
    if constexpr (is_one_of<T, int, long, long long>) {
        return sizeof(T) == 4 ? ATTN_I32 : sizeof(T) == 8 ? ATTN_I64 : 0;
    }
    return 0;
}

} // namespace detail

/* The dtype of an element type, dtype{} where it has none. The 16-bit types of a library can be told by a line:
 *
 *     template <> inline constexpr attn::dtype attn::dtype_of<Eigen::bfloat16> = attn::dtype::bf16;
 */
template <class T> inline constexpr dtype dtype_of = static_cast<dtype>(detail::find_dtype<T>());

namespace detail
{

template <class T> inline constexpr bool is_element = dtype_of<T> != dtype{}; /* a const type is none */

template <class T> using if_element = std::enable_if_t<is_element<std::remove_cv_t<T>>>;
template <class T> using if_mutable_element = std::enable_if_t<is_element<T>>;

} // namespace detail

} // namespace attn

#endif
