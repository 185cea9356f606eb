# SPDX-License-Identifier: BSD-3-Clause
# runtests.jl: all tests of the binding, on the library that it finds:
#
#     ATTN_LIBRARY=build/release/src/libattn.so julia --project=bindings/julia bindings/julia/test/runtests.jl [FILE...]

using Attn
using LinearAlgebra
using Random
using Serialization
using Test

include("formulas.jl")
files = isempty(ARGS) ? ["order", "arrays", "attention", "half", "quantised", "ragged", "precision", "handles", "layers", "serving", "documents"] : ARGS
@testset "$file" for file in files
    include("$file.jl")
end
