# SPDX-License-Identifier: BSD-3-Clause
# handles.jl: what the library's handles have in common: they are given back, and some have parameters by name. And the
# engine, which has nothing else.

# A handle of the library's. It is destroyed when nothing holds it any more: neither the object that was made with it, nor
# a handle that stands on it. So objects may be finalized in any order. kept is what the handle borrows.
mutable struct Owned
    at::Ptr{Cvoid}
    destroy::Function
    holders::Threads.Atomic{Int}
    stands_on::Union{Nothing,Owned}
    kept::Dict{Symbol,Any}
end

function own(at::Ptr{Cvoid}, destroy, stands_on)
    stands_on === nothing || Threads.atomic_add!(stands_on.holders, 1)
    return Owned(at, destroy, Threads.Atomic{Int}(1), stands_on, Dict{Symbol,Any}())
end

function let_go(owned::Owned)
    Threads.atomic_sub!(owned.holders, 1) == 1 || return nothing
    owned.destroy(owned.at)
    empty!(owned.kept)
    owned.stands_on === nothing || let_go(owned.stands_on)
    return nothing
end

abstract type Handle end

# What a handle's object is made with: create fills in the handle, destroy gives it back.
function create(create, destroy, stands_on = nothing)
    at = Ref{Ptr{Cvoid}}(C_NULL)
    create(at)
    return own(at[], destroy, stands_on)
end

"""
    close(handle)

Gives an `Engine`, `Mechanism`, `Attn.Memory` or `MultiHead` back at once, rather than when it is collected. It cannot be
used any more; what was made with it can. Closing again does nothing.
"""
function Base.close(handle::Handle)
    handle.open || return nothing
    handle.open = false
    return let_go(handle.owned)
end

Base.isopen(handle::Handle) = handle.open
Base.show(io::IO, handle::Handle) = print(io, nameof(typeof(handle)), handle.open ? "()" : "(closed)")

# What stands on memory of the library's cannot be copied as Julia's own memory is: the copy would stand on the same.
@noinline no_copy(object, instead) =
    refuse(:ATTN_ERR_ARGUMENT, "a ", nameof(typeof(object)), " is not copied by deepcopy nor serialized, since it stands on ",
           "memory of the library's: ", instead)

instead_of_a_copy(::Handle) = "make another one the same way, with the arrays of bound(...) where it has parameters"

Base.deepcopy_internal(handle::Handle, ::IdDict) = no_copy(handle, instead_of_a_copy(handle))
Serialization.serialize(::AbstractSerializer, handle::Handle) = no_copy(handle, instead_of_a_copy(handle))

# A handle is passed as such: whoever calls keeps it alive by that.
function Base.unsafe_convert(::Type{Ptr{Cvoid}}, handle::Handle)
    handle.open || refuse(:ATTN_ERR_ARGUMENT, "this ", nameof(typeof(handle)), " has been closed")
    return handle.owned.at
end

"""
    Engine(; threads = 0, way = nothing, kernels = nothing)

The means to compute: `threads` of them (0: one for each CPU), the `way` (`:automatic`, `:blas`, `:tiles`) and the `kernels`
(`"avx2"` for example; `nothing`: what suits the machine). Who brings none uses one that all share. Refused are a number of
threads out of range and kernels that this CPU has not.
"""
mutable struct Engine <: Handle
    owned::Owned
    open::Bool

    function Engine(; threads::Integer = 0, way = nothing, kernels::Union{Nothing,AbstractString} = nothing)
        options, text = EngineOptions(), kernels === nothing ? "" : String(kernels)
        options.threads, options.way = threads, choose(WAYS, way, "way")
        GC.@preserve text begin
            kernels === nothing || (options.kernels = pointer(text))
            owned = create(at -> attn_engine_create(options, at), attn_engine_destroy)
        end
        return finalizer(close, new(owned, true))
    end
end

"""
    describe(engine) -> Dict{String,Any}

The library's description of an engine: its version, the way, threads, kernels, the CPU, the BLAS and whether it suits.
"""
function describe(engine::Engine)
    size = Ref{Csize_t}(0)
    attn_engine_describe(engine, C_NULL, size)
    text = Vector{UInt8}(undef, size[])
    attn_engine_describe(engine, text, size)
    return parse_json(String(text[1:end-1]))
end

const SHARED = Dict{Int,Engine}()
const SHARED_LOCK = ReentrantLock()

# The engine of whoever brings none of his own.
shared_engine(threads::Integer = 0) = lock(SHARED_LOCK) do
    engine = get(SHARED, threads, nothing)
    engine !== nothing && isopen(engine) ? engine : (SHARED[threads] = Engine(; threads = threads))
end

# A handle with parameters, which are borrowed: arrays that stay the caller's, and that training may update in place.
abstract type WithParameters <: Handle end

# By kind: how parameters are counted, told of and bound.
function param_count end
function param_info end
function bind_param end

"""
    param_shapes(mechanism_or_layer) -> NamedTuple

The size of each parameter by its name, in the library's order; matrices are `[outputs, inputs]`.
"""
function param_shapes(handle::WithParameters)
    count, info = Ref{Int32}(0), ParamInfo()
    param_count(handle, count)
    names, shapes = Symbol[], Tuple{Vararg{Int}}[]
    for index in 0:count[]-1
        param_info(handle, index, info)
        push!(names, Symbol(unsafe_string(info.name)))
        push!(shapes, Int.(info.shape[1:info.ndim]))
    end
    return NamedTuple{Tuple(names)}(Tuple(shapes))
end

"""
    bind!(mechanism_or_layer; name = array...)

Binds parameters by their names. The arrays are borrowed, and kept alive: what is changed in place is changed for the
library. `nothing` unbinds. Refused are names that there are not, other sizes than [`param_shapes`](@ref) tells, and
elements that the library does not take; where one is refused, all are as they were. Returns its first argument.
"""
function bind!(handle::WithParameters; params...)
    before = Pair{Symbol,MaybeArray}[]
    try
        for (name, array) in params
            was = get(handle.owned.kept, name, nothing)
            bind_one!(handle, name, array)
            push!(before, name => was)
        end
    catch # all of them or none
        foreach(was -> bind_one!(handle, was...), before)
        rethrow()
    end
    return handle
end

function bind_one!(handle::WithParameters, name::Symbol, array)
    bind_param(handle, String(name), reference(array, "parameter $name", matrix), array)
    keep!(handle, name, array)
end

keep!(handle::Handle, name::Symbol, array) =
    (array === nothing ? delete!(handle.owned.kept, name) : (handle.owned.kept[name] = array); nothing)

# Parameters or gradients by name: names that there are not are refused where they are used.
function by_name(given, what)
    for name in keys(given)
        name isa Symbol || refuse(:ATTN_ERR_ARGUMENT, what, " has the name ", repr(name), ", but names are Symbols: ",
                                  repr(Symbol(name)))
    end
    return given
end

"""
    bound(mechanism_or_layer) -> Dict{Symbol,AbstractArray}

The arrays that are bound, by their names.
"""
bound(handle::WithParameters) = filter(pair -> !(pair.first in (:alibi, :relative, :sinks)), handle.owned.kept)

# Room for the gradients of those parameters that are wanted, each of the type of what is bound; wanted nothing: of all.
function gradients_of(handle::WithParameters, wanted, type)
    shapes = param_shapes(handle)
    names = Tuple(name for name in keys(shapes) if wanted === nothing || name in wanted)
    arrays = bound(handle)
    type_of(name) = haskey(arrays, name) ? eltype(arrays[name]) : beside(type)
    return NamedTuple{names}(Tuple(Array{type_of(name)}(undef, shapes[name]) for name in names))
end

# Those gradients as the library takes them, in the order of the parameters.
function lay_params!(args, kept::Vector{Any}, member::Symbol, handle::WithParameters, gradients)
    pointers, known = TensorPtr[], keys(param_shapes(handle))
    for name in keys(by_name(gradients, member))
        name in known || refuse(:ATTN_ERR_PARAMETER, member, " has ", name, ", but the parameters are ", join(known, ", "))
    end
    for name in known
        given = get(gradients, name, nothing)
        pointed = given === nothing ? nothing : Ref(matrix(given, "d_$name"))
        push!(kept, given, pointed)
        push!(pointers, pointed === nothing ? C_NULL : Base.unsafe_convert(TensorPtr, pointed))
    end
    push!(kept, pointers)
    setproperty!(args, member, pointer(pointers))
end
