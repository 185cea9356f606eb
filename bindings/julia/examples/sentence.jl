# SPDX-License-Identifier: BSD-3-Clause
# sentence.jl: dot attention on one sentence: which words a word looks at, by nothing but the likeness of their vectors.

using Attn, Printf, Random

words = split("the animal did not cross the street because it was too tired")
random = MersenneTwister(4)
meaning = Dict(word => randn(random, Float32, 16) for word in unique(words))
meaning["it"] .= meaning["animal"] .+ 0.3f0 .* meaning["it"] # what a trained model would have found out
vectors = reduce(hcat, [meaning[word] for word in words])    # a column for each word

result = attention(vectors, vectors; score = :dot, temperature = 4, return_weights = true)
for (word, weights) in zip(words, eachcol(result.weights))
    best = partialsortperm(weights, 1:3; rev = true)
    println(lpad(word, 8), ": ", join([@sprintf("%s %.2f", words[j], weights[j]) for j in best], ", "))
end
