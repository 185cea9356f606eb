# SPDX-License-Identifier: BSD-3-Clause
# library.jl: finds libattn and loads it; its constants, and its failures as exceptions.
#
# The library is looked for, in this order:
#     1. where the environment variable ATTN_LIBRARY says: a file;
#     2. where this is a source tree, in its build tree: build/release/src, or the newest other build/*/src;
#     3. where the system keeps its libraries.

const SONAME = "libattn.so.$ABI"

"""
    AttnError(status, sentence)

A call that was refused. `sentence` says which argument, what was got and what was wanted; it is the library's own where
the library refused, and then speaks of shapes in C's order, which is the other way round. `status` is the name of the
library's status, `:ATTN_ERR_SHAPE` for example.
"""
struct AttnError <: Exception
    status::Symbol
    sentence::String
end

Base.showerror(io::IO, error::AttnError) = print(io, error.sentence, " (", error.status, ")")

@noinline refuse(status::Symbol, sentence...) = throw(AttnError(status, string(sentence...)))

@noinline function fail(status::Int32)
    sentence = unsafe_string(attn_last_error())
    name = first(split(unsafe_string(attn_status_string(status)), ':'))
    throw(AttnError(Symbol(name), sentence))
end

# Throws what the library says of a failure; a status of 0 is none.
check(status::Int32) = (status == 0 || fail(status); nothing)

function constant(name::AbstractString)
    value = Ref{Int64}()
    attn_constant(name, value)
    return value[]
end

function find_library()
    named = get(ENV, "ATTN_LIBRARY", "")
    isempty(named) || return named
    root = normpath(joinpath(@__DIR__, "..", "..", ".."))
    if isfile(joinpath(root, "include", "attn", "attn.h"))
        built = [joinpath(root, "build", tree, "src", "libattn.so")
                 for tree in (isdir(joinpath(root, "build")) ? readdir(joinpath(root, "build")) : String[])]
        filter!(isfile, built)
        release = joinpath(root, "build", "release", "src", "libattn.so")
        release in built && return release
        isempty(built) || return built[argmax(mtime.(built))]
    end
    return SONAME
end

# Where each function lies, once the library is found to be the one that is written down in abi.jl.
function load_library()
    path = find_library()
    library = try
        dlopen(path)
    catch why
        error("libattn was not found: build it, install it, or name its file in ATTN_LIBRARY (", sprint(showerror, why), ")")
    end
    version = dlsym(library, :attn_abi_version; throw_error = false)
    version === nothing && error(path, " is no libattn")
    got = ccall(version, Int32, ())
    got == ABI || error(path, " has the binary interface ", got, ", but this binding is written for ", ABI)
    for name in FUNCTIONS
        at = dlsym(library, name; throw_error = false)
        at === nothing && error(path, " has no ", name, ": it is older than this binding")
        getfield(Attn, Symbol(:at_, name))[] = at
    end
    for (name, type) in pairs(STRUCTS)
        size = constant("sizeof $name")
        size == sizeof(type) ||
            error(path, " has another ", name, " than this binding, of ", size, " bytes, not ", sizeof(type))
    end
end
