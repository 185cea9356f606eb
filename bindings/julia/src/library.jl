# SPDX-License-Identifier: BSD-3-Clause
# library.jl: finds libattn and loads it; its constants.
#
# The library is looked for, in this order:
#     1. where the environment variable ATTN_LIBRARY says: a file;
#     2. where this is a source tree, in its build tree: build/release/src, or the newest other build/*/src;
#     3. where the system keeps its libraries.

const SONAME = "libattn.so.$ABI"

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
