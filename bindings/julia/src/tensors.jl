# SPDX-License-Identifier: BSD-3-Clause
# tensors.jl: views of arrays as the library takes them: where they lie, by their strides; never a copy.

const MaybeArray = Union{Nothing,AbstractArray}
const Lengths = Union{AbstractVector{<:Integer},AbstractMatrix{<:Integer},Tuple{Vararg{Integer}}}

@noinline no_memory(array, name) =
    refuse(:ATTN_ERR_DTYPE, name, " is a ", typeof(array), ", which is no array with strides in memory",
           array isa BitArray ? ": it packs its bits; Array{Bool} does not" : "", "; nothing is copied or converted")

# What elements are needed, in the words of whoever has others.
needed(name) = name === :mask ? "a mask's are Bool: Array{Bool}(mask)" : "Float32, Float64, Float16 or BFloat16 is computed with"

function dtype_of(type::Type, name)
    known = element(type)
    known === nothing &&
        refuse(:ATTN_ERR_DTYPE, name, " has elements of ", type, ", but ", needed(name), "; nothing is converted")
    return DTYPES[known]
end

function tensor(array::AbstractArray{T,N}, name, order) where {T,N}
    N <= 4 || refuse(:ATTN_ERR_SHAPE, name, " has ", N, " dimensions, but at most 4 are taken")
    dtype = dtype_of(T, name)
    steps, start = try
        strides(array), Base.unsafe_convert(Ptr{T}, array)
    catch why
        why isa Union{MethodError,ArgumentError,ErrorException} || rethrow()
        no_memory(array, name)
    end
    N == 0 && return Tensor(start, dtype, 1, (1, 1, 1, 1), (1, 1, 1, 1)) # the library knows no arrays without dimensions
    fill(tuple) = ntuple(i -> i <= N ? Int64(order(tuple)[i]) : Int64(1), 4)
    return Tensor(start, dtype, N, fill(size(array)), fill(steps))
end

# What has places, heads or sequences is the library's the other way round, so that a vector is a column; a matrix that
# multiplies is as its formula writes it.
columns(array, name) = tensor(array, name, reverse)
matrix(array, name) = tensor(array, name, identity)

tensor(other, name, order) = refuse(:ATTN_ERR_DTYPE, name, " is a ", typeof(other), ", but an array is needed")

# What the library is told of an array that may be missing, as an argument of a call.
reference(::Nothing, name, view = columns) = C_NULL
reference(array, name, view = columns) = Ref(view(array, name))

# Points the member of a struct to a view of the array; kept must live as long as the struct is used.
lay!(args, kept::Vector{Any}, member::Symbol, ::Nothing, view = columns) = nothing
function lay!(args, kept::Vector{Any}, member::Symbol, array, view = columns)
    pointed = Ref(view(array, member))
    push!(kept, array, pointed)
    setproperty!(args, member, Base.unsafe_convert(TensorPtr, pointed))
    return nothing
end

# How a tensor's dimensions after the first are those of what is made for it.
behind(array::AbstractArray) = Base.tail(size(array))
behind(::AbstractArray{<:Any,0}) = ()
