# SPDX-License-Identifier: BSD-3-Clause
# pages.jl: keys and values that are written into pages of the caller's, where their slots say.

"""
    pages_append!(key, value, key_pages, value_pages, slots; key_scales = nothing, value_scales = nothing, engine)

Writes columns of `key` `[Dk, n, Hk]` and `value` `[Dv, n, Hk]` into `key_pages` `[Dk, page, Hk, N]` and `value_pages`
`[Dv, page, Hk, N]`, which [`attention`](@ref) reads with a `page_table`. Pages whose positions are outermost are given as a
`PermutedDimsArray`. All else in them stays as it is. `key` with its pages, or `value` with its, may be `nothing`.

- `slots`: `n` whole numbers from 0, as the pages of a `page_table` are: column `i` goes to place `slots[i] % page` of page
  `slots[i] ÷ page`; -1: nowhere
- `key_scales`, `value_scales`: `[page, Hk, N]` of `Float32`, where the pages are of `Int8`: they are written, too
"""
function pages_append!(key::MaybeArray, value::MaybeArray, key_pages::MaybeArray, value_pages::MaybeArray, slots::Lengths;
                       key_scales::MaybeArray = nothing, value_scales::MaybeArray = nothing,
                       engine::Engine = shared_engine())
    args, kept = PagesAppendArgs(), Any[]
    lay!(args, kept, :slots, lengths_of(slots, "slots"))
    lay!(args, kept, :key, key)
    lay!(args, kept, :value, value)
    lay!(args, kept, :key_pages, key_pages)
    lay!(args, kept, :value_pages, value_pages)
    lay!(args, kept, :key_scales, key_scales)
    lay!(args, kept, :value_scales, value_scales)
    GC.@preserve kept attn_pages_append(engine, args)
    return nothing
end
