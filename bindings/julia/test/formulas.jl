# SPDX-License-Identifier: BSD-3-Clause
# formulas.jl: attention as its formulas have it, in Float64, one head after the other; and what gradients are held against.

const random = MersenneTwister(7)
normal(sizes...) = randn(random, sizes...)
normal32(sizes...) = randn(random, Float32, sizes...)

function softmax(e; dims = 1)
    powers = exp.(e .- maximum(e; dims = dims))
    return powers ./ sum(powers; dims = dims)
end

near(got, want) = size(got) == size(want) &&
                  isapprox(got, want; rtol = 0, atol = (eltype(got) == Float64 ? 1e-12 : 3e-5) * (1 + norm(want, Inf)))

# Of query [D, Tq, Hq, B], key and value: context, weights and log-sum-exp. score(q, k) is a matrix [Tk, Tq]; bias and visible
# are functions of (head, sequence) that give such a matrix, or a number.
function expected(query, key, value; score = nothing, visible = (h, b) -> true, bias = (h, b) -> 0, scale = nothing, softcap = 0,
                  temperature = 1)
    Dq, Tq, Hq, B = size(query)
    group = Hq ÷ size(key, 3)
    context, weights = zeros(size(value, 1), Tq, Hq, B), zeros(size(key, 2), Tq, Hq, B)
    logsumexp = zeros(Tq, Hq, B)
    factor = scale === nothing ? 1 / sqrt(Dq) : scale
    for b in 1:B, h in 1:Hq
        q, k, v = (Float64.(x[:, :, n, b]) for (x, n) in ((query, h), (key, cld(h, group)), (value, cld(h, group))))
        e = score === nothing ? factor * (k' * q) : score(q, k)
        softcap == 0 || (e = softcap * tanh.(e / softcap))
        e = ifelse.(visible(h, b), (e .+ bias(h, b)) / temperature, -Inf)
        most = maximum(e; dims = 1)
        powers = exp.(e .- ifelse.(isfinite.(most), most, 0))
        total = sum(powers; dims = 1)
        weights[:, :, h, b] = powers ./ ifelse.(total .> 0, total, 1)
        context[:, :, h, b] = v * weights[:, :, h, b]
        logsumexp[:, h, b] = vec(log.(total) .+ ifelse.(total .> 0, most, 0))
    end
    return (context = context, weights = weights, logsumexp = logsumexp)
end

# The gradients say how the loss moves with each array: loss(arrays) for a NamedTuple of them.
function moves(loss, arrays::NamedTuple, gradients)
    return all(keys(arrays)) do name
        way, step = normal(size(arrays[name])...), 1e-5
        at(sign) = loss(merge(arrays, NamedTuple{(name,)}((arrays[name] .+ sign * step .* way,))))
        want = (at(1) - at(-1)) / 2step
        got = dot(gradients[name], way)
        abs(got - want) < 1e-6 * (1 + abs(want)) || (println("gradient of $name: $got, but the loss moves by $want"); false)
    end
end

# What is refused, by the name of its status.
function status(run)
    try
        run()
    catch error
        error isa AttnError || rethrow()
        return isempty(error.sentence) ? :no_sentence : error.status
    end
    return :ATTN_OK
end
