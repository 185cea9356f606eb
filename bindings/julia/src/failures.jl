# SPDX-License-Identifier: BSD-3-Clause
# failures.jl: failures as exceptions.

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
