# SPDX-License-Identifier: BSD-3-Clause
# order.jl: a file of the module calls and names only what it or a file that is included before it defines.

const SOURCE = joinpath(@__DIR__, "..", "src")

parsed(file) = Meta.parse("begin\n" * read(joinpath(SOURCE, file), String) * "\nend")
included() = [m[1] for m in eachmatch(r"^include\(\"(.+)\"\)"m, read(joinpath(SOURCE, "Attn.jl"), String))]

# The name that an expression defines or calls: of f(x), f(x::T) where T, f{T}, A.f, T <: S.
name_of(other) = nothing
name_of(name::Symbol) = name
name_of(quoted::QuoteNode) = name_of(quoted.value)
name_of(e::Expr) = e.head === :. ? name_of(e.args[2]) :
                   e.head in (:call, :curly, :where, :(<:), :(::)) ? name_of(e.args[1]) : nothing

# Whether what is defined is a method more of a function of Julia's own, which every file has.
is_julias(other) = false
is_julias(e::Expr) = e.head === :. ? e.args[1] === :Base : e.head in (:call, :where, :(::)) && is_julias(e.args[1])

# What a file defines at its top.
defines!(names, other) = names
function defines!(names, e::Expr)
    if e.head in (:block, :const, :macrocall)
        foreach(arg -> defines!(names, arg), e.args)
        e.head === :macrocall && e.args[1] === Symbol("@import_c") && push!(names, name_of(e.args[end]))
    elseif e.head === :struct
        push!(names, name_of(e.args[2]))
    elseif e.head === :primitive
        push!(names, name_of(e.args[1]))
    elseif e.head in (:function, :(=), :abstract)
        is_julias(e.args[1]) || push!(names, name_of(e.args[1]))
    elseif e.head === :macro
        push!(names, Symbol("@", name_of(e.args[1])))
    end
    return names
end

# What a file calls, and which types and constants it names, by their capitals.
uses!(names, other) = names
uses!(names, name::Symbol) = (isuppercase(first(string(name))) && push!(names, name); names)
function uses!(names, e::Expr)
    e.head in (:call, :macrocall) && push!(names, name_of(e.args[1]))
    e.head === :kw ? uses!(names, e.args[2]) : foreach(arg -> uses!(names, arg), e.args)
    return names
end

# (file, name, where that is defined) for each name that a file has from a later one.
function from_below(files)
    defined = Dict{Any,Int}()
    for (i, file) in enumerate(files), name in defines!(Any[], parsed(file))
        get!(defined, name, i)
    end
    return [(files[i], name, files[defined[name]]) for i in eachindex(files)
            for name in unique(uses!(Any[], parsed(files[i]))) if get(defined, name, 0) > i]
end

@testset "each file stands on those before it" begin
    files = included()
    @test length(files) > 10
    @test from_below(files) == []
    @test !isempty(from_below(reverse(files))) # what finds something, finds it
end
