# SPDX-License-Identifier: BSD-3-Clause
# numbers.jl: whole numbers on their way to C: each arrives as it is, or is refused by its name.

@noinline no_number(value, name, least, most) =
    refuse(:ATTN_ERR_ARGUMENT, name, " is ", value, ", but a whole number from ", least, " to ", most, " is needed")

# The number in a type of C's.
whole(type::Type{<:Integer}, value::Integer, name) =
    typemin(type) <= value <= typemax(type) ? value % type : no_number(value, name, typemin(type), typemax(type))

# A member of a struct that is a whole number.
@inline function Base.setproperty!(args::Sized, name::Symbol, value::Integer)
    type = fieldtype(typeof(args), name)
    return setfield!(args, name, type <: Integer ? whole(type, value, name) : convert(type, value))
end

# Lengths, offsets, pages, positions or rows, as Int32 or Int64 in memory; of what has no memory, new ones.
lengths_of(::Nothing, name) = nothing
lengths_of(given::Union{StridedArray{Int32},StridedArray{Int64}}, name) = given
lengths_of(given, name) = Int64[whole(Int64, no_bool(number, name), name) for number in given]

no_bool(number::Integer, name) = number
no_bool(number::Bool, name) = refuse(:ATTN_ERR_DTYPE, name, " has elements of Bool, but whole numbers are needed")
