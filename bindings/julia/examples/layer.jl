# SPDX-License-Identifier: BSD-3-Clause
# layer.jl: a layer of heads learns to copy the last word but one, by gradient descent in Julia alone.

using Attn, Random

dim, heads, len, words = 32, 4, 12, 10
random = MersenneTwister(2)
layer = MultiHead(dim, heads; mechanism = Mechanism(causal = :top_left), packed = true)
params = map(shape -> randn(random, shape) / sqrt(shape[end]), param_shapes(layer))
bind!(layer; params...) # borrowed: what is changed in place is changed for the layer

meanings, places = randn(random, dim, words), sinusoidal(dim, len; type = Float64)
pace, speed = 0.004, map(zero, params)
for step in 0:500
    sentences = rand(random, 1:words, len, 16)
    x = meanings[:, sentences] .+ places
    wanted = meanings[:, sentences[1:end-2, :]]
    result = forward(layer, x; save = true)
    wrong = result.output[:, 3:end, :] - wanted
    step % 100 == 0 && println("step $step: mean square error ", round(sum(abs2, wrong) / length(wrong); digits = 3))
    d_output = zero(result.output)
    d_output[:, 3:end, :] = 2 * wrong / 16
    gradients = backward(layer, d_output, x; result = result, wanted = keys(params))
    for name in keys(params)
        speed[name] .= 0.9 .* speed[name] .+ gradients.params[name] ./ len
        params[name] .-= pace .* speed[name]
    end
end
