/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_tensor.cpp: views: of what they can be made, and of what not; what they hold; when they are refused. */
#include "check.hpp"

#include <array>
#include <string>
#include <type_traits>
#if __cplusplus >= 202002L
#include <span>
#endif

namespace
{

using attn::buffer;
using attn::const_tensor;
using attn::dims;
using attn::tensor;

/* Outputs are made of memory that can be written to, inputs of any; neither of a temporary, nor of other elements. */
static_assert(std::is_constructible_v<tensor, std::vector<float> &, dims>);
static_assert(!std::is_constructible_v<tensor, const std::vector<float> &, dims>);
static_assert(!std::is_constructible_v<tensor, const std::array<double, 4> &>);
static_assert(!std::is_constructible_v<tensor, const float (&)[2][2]>);
static_assert(!std::is_constructible_v<tensor, const float *, dims>);
static_assert(std::is_constructible_v<tensor, float *, dims>);
static_assert(!std::is_constructible_v<tensor, const void *, attn::dtype, dims>);
static_assert(!std::is_constructible_v<tensor, std::vector<float>, dims>);
static_assert(!std::is_constructible_v<tensor, const const_tensor &>);
static_assert(std::is_constructible_v<const_tensor, const std::vector<float> &, dims>);
static_assert(std::is_constructible_v<const_tensor, const float *, dims>);
static_assert(std::is_constructible_v<const_tensor, const tensor &>);
static_assert(!std::is_constructible_v<const_tensor, std::vector<float>, dims>);
static_assert(!std::is_constructible_v<const_tensor, const std::vector<float>, dims>);
static_assert(!std::is_constructible_v<const_tensor, std::vector<bool> &>);
static_assert(!std::is_constructible_v<const_tensor, std::string &>);
static_assert(!std::is_constructible_v<const_tensor, std::vector<std::string> &, dims>);
static_assert(std::is_constructible_v<buffer, std::vector<std::byte> &>);
static_assert(!std::is_constructible_v<buffer, const std::vector<std::byte> &>);

/* Nothing throws that makes or moves a view. */
static_assert(std::is_nothrow_constructible_v<tensor, std::vector<float> &, dims>);
static_assert(std::is_trivially_copyable_v<tensor> && std::is_trivially_copyable_v<attn::forward_args>);

template <class T> attn::dtype type_of()
{
    T data[2] = {};
    return const_tensor(data).type();
}

void element_types_have_dtypes()
{
    CHECK(type_of<float>() == attn::dtype::f32);
    CHECK(type_of<double>() == attn::dtype::f64);
    CHECK(type_of<std::int8_t>() == attn::dtype::i8);
    CHECK(type_of<bool>() == attn::dtype::boolean);
    CHECK(type_of<unsigned char>() == attn::dtype::boolean);
    CHECK(type_of<std::int32_t>() == attn::dtype::i32);
    CHECK(type_of<std::int64_t>() == attn::dtype::i64);
    CHECK(type_of<long long>() == attn::dtype::i64);
    const std::uint16_t halves[4] = {};
    CHECK(const_tensor(halves, attn::dtype::bf16, {2, 2}).type() == attn::dtype::bf16);
}

void shapes_are_contiguous_rows()
{
    std::vector<float> data(120);
    const std::size_t n = 4;
    const tensor view(data, {2, 3, n, 5L});
    CHECK(view.data() == data.data());
    CHECK(view.shape().count() == 4 && view.shape().elements() == 120);
    CHECK(view.shape()[2] == 4 && view.shape()[3] == 5);
    CHECK(view.strides()[0] == 60 && view.strides()[1] == 20 && view.strides()[2] == 5 && view.strides()[3] == 1);

    /* As attn_tensor_init does it. */
    const std::int64_t shape[3] = {2, 0, 5};
    attn_tensor in_c;
    CHECK(attn_tensor_init(&in_c, data.data(), ATTN_F32, 3, shape) == ATTN_OK);
    const const_tensor empty(data, {2, 0, 5});
    for (std::int32_t d = 0; d < 3; d++) CHECK(empty.shape()[d] == in_c.shape[d]);
}

void containers_have_shapes()
{
    std::vector<std::int64_t> lengths = {1, 2, 3};
    CHECK(const_tensor(lengths).shape().count() == 1 && const_tensor(lengths).shape()[0] == 3);
    float rows[2][5] = {}, batch[1][2][3][4] = {};
    CHECK(tensor(rows).shape().count() == 2 && tensor(rows).shape()[1] == 5 && tensor(rows).strides()[0] == 5);
    CHECK(tensor(batch).shape().count() == 4 && tensor(batch).shape()[3] == 4);
    CHECK(tensor(batch).data() == &batch[0][0][0][0]);
    CHECK(tensor(rows, {1, 1, 2, 5}).shape().count() == 4);
    std::array<double, 6> array = {};
    CHECK(tensor(array, {2, 3}).strides()[0] == 3);
#if __cplusplus >= 202002L
    const std::span<float> span(&rows[0][0], 10);
    CHECK(tensor(span).shape()[0] == 10);
    CHECK(tensor(span.subspan(4), {2, 3}).data() == &rows[0][4]);
    CHECK(const_tensor(std::span<const float>(span), {2, 5}).data() == &rows[0][0]);
#endif
}

void what_is_left_out_is_null()
{
    CHECK(!const_tensor() && const_tensor().get() == nullptr && tensor().data() == nullptr);
    std::vector<float> data(4);
    const_tensor view = {data, {2, 2}};
    CHECK(view && view.get() != nullptr);
    view = {};
    CHECK(!view);
}

void strides_are_those_given()
{
    float data[12] = {};
    const const_tensor transposed(data, {3, 4}, {1, 3});
    CHECK(transposed.strides()[0] == 1 && transposed.strides()[1] == 3);
    const const_tensor reversed(&data[11], {12}, {-1});
    CHECK(reversed.strides()[0] == -1 && reversed.data() == &data[11]);
    CHECK(const_tensor(data, {7, 12}, {0, 1}).strides()[0] == 0);
}

attn::status status_of(const attn::mechanism &mechanism, const const_tensor &query, const tensor &context)
{
    attn::forward_args args;
    args.query = args.key = query;
    args.context = context;
    return attn::try_forward(mechanism, args);
}

bool said(const char *words)
{
    const bool same = std::strcmp(attn::last_error(), words) == 0;
    if (!same) std::printf("%s\n", attn::last_error());
    return same;
}

/* The last element of a view is the container's last one, or the view is refused. */
void views_beyond_their_container_are_refused()
{
    const attn::engine engine;
    const attn::mechanism mechanism(engine, attn::dot{});
    std::vector<float> in(12), out(12), none;
    const tensor context(out, {3, 4});
    CHECK(status_of(mechanism, {in, {3, 4}}, context) == attn::status::ok);
    CHECK(status_of(mechanism, {in, {3, 5}}, {out, {3, 4}}) == attn::status::shape);
    CHECK(said("attn_forward: query reaches from element 0 to element 14 of memory that has 12"));
    CHECK(status_of(mechanism, {in, {3, 4}, {1, 3}}, context) == attn::status::ok);
    CHECK(status_of(mechanism, {in, {3, 4}, {1, 4}}, context) == attn::status::shape);
    CHECK(status_of(mechanism, {in, {3, 4}, {-4, 1}}, context) == attn::status::shape);
    CHECK(said("attn_forward: query reaches from element -8 to element 3 of memory that has 12"));
    CHECK(status_of(mechanism, {in, {3, 4}, {4}}, context) == attn::status::shape);
    CHECK(said("attn_forward: query has 2 dimensions, but 1 strides"));
    CHECK(status_of(mechanism, {in.data(), {3, 4}, {4}}, context) == attn::status::shape);
    CHECK(status_of(mechanism, {in, {3, 4}}, {out, {3, 5}}) == attn::status::shape);
    CHECK(said("attn_forward: context reaches from element 0 to element 14 of memory that has 12"));
    CHECK(status_of(mechanism, {none, {1, 1}}, {out, {1, 1}}) == attn::status::shape);
    CHECK(said("attn_forward: query reaches from element 0 to element 0 of memory that has 0"));
    CHECK(status_of(mechanism, {in, {INT64_MAX, INT64_MAX}}, context) == attn::status::overflow);
    CHECK(status_of(mechanism, {in.data(), {INT64_MAX, INT64_MAX}}, context) == attn::status::overflow);
    CHECK(status_of(mechanism, {in, {-3, 4}}, context) == attn::status::shape);
    CHECK(status_of(mechanism, {in, dims()}, context) == attn::status::shape);
    CHECK(said("attn_forward: query has 0 dimensions, but 1 to 4 are taken"));
    CHECK(status_of(mechanism, {none, {0, 4}}, {none, {0, 4}}) == attn::status::ok);
    CHECK(const_tensor(in, {3, 5}).shape().count() == 0);
}

/* What is empty reaches nothing, and a dimension of 1 takes no step. */
void strides_that_are_never_taken_do_not_matter()
{
    const attn::engine engine;
    const attn::mechanism mechanism(engine, attn::dot{});
    std::vector<float> in(4), out(4), none;
    CHECK(status_of(mechanism, {in, {1, 4}, {INT64_MAX, 1}}, {out, {1, 4}, {-9, 1}}) == attn::status::ok);
    CHECK(status_of(mechanism, {none, {3, 0}, {-4, 1}}, {none, {3, 0}, {INT64_MIN, 7}}) == attn::status::shape);
    CHECK(std::strstr(attn::last_error(), "memory that has") == nullptr); /* no queries of 0 dimensions, that is all */
    CHECK(status_of(mechanism, {none, {2, 0, 4}, {-9, 4, 1}}, {none, {2, 0, 4}, {INT64_MIN, 7, 1}}) ==
          attn::status::ok);
}

void integers_do_not_wrap()
{
    const attn::engine engine;
    const attn::mechanism mechanism(engine, attn::dot{});
    std::vector<float> in(12), out(12);
    const std::size_t npos = SIZE_MAX;
    CHECK(dims(npos)[0] == INT64_MAX && dims(UINT64_C(1) << 63)[0] == INT64_MAX);
    CHECK(dims(INT64_MIN)[0] == INT64_MIN && dims(INT64_MAX)[0] == INT64_MAX && dims(-1)[0] == -1);
    CHECK(dims(static_cast<std::uint64_t>(INT64_MAX), std::uint8_t{255}, true)[1] == 255);
    CHECK(status_of(mechanism, {in, {3, 4}, {npos - 3, 1}}, {out, {3, 4}}) == attn::status::overflow);
    CHECK(status_of(mechanism, {in, {npos, 4}}, {out, {3, 4}}) == attn::status::overflow);
}

#if __cplusplus >= 202002L
void arguments_have_names()
{
    const float query[1][2] = {{1, 0}}, key[2][2] = {{1, 0}, {0, 1}};
    std::vector<float> value = {1, 0}, context(1);
    const attn::engine engine({.threads = 1});
    const attn::mechanism mechanism(engine, attn::general{.query_dim = 2, .key_dim = 2});
    CHECK(attn::try_forward(mechanism,
                            {.query = query, .key = key, .value = {value, {2, 1}}, .context = {context, {1, 1}}}) ==
          attn::status::parameter);
    const attn::mechanism dot(engine, attn::dot{});
    attn::forward(dot, {.query = query, .key = key, .value = {value, {2, 1}}, .context = {context, {1, 1}}});
    CHECK_NEAR(context[0], std::exp(1.0) / (std::exp(1.0) + 1), 1e-6);
}
#else
void arguments_have_names() {}
#endif

} // namespace

int main()
{
    return check::run({{"element_types_have_dtypes", element_types_have_dtypes},
                       {"shapes_are_contiguous_rows", shapes_are_contiguous_rows},
                       {"containers_have_shapes", containers_have_shapes},
                       {"what_is_left_out_is_null", what_is_left_out_is_null},
                       {"strides_are_those_given", strides_are_those_given},
                       {"views_beyond_their_container_are_refused", views_beyond_their_container_are_refused},
                       {"strides_that_are_never_taken_do_not_matter", strides_that_are_never_taken_do_not_matter},
                       {"integers_do_not_wrap", integers_do_not_wrap},
                       {"arguments_have_names", arguments_have_names}});
}
