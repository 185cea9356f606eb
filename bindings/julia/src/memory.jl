# SPDX-License-Identifier: BSD-3-Clause
# memory.jl: keys and values made ready for many queries: encoder states, or a growing cache.

"""
    Attn.Memory(mechanism; key_dim, value_dim = nothing, batch = 1, key_heads = 1, capacity = 0, fixed = false,
                type = Float32, rope = nothing, page = 0)
    Attn.Memory(mechanism, key, value = nothing; capacity, fixed, type = eltype(key), rope, page)

Keys and values made ready for many queries of one mechanism: an empty memory, or one that holds `key` `[Dk, n, Hk, B]` and
`value` `[Dv, n, Hk, B]` already, which it copies. Keys are projected when they are appended, with the parameters that are
bound then. (Not exported: Julia's own `Memory` has been in Base since 1.11.)

- `value_dim`: `nothing`, as `value`: the keys are the values
- `key_dim`: 0 where no key is read (location)
- `capacity`: positions of each sequence that there is room for from the beginning; `fixed`: nor ever more
- `type`: what it is kept in: `Float32`, `Float64`, `Float16`, [`Attn.BFloat16`](@ref) or `Int8`
- `rope`: a [`Rope`](@ref) turns keys by their positions as they are appended
- `page`: positions of a page: the sequences have pages of one pool, which those that `reorder!` and `copy` make share until one
  of them is appended to. What changes a memory must not run beside a use of its copies then. 0: each sequence lies by itself

`append!`, [`truncate!`](@ref), [`keep!`](@ref), [`reorder!`](@ref) and `copy` work on it, [`lengths`](@ref) tells how much it
holds, [`pages`](@ref) how much of its pool is in use. What changes it must not run beside any other use of it. It keeps its mechanism alive.
"""
mutable struct Memory <: Handle
    owned::Owned
    open::Bool
    mechanism::Mechanism
    value_dim::Int

    function Memory(owned::Owned, mechanism::Mechanism, value_dim::Integer)
        return finalizer(close, new(owned, true, mechanism, value_dim))
    end
end

function Memory(mechanism::Mechanism; key_dim::Integer, value_dim::Union{Nothing,Integer} = nothing, batch::Integer = 1,
                key_heads::Integer = 1, capacity::Integer = 0, fixed::Bool = false, type::Type = Float32,
                rope::Union{Nothing,Rope} = nothing, page::Integer = 0)
    options, turn = MemoryOptions(), rope === nothing ? nothing : options_of(rope)
    options.flags = (fixed ? choose(MEMORY_FLAGS, :fixed, "") : 0) |
                    (value_dim === nothing ? choose(MEMORY_FLAGS, :keys_alone, "") : 0)
    options.dtype, options.batch, options.key_heads, options.key_dim = dtype_of(type, "a memory"), batch, key_heads, key_dim
    options.value_dim, options.capacity, options.page = value_dim === nothing ? 0 : value_dim, capacity, page
    GC.@preserve turn begin
        turn === nothing || (options.rope = Base.unsafe_convert(Ptr{RopeOptions}, turn))
        owned = create(at -> attn_memory_create(mechanism, options, at), attn_memory_destroy, mechanism.owned)
    end
    return Memory(owned, mechanism, value_dim === nothing ? key_dim : value_dim)
end

function Memory(mechanism::Mechanism, key::AbstractArray, value::MaybeArray = nothing; capacity::Integer = 0,
                fixed::Bool = false, type::Type = eltype(key), rope::Union{Nothing,Rope} = nothing,
                page::Integer = 0)
    memory = Memory(mechanism; batch = size(key, 4), key_heads = size(key, 3), key_dim = size(key, 1),
                    value_dim = value === nothing ? nothing : size(value, 1), capacity = max(capacity, size(key, 2)),
                    fixed = fixed, type = type, rope = rope, page = page)
    return append!(memory, key, value)
end

"""
    append!(memory, key, value = nothing; counts = nothing, offsets = nothing)

Appends `n` positions to each sequence, or the first `counts[b]` of them to sequence `b`: `key` `[Dk, n, Hk, B]` (`nothing`
where no key is read), `value` `[Dv, n, Hk, B]` (`nothing` where the keys are the values). With `offsets`, `B + 1` numbers, it is
a ragged batch: `key` is `[Dk, all of them, Hk]`, and sequence `b` gets the columns `offsets[b] + 1 : offsets[b + 1]`. All or
nothing: refused, among others, where a fixed memory is full. Returns the memory.
"""
function Base.append!(memory::Memory, key::MaybeArray, value::MaybeArray = nothing;
                      counts::Union{Nothing,Lengths} = nothing, offsets::Union{Nothing,Lengths} = nothing)
    counts === nothing || offsets === nothing ||
        refuse(:ATTN_ERR_ARGUMENT, "counts are given, but so are offsets, which say how many each sequence gets")
    append, name = offsets === nothing ? (attn_memory_append, "counts") : (attn_memory_append_ragged, "offsets")
    numbers = lengths_of(offsets === nothing ? counts : offsets, name)
    GC.@preserve key value numbers append(memory, reference(key, "key"), reference(value, "value"),
                                          reference(numbers, name))
    return memory
end

"""
    truncate!(memory, lengths)

Forgets what lies past these lengths, one for each sequence. Returns the memory.
"""
function truncate!(memory::Memory, lengths::Lengths)
    numbers = lengths_of(lengths, "lengths")
    GC.@preserve numbers attn_memory_truncate(memory, reference(numbers, "lengths"))
    return memory
end

"""
    keep!(memory, lengths, positions, offsets)

The same, but for positions that were chosen, which then follow in their order: the branch of a tree of guesses that came
true. Of `positions`, which count from 0, sequence `b` keeps `offsets[b] + 1 : offsets[b + 1]`: each at least `lengths[b]`, and
more than the one before. Columns that a [`Rope`](@ref) has turned stay where they are, or it is refused. Returns the memory.
"""
function keep!(memory::Memory, lengths::Lengths, positions::Lengths, offsets::Lengths)
    lengths, positions = lengths_of(lengths, "lengths"), lengths_of(positions, "positions")
    offsets = lengths_of(offsets, "offsets")
    GC.@preserve lengths positions offsets attn_memory_keep(memory, reference(lengths, "lengths"),
                                                            reference(positions, "positions"), reference(offsets, "offsets"))
    return memory
end

"""
    reorder!(memory, rows)

Makes sequence `b` a copy of what sequence `rows[b]` was, counted from 1, or, where that is 0, a new and empty one: the survivors
of a beam; those of a batch that go on, and those that join it. There are as many sequences as rows then, perhaps none.
Returns the memory.
"""
function reorder!(memory::Memory, rows::Lengths)
    numbers = [index - 1 for index in lengths_of(rows, "rows")]
    GC.@preserve numbers attn_memory_reorder(memory, reference(numbers, "rows"))
    return memory
end

"""
    copy(memory)

A second memory with the same content, to go on by itself. With pages it shares them.
"""
Base.copy(memory::Memory) =
    Memory(create(at -> attn_memory_fork(memory, at), attn_memory_destroy, memory.owned.stands_on), memory.mechanism,
           memory.value_dim)

instead_of_a_copy(::Memory) = "copy(memory) makes another one"

"""
    lengths(memory) -> Vector{Int64}

How many positions each sequence has.
"""
function lengths(memory::Memory)
    batch = Ref{Int64}(0)
    attn_memory_lengths(memory, batch, C_NULL, 0)
    numbers = Vector{Int64}(undef, batch[])
    attn_memory_lengths(memory, batch, numbers, batch[])
    return numbers
end

"""
    pages(memory) -> (count, unused)

How many pages its pool has, its copies' among them, and how many of these nobody has: a `NamedTuple`, of zeros without pages.
"""
function pages(memory::Memory)
    count, unused = Ref{Int64}(0), Ref{Int64}(0)
    attn_memory_pages(memory, count, unused)
    return (count = count[], unused = unused[])
end

longest(memory::Memory) = reduce(max, lengths(memory); init = 0)

Base.show(io::IO, memory::Memory) = print(io, "Attn.Memory(", isopen(memory) ? lengths(memory) : "closed", ")")
