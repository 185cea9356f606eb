# SPDX-License-Identifier: BSD-3-Clause
# decoder_step.jl: Bahdanau's attention in a decoder (Bahdanau 2014): the encoder's states are projected once, into a memory,
# and each step of the decoder attends to it with its state before the step.

using Attn, LinearAlgebra, Random

batch, len, encoder_dim, decoder_dim, hidden = 4, 30, 32, 24, 48
random = MersenneTwister(1)
normal(sizes...) = randn(random, Float32, sizes...)

params = (W = normal(hidden, decoder_dim) / 5, U = normal(hidden, encoder_dim) / 5, v = normal(hidden))
mechanism = Mechanism(:additive; params = params)
println("trainable numbers: ", param_total(mechanism))

states = normal(encoder_dim, len, 1, batch)
memory = Attn.Memory(mechanism; batch = batch, key_dim = encoder_dim) # the keys are the values
append!(memory, states; counts = [30, 22, 17, 9])                     # sentences of different lengths

state, context = normal(decoder_dim, 1, 1, batch), zeros(Float32, encoder_dim, 1, 1, batch)
recurrent = normal(decoder_dim, decoder_dim + encoder_dim) / 8
step = reserve!(Call(mechanism, state; memory = memory, context = context)) # laid out once, run for each word
for _ in 1:5
    run!(step)
    state[:, 1, 1, :] = tanh.(recurrent * [state[:, 1, 1, :]; context[:, 1, 1, :]])
end
println("the state after five words: ", size(state), " of length ", round(norm(state); digits = 3))

whole = mechanism(state, states; key_lengths = [30, 22, 17, 9]) # the same without a memory, projected once more
run!(step)
println("as without a memory: ", isapprox(context, whole; atol = 1e-5))
