/* SPDX-License-Identifier: BSD-3-Clause
 *
 * sentence.cpp: dot attention on one sentence (Luong 2015, eq. 8): each word looks at all words, then only at those
 * before it. Arrays of two ranks are views by themselves. */
#include <attn/attn.hpp>

#include <cstdio>

namespace
{

constexpr int words = 6, dim = 4;
const char *const text[words] = {"the", "cat", "saw", "the", "other", "cat"};

/* One vector per word; equal words have equal vectors. The features: article, noun, verb, animal. */
const float vectors[words][dim] = {{2, 0, 0, 0}, {0, 2, 0, 2}, {0, 0, 3, 0}, {2, 0, 0, 0}, {1, 1, 0, 0}, {0, 2, 0, 2}};

void print(const char *title, const float (&weights)[words][words])
{
    std::printf("%s\n%8s", title, "");
    for (const char *word : text) std::printf("%8s", word);
    for (int i = 0; i < words; i++) {
        std::printf("\n%8s", text[i]);
        for (const float weight : weights[i]) std::printf("%8.3f", static_cast<double>(weight));
    }
    std::printf("\n");
}

} // namespace

int main()
{
    float context[words][dim], weights[words][words];
    const attn::engine engine;
    attn::mechanism mechanism(engine, attn::dot{});

    attn::forward_args args;
    args.query = args.key = vectors; /* no value: the keys are the values */
    args.context = context;
    args.weights = weights;
    attn::forward(mechanism, args);
    print("Each word sees the whole sentence:", weights);

    mechanism.set_causal(attn::align::top_left);
    attn::forward(mechanism, args);
    print("\nEach word sees only those before it:", weights);
    return 0;
}
