/* SPDX-License-Identifier: BSD-3-Clause
 *
 * tensor.hpp: views of the caller's memory: const_tensor of what is read, tensor of what is written, buffer of scratch.
 * Part of attn.hpp. */
#ifndef ATTN_TENSOR_HPP
#define ATTN_TENSOR_HPP

#include "attn.h"
#include "element.hpp"

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <type_traits>
#if __cplusplus >= 202002L && __has_include(<span>)
#include <span>
#endif

namespace attn
{

namespace detail
{

/* The first element of a container of contiguous elements, or of an array of any rank. */
template <class C> constexpr auto first_of(C &container) noexcept
{
    if constexpr (std::is_array_v<C>) {
        if constexpr (std::rank_v < C >> 1) {
            return first_of(container[0]);
        } else {
            return &container[0];
        }
    } else {
        return std::data(container);
    }
}

template <class C> constexpr std::size_t elements_of(C &container) noexcept
{
    if constexpr (std::is_array_v<C>) {
        return sizeof(C) / sizeof(std::remove_all_extents_t<C>);
    } else {
        return std::size(container);
    }
}

/* The type of the elements: const where the container's are. */
template <class C, class = void> struct element {
};
template <class C> struct element<C, std::enable_if_t<std::is_array_v<C>>> {
    using type = std::remove_all_extents_t<C>;
};
template <class C>
struct element<C, std::enable_if_t<!std::is_array_v<C>, std::void_t<decltype(std::data(std::declval<C &>())),
                                                                    decltype(std::size(std::declval<C &>()))>>> {
    using type = std::remove_pointer_t<decltype(std::data(std::declval<C &>()))>;
};
template <class C> using element_t = typename element<C>::type;

} // namespace detail

/* 1 to 4 integers: a shape, or strides in elements. {batch, heads, length, dim} of any integer types. */
class dims
{
  public:
    constexpr dims() noexcept = default;

    template <class... N,
              class = std::enable_if_t<(sizeof...(N) >= 1 && sizeof...(N) <= 4 && (std::is_integral_v<N> && ...))>>
    constexpr dims(N... n) noexcept : at_{fitted(n)...}, count_(sizeof...(N))
    {
    }

    /* Any number of them, as attn_param_info and attn_tensor have them. */
    constexpr dims(const std::int64_t *n, std::int32_t count) noexcept : count_(count)
    {
        for (std::int32_t d = 0; d < count && d < 4; d++) at_[d] = n[d];
    }

    constexpr std::int32_t count() const noexcept
    {
        return count_;
    }

    constexpr std::int64_t operator[](std::int32_t d) const noexcept
    {
        return at_[d];
    }

    /* The product: how many elements a tensor of this shape has. 0 where it is too large to be addressed. */
    constexpr std::int64_t elements() const noexcept
    {
        std::int64_t product = count_ > 0;
        for (std::int32_t d = 0; d < count_ && d < 4; d++) {
            if (__builtin_mul_overflow(product, at_[d], &product)) return 0;
        }
        return product;
    }

  private:
    /* An integer that attn.h has no room for becomes the greatest that it has, which no call takes: nothing wraps. */
    template <class N> static constexpr std::int64_t fitted(N n) noexcept
    {
        const auto to = static_cast<std::int64_t>(n);
        return static_cast<N>(to) == n && (std::is_signed_v<N> || to >= 0) ? to : INT64_MAX;
    }

    std::int64_t at_[4] = {0, 0, 0, 0};
    std::int32_t count_ = 0;
};

namespace detail
{

/* A view of more than can be addressed, which is what every call says of it. */
inline void spoil(attn_tensor &tensor) noexcept
{
    for (std::int64_t &stride : tensor.stride) stride = INT64_MAX;
}

inline void set_strides(attn_tensor &tensor, const dims &strides) noexcept
{
    std::int64_t step = 1;
    for (std::int32_t d = tensor.ndim - 1; d >= 0; d--) {
        tensor.stride[d] = strides.count() == 0 ? step : strides[d];
        if (__builtin_mul_overflow(step, tensor.shape[d], &step) && strides.count() == 0) return spoil(tensor);
    }
}

inline attn_tensor describe(const void *data, dtype type, const dims &shape, const dims &strides) noexcept
{
    attn_tensor tensor = {
        const_cast<void *>(data), static_cast<attn_dtype>(type), shape.count(), {0, 0, 0, 0}, {0, 0, 0, 0}};
    if (tensor.ndim < 1 || tensor.ndim > 4) return tensor; /* which every call refuses */
    if (strides.count() != 0 && strides.count() != shape.count()) {
        tensor.shape[0] = shape.count();
        tensor.stride[0] = strides.count();
        tensor.ndim = ATTN_VIEW_STRIDES;
        return tensor;
    }
    for (std::int32_t d = 0; d < tensor.ndim; d++) tensor.shape[d] = shape[d];
    set_strides(tensor, strides);
    return tensor;
}

/* Makes a view that reaches beyond the elements that there are from its data on one that every call refuses. */
inline void confine(attn_tensor &tensor, std::size_t elements) noexcept
{
    std::int64_t first = 0, last = 0;
    if (tensor.ndim < 1 || tensor.ndim > 4) return;
    for (std::int32_t d = 0; d < tensor.ndim; d++) {
        if (tensor.shape[d] <= 0) return; /* reaches nothing, or is refused */
    }
    for (std::int32_t d = 0; d < tensor.ndim; d++) {
        std::int64_t reach = 0;
        if (__builtin_mul_overflow(tensor.shape[d] - 1, tensor.stride[d], &reach)) return spoil(tensor);
        std::int64_t &farthest = reach < 0 ? first : last;
        if (__builtin_add_overflow(farthest, reach, &farthest)) return spoil(tensor);
    }
    if (first == 0 && static_cast<std::uint64_t>(last) < elements) return;
    tensor.ndim = ATTN_VIEW_BEYOND;
    tensor.shape[0] = static_cast<std::int64_t>(elements);
    tensor.stride[0] = first;
    tensor.stride[1] = last;
}

template <class C> attn_tensor describe_container(C &container, const dims &shape, const dims &strides) noexcept
{
    using element = std::remove_cv_t<element_t<C>>;
    attn_tensor tensor = describe(first_of(container), dtype_of<element>, shape, strides);
    confine(tensor, elements_of(container));
    return tensor;
}

/* The shape that a container has by itself: of an array of any rank its extents, of all others their size. */
template <class C> constexpr dims shape_of(C &container) noexcept
{
    if constexpr (std::rank_v<C> == 4) {
        return {std::extent_v<C, 0>, std::extent_v<C, 1>, std::extent_v<C, 2>, std::extent_v<C, 3>};
    } else if constexpr (std::rank_v<C> == 3) {
        return {std::extent_v<C, 0>, std::extent_v<C, 1>, std::extent_v<C, 2>};
    } else if constexpr (std::rank_v<C> == 2) {
        return {std::extent_v<C, 0>, std::extent_v<C, 1>};
    } else {
        static_assert(std::rank_v<C> < 2, "a tensor has at most 4 dimensions");
        return {elements_of(container)};
    }
}

template <class C> using if_container = if_element<element_t<C>>;
template <class C> using if_mutable_container = if_mutable_element<element_t<C>>;
template <class C>
using if_const_container =
    std::enable_if_t<std::is_const_v<element_t<C>> && is_element<std::remove_cv_t<element_t<C>>>>;

} // namespace detail

/* A view of memory that is read: an attn_tensor over float, double, numbers of 16 bits (attn::float16, std::float16_t,
 * _Float16; attn::bfloat16, std::bfloat16_t, __bf16), std::int8_t, the integers, bool, and unsigned char for bool. It
 * is made of
 *
 *     {container, shape}       std::vector, std::array, std::span, an array of any rank: whatever has data() and size()
 *     {container, shape, strides}
 *     {pointer, shape}, {pointer, shape, strides}
 *     container                a vector: of its own size; an array of two ranks: of both
 *
 * contiguous and row-major where no strides are given. By default it is left out, like a NULL in attn.h. A container
 * that is smaller than what shape and strides reach, or a shape that has not as many entries as the strides, makes a
 * view that every call refuses: ATTN_ERR_SHAPE, "reaches from element 0 to element 14 of memory that has 12". */
class const_tensor
{
  public:
    constexpr const_tensor() noexcept = default;

    template <class T, class = detail::if_element<T>>
    const_tensor(T *data, const dims &shape, const dims &strides = {}) noexcept
        : view_(detail::describe(data, dtype_of<std::remove_cv_t<T>>, shape, strides))
    {
    }

    template <class C, class = detail::if_container<C>>
    const_tensor(C &container, const dims &shape, const dims &strides = {}) noexcept
        : view_(detail::describe_container(container, shape, strides))
    {
    }

    template <class C, class = detail::if_container<C>>
    const_tensor(C &container) noexcept
        : view_(detail::describe_container(container, detail::shape_of(container), dims{}))
    {
    }

    template <class C, class = detail::if_container<const C>> const_tensor(const C &&container) = delete;
    template <class C, class = detail::if_container<const C>>
    const_tensor(const C &&container, const dims &shape, const dims &strides = {}) = delete;

#if defined(__cpp_lib_span)
    template <class T, std::size_t N, class = detail::if_element<T>>
    const_tensor(std::span<T, N> elements, const dims &shape, const dims &strides = {}) noexcept
        : view_(detail::describe_container(elements, shape, strides))
    {
    }

    template <class T, std::size_t N, class = detail::if_element<T>>
    const_tensor(std::span<T, N> elements) noexcept
        : view_(detail::describe_container(elements, detail::shape_of(elements), dims{}))
    {
    }
#endif

    /* Elements that C++ has no type for. */
    const_tensor(const void *data, attn::dtype type, const dims &shape, const dims &strides = {}) noexcept
        : view_(detail::describe(data, type, shape, strides))
    {
    }

    explicit const_tensor(const attn_tensor &view) noexcept : view_(view) {}

    /* Whether there is a view: not so where it was left out. */
    explicit operator bool() const noexcept
    {
        return get() != nullptr;
    }

    const void *data() const noexcept
    {
        return view_.data;
    }

    attn::dtype type() const noexcept
    {
        return static_cast<attn::dtype>(view_.dtype);
    }

    dims shape() const noexcept
    {
        return {view_.shape, rank()};
    }

    dims strides() const noexcept
    {
        return {view_.stride, rank()};
    }

    /* As attn.h wants it: NULL where it was left out. */
    const attn_tensor *get() const noexcept
    {
        return view_.ndim != 0 || view_.dtype != 0 ? &view_ : nullptr;
    }

  private:
    std::int32_t rank() const noexcept
    {
        return view_.ndim >= 1 && view_.ndim <= 4 ? view_.ndim : 0;
    }

    attn_tensor view_ = {nullptr, 0, 0, {0, 0, 0, 0}, {0, 0, 0, 0}};
};

/* A view of memory that is written: as const_tensor, but of elements that are not const. Also an input. */
class tensor : public const_tensor
{
  public:
    constexpr tensor() noexcept = default;

    template <class T, class = detail::if_mutable_element<T>>
    tensor(T *data, const dims &shape, const dims &strides = {}) noexcept : const_tensor(data, shape, strides)
    {
    }

    template <class C, class = detail::if_mutable_container<C>>
    tensor(C &container, const dims &shape, const dims &strides = {}) noexcept : const_tensor(container, shape, strides)
    {
    }

    template <class C, class = detail::if_mutable_container<C>> tensor(C &container) noexcept : const_tensor(container)
    {
    }

    /* An output is no view of const memory, nor of a temporary. */
    template <class T, class = detail::if_element<T>>
    tensor(const T *data, const dims &shape, const dims &strides = {}) = delete;
    template <class C, class = detail::if_const_container<const C>>
    tensor(const C &container, const dims &shape, const dims &strides = {}) = delete;
    template <class C, class = detail::if_const_container<const C>> tensor(const C &container) = delete;

#if defined(__cpp_lib_span)
    template <class T, std::size_t N, class = detail::if_mutable_element<T>>
    tensor(std::span<T, N> elements, const dims &shape, const dims &strides = {}) noexcept
        : const_tensor(elements, shape, strides)
    {
    }

    template <class T, std::size_t N, class = detail::if_mutable_element<T>>
    tensor(std::span<T, N> elements) noexcept : const_tensor(elements)
    {
    }
#endif

    tensor(void *data, attn::dtype type, const dims &shape, const dims &strides = {}) noexcept
        : const_tensor(data, type, shape, strides)
    {
    }

    explicit tensor(const attn_tensor &view) noexcept : const_tensor(view) {}

    void *data() const noexcept
    {
        return get() == nullptr ? nullptr : get()->data;
    }
};

/* Bytes of the caller's that are written: a workspace, what is saved between calls. Of any container whose elements are
 * not const, or {pointer, bytes}. */
struct buffer {
    void *data = nullptr;
    std::size_t size = 0;

    constexpr buffer() noexcept = default;

    constexpr buffer(void *bytes, std::size_t count) noexcept : data(bytes), size(count) {}

    template <class C, class = std::enable_if_t<!std::is_const_v<detail::element_t<C>> &&
                                                std::is_trivially_copyable_v<detail::element_t<C>>>>
    buffer(C &container) noexcept
        : data(detail::first_of(container)), size(detail::elements_of(container) * sizeof(detail::element_t<C>))
    {
    }
};

} // namespace attn

#endif
