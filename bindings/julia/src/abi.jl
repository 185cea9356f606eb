# SPDX-License-Identifier: BSD-3-Clause
# abi.jl: attn.h as ccall has it: the structs, what each function takes, and that the status it returns is checked.

const ABI = 0 # the binary interface that is written down here

struct Tensor
    data::Ptr{Cvoid}
    dtype::Int32
    ndim::Int32
    shape::NTuple{4,Int64}
    stride::NTuple{4,Int64}
end

const TensorPtr = Ptr{Tensor}

# A struct that begins with its size. A new one is zero but for that; whoever passes it passes its address.
abstract type Sized end

function blank!(args::Sized)
    GC.@preserve args ccall(:memset, Ptr{Cvoid}, (Ptr{Cvoid}, Cint, Csize_t), pointer_from_objref(args), 0, sizeof(args))
    args.struct_size = sizeof(args)
    return args
end

Base.unsafe_convert(::Type{Ptr{T}}, args::T) where {T<:Sized} = Ptr{T}(pointer_from_objref(args))

mutable struct EngineOptions <: Sized
    struct_size::UInt32
    threads::Int32
    way::Int32
    reserved::Int32
    allocate::Ptr{Cvoid}
    release::Ptr{Cvoid}
    allocator_data::Ptr{Cvoid}
    execute::Ptr{Cvoid}
    executor_data::Ptr{Cvoid}
    log::Ptr{Cvoid}
    log_data::Ptr{Cvoid}
    kernels::Ptr{UInt8}
    EngineOptions() = blank!(new())
end

mutable struct ParamInfo <: Sized
    struct_size::UInt32
    ndim::Int32
    shape::NTuple{4,Int64}
    elements::Int64
    name::Ptr{UInt8}
    bound::Int32
    reserved::Int32
    ParamInfo() = blank!(new())
end

mutable struct RopeOptions <: Sized
    struct_size::UInt32
    layout::Int32
    dimensions::Int64
    base::Float64
    first::Int64
    positions::TensorPtr
    inverse::Int32
    reserved::Int32
    RopeOptions() = blank!(new())
end

mutable struct MemoryOptions <: Sized
    struct_size::UInt32
    flags::UInt32
    dtype::Int32
    reserved::Int32
    batch::Int64
    key_heads::Int64
    key_dim::Int64
    value_dim::Int64
    capacity::Int64
    rope::Ptr{RopeOptions}
    page::Int64
    MemoryOptions() = blank!(new())
end

mutable struct PagesAppendArgs <: Sized
    struct_size::UInt32
    reserved::Int32
    slots::TensorPtr
    key::TensorPtr
    value::TensorPtr
    key_pages::TensorPtr
    value_pages::TensorPtr
    key_scales::TensorPtr
    value_scales::TensorPtr
    PagesAppendArgs() = blank!(new())
end

mutable struct WeightsStats <: Sized
    struct_size::UInt32
    reserved::Int32
    entropy::TensorPtr
    strongest::TensorPtr
    key_sums::TensorPtr
    WeightsStats() = blank!(new())
end

mutable struct ForwardArgs <: Sized
    struct_size::UInt32
    scores_stage::Int32
    query::TensorPtr
    key::TensorPtr
    value::TensorPtr
    mask::TensorPtr
    bias::TensorPtr
    key_lengths::TensorPtr
    query_start::Int64
    context::TensorPtr
    weights::TensorPtr
    scores::TensorPtr
    logsumexp::TensorPtr
    workspace::Ptr{UInt8}
    workspace_size::Csize_t
    dropout::Float64
    dropout_seed::UInt64
    dropout_offset::UInt64
    memory::Ptr{Cvoid}
    stats::Ptr{WeightsStats}
    key_scales::TensorPtr
    value_scales::TensorPtr
    query_offsets::TensorPtr
    key_offsets::TensorPtr
    mask_align::Int32
    reserved::Int32
    page_table::TensorPtr
    page_offsets::TensorPtr
    ForwardArgs() = blank!(new())
end

mutable struct BackwardArgs <: Sized
    struct_size::UInt32
    accumulate::Int32
    forward::Ptr{ForwardArgs}
    d_context::TensorPtr
    d_weights::TensorPtr
    d_logsumexp::TensorPtr
    d_query::TensorPtr
    d_key::TensorPtr
    d_value::TensorPtr
    d_bias::TensorPtr
    d_alibi::TensorPtr
    d_relative::TensorPtr
    d_params::Ptr{TensorPtr}
    workspace::Ptr{UInt8}
    workspace_size::Csize_t
    d_sinks::TensorPtr
    BackwardArgs() = blank!(new())
end

mutable struct AttentionalArgs <: Sized
    struct_size::UInt32
    accumulate::Int32
    weight::TensorPtr
    bias::TensorPtr
    context::TensorPtr
    query::TensorPtr
    output::TensorPtr
    d_output::TensorPtr
    d_weight::TensorPtr
    d_bias::TensorPtr
    d_context::TensorPtr
    d_query::TensorPtr
    AttentionalArgs() = blank!(new())
end

mutable struct MergeArgs <: Sized
    struct_size::UInt32
    reserved::Int32
    parts::Int64
    contexts::Ptr{TensorPtr}
    logsumexps::Ptr{TensorPtr}
    context::TensorPtr
    logsumexp::TensorPtr
    MergeArgs() = blank!(new())
end

mutable struct DecomposableArgs <: Sized
    struct_size::UInt32
    accumulate::Int32
    f::TensorPtr
    g::TensorPtr
    a::TensorPtr
    b::TensorPtr
    a_lengths::TensorPtr
    b_lengths::TensorPtr
    beta::TensorPtr
    alpha::TensorPtr
    a_logsumexp::TensorPtr
    b_logsumexp::TensorPtr
    d_beta::TensorPtr
    d_alpha::TensorPtr
    d_f::TensorPtr
    d_g::TensorPtr
    d_a::TensorPtr
    d_b::TensorPtr
    DecomposableArgs() = blank!(new())
end

mutable struct MultiheadOptions <: Sized
    struct_size::UInt32
    flags::UInt32
    query_heads::Int64
    key_heads::Int64
    query_dim::Int64
    key_dim::Int64
    value_dim::Int64
    head_dim::Int64
    value_head_dim::Int64
    output_dim::Int64
    rope::Ptr{RopeOptions}
    MultiheadOptions() = blank!(new())
end

mutable struct MultiheadArgs <: Sized
    struct_size::UInt32
    attend_only::Int32
    query::TensorPtr
    key::TensorPtr
    value::TensorPtr
    attention::Ptr{ForwardArgs}
    output::TensorPtr
    saved::Ptr{UInt8}
    saved_size::Csize_t
    workspace::Ptr{UInt8}
    workspace_size::Csize_t
    memory::Ptr{Cvoid}
    positions::TensorPtr
    key_positions::TensorPtr
    MultiheadArgs() = blank!(new())
end

mutable struct MultiheadBackwardArgs <: Sized
    struct_size::UInt32
    accumulate::Int32
    forward::Ptr{MultiheadArgs}
    d_output::TensorPtr
    d_weights::TensorPtr
    d_logsumexp::TensorPtr
    d_query::TensorPtr
    d_key::TensorPtr
    d_value::TensorPtr
    d_bias::TensorPtr
    d_alibi::TensorPtr
    d_relative::TensorPtr
    d_params::Ptr{TensorPtr}
    d_mechanism_params::Ptr{TensorPtr}
    workspace::Ptr{UInt8}
    workspace_size::Csize_t
    d_sinks::TensorPtr
    MultiheadBackwardArgs() = blank!(new())
end

const STRUCTS = (attn_tensor = Tensor, attn_engine_options = EngineOptions, attn_param_info = ParamInfo,
                 attn_rope_options = RopeOptions, attn_memory_options = MemoryOptions,
                 attn_pages_append_args = PagesAppendArgs, attn_weights_stats = WeightsStats,
                 attn_forward_args = ForwardArgs,
                 attn_backward_args = BackwardArgs, attn_attentional_args = AttentionalArgs,
                 attn_merge_args = MergeArgs, attn_decomposable_args = DecomposableArgs,
                 attn_multihead_options = MultiheadOptions,
                 attn_multihead_args = MultiheadArgs, attn_multihead_backward_args = MultiheadBackwardArgs)

const FUNCTIONS = Symbol[] # of the library that are called; where each lies is in the constant "at_" and its name

@noinline function fail(status::Int32)
    sentence = unsafe_string(attn_last_error())
    name = first(split(unsafe_string(attn_status_string(status)), ':'))
    throw(AttnError(Symbol(name), sentence))
end

# Throws what the library says of a failure; a status of 0 is none.
check(status::Int32) = (status == 0 || fail(status); nothing)

# @import name(types...)::R makes a function of the library's one of this module. Without an R it returns a status, which
# is checked, and a failure thrown. All that is passed stays alive while the call runs.
macro import_c(declaration)
    checked = declaration.head !== :(::)
    call = checked ? declaration : declaration.args[1]
    name, types = call.args[1], call.args[2:end]
    returns = checked ? :Int32 : declaration.args[2]
    at, takes = Symbol(:at_, name), [Symbol(:x, i) for i in eachindex(types)]
    invoke = :(ccall($at[], $returns, ($(types...),), $(takes...)))
    body = checked ? :(check($invoke)) : invoke
    return esc(quote
        const $at = Ref{Ptr{Cvoid}}(C_NULL)
        push!(FUNCTIONS, $(QuoteNode(name)))
        $name($(takes...)) = $body
    end)
end

const HandlePtr = Ptr{Cvoid}
const Out = Ptr{HandlePtr}

@import_c attn_version()::Cstring
@import_c attn_abi_version()::Int32
@import_c attn_status_string(Int32)::Cstring
@import_c attn_last_error()::Cstring
@import_c attn_constant(Cstring, Ptr{Int64})
@import_c attn_engine_create(Ptr{EngineOptions}, Out)
@import_c attn_engine_describe(HandlePtr, Ptr{UInt8}, Ptr{Csize_t})
@import_c attn_engine_destroy(HandlePtr)::Cvoid
@import_c attn_mechanism_create_dot(HandlePtr, Out)
@import_c attn_mechanism_create_scaled_dot(HandlePtr, Out)
@import_c attn_mechanism_create_general(HandlePtr, Int64, Int64, Out)
@import_c attn_mechanism_create_additive(HandlePtr, Int64, Int64, Int64, UInt32, Out)
@import_c attn_mechanism_create_concat(HandlePtr, Int64, Int64, Int64, Out)
@import_c attn_mechanism_create_location(HandlePtr, Int64, Int64, Out)
@import_c attn_mechanism_destroy(HandlePtr)::Cvoid
@import_c attn_mechanism_name(HandlePtr)::Cstring
@import_c attn_mechanism_param_count(HandlePtr, Ptr{Int32})
@import_c attn_mechanism_param_total(HandlePtr, Ptr{Int64})
@import_c attn_mechanism_param_info(HandlePtr, Int32, Ptr{ParamInfo})
@import_c attn_mechanism_bind_param(HandlePtr, Cstring, TensorPtr)
@import_c attn_mechanism_set_scale(HandlePtr, Float64)
@import_c attn_mechanism_set_softcap(HandlePtr, Float64)
@import_c attn_mechanism_set_temperature(HandlePtr, Float64)
@import_c attn_mechanism_set_normaliser(HandlePtr, Int32)
@import_c attn_mechanism_set_precision(HandlePtr, Int32)
@import_c attn_mechanism_set_causal(HandlePtr, Int32)
@import_c attn_mechanism_set_window(HandlePtr, Int64, Int64, Int32)
@import_c attn_mechanism_set_relative_bias(HandlePtr, TensorPtr, Int32, Int64, Int32)
@import_c attn_mechanism_set_local(HandlePtr, Int32, Int64, Int64, Int64)
@import_c attn_mechanism_set_alibi(HandlePtr, TensorPtr, Int32)
@import_c attn_mechanism_set_sinks(HandlePtr, TensorPtr)
@import_c attn_position_sinusoidal(TensorPtr, Int64, Float64)
@import_c attn_position_alibi_slopes(TensorPtr)
@import_c attn_rope(HandlePtr, Ptr{RopeOptions}, TensorPtr, TensorPtr)
@import_c attn_memory_create(HandlePtr, Ptr{MemoryOptions}, Out)
@import_c attn_memory_destroy(HandlePtr)::Cvoid
@import_c attn_memory_append(HandlePtr, TensorPtr, TensorPtr, TensorPtr)
@import_c attn_memory_append_ragged(HandlePtr, TensorPtr, TensorPtr, TensorPtr)
@import_c attn_memory_truncate(HandlePtr, TensorPtr)
@import_c attn_memory_keep(HandlePtr, TensorPtr, TensorPtr, TensorPtr)
@import_c attn_memory_reorder(HandlePtr, TensorPtr)
@import_c attn_memory_fork(HandlePtr, Out)
@import_c attn_memory_lengths(HandlePtr, Ptr{Int64}, Ptr{Int64}, Int64)
@import_c attn_memory_pages(HandlePtr, Ptr{Int64}, Ptr{Int64})
@import_c attn_pages_append(HandlePtr, Ptr{PagesAppendArgs})
@import_c attn_forward(HandlePtr, Ptr{ForwardArgs})
@import_c attn_plan_create(HandlePtr, Ptr{ForwardArgs}, Out)
@import_c attn_plan_run(HandlePtr, Ptr{ForwardArgs})
@import_c attn_plan_destroy(HandlePtr)::Cvoid
@import_c attn_backward(HandlePtr, Ptr{BackwardArgs})
@import_c attn_backward_workspace(HandlePtr, Ptr{BackwardArgs}, Ptr{Csize_t})
@import_c attn_attentional_forward(HandlePtr, Ptr{AttentionalArgs})
@import_c attn_attentional_backward(HandlePtr, Ptr{AttentionalArgs})
@import_c attn_merge(HandlePtr, Ptr{MergeArgs})
@import_c attn_decomposable_forward(HandlePtr, Ptr{DecomposableArgs})
@import_c attn_decomposable_backward(HandlePtr, Ptr{DecomposableArgs})
@import_c attn_multihead_create(HandlePtr, Ptr{MultiheadOptions}, Out)
@import_c attn_multihead_destroy(HandlePtr)::Cvoid
@import_c attn_multihead_param_count(HandlePtr, Ptr{Int32})
@import_c attn_multihead_param_info(HandlePtr, Int32, Ptr{ParamInfo})
@import_c attn_multihead_bind_param(HandlePtr, Cstring, TensorPtr)
@import_c attn_multihead_forward(HandlePtr, Ptr{MultiheadArgs})
@import_c attn_multihead_saved(HandlePtr, Ptr{MultiheadArgs}, Ptr{Csize_t})
@import_c attn_multihead_backward(HandlePtr, Ptr{MultiheadBackwardArgs})
