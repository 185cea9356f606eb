/* SPDX-License-Identifier: BSD-3-Clause
 *
 * sentence.c: self-attention over one sentence, and what a causal mask changes: each word's weights over the others,
 * with the same vectors as queries, keys and values (Vaswani 2017, without projections). */
#include <attn/attn.h>

#include <stdio.h>
#include <stdlib.h>

enum { WORDS = 6, DIM = 4 };

static const char *const words[WORDS] = {"the", "cat", "saw", "the", "other", "cat"};

/* One vector per word; equal words have equal vectors. The features: article, noun, verb, animal. */
static float vectors[WORDS][DIM] = {{2, 0, 0, 0}, {0, 2, 0, 2}, {0, 0, 3, 0}, {2, 0, 0, 0}, {1, 1, 0, 0}, {0, 2, 0, 2}};

static void check(attn_status status)
{
    if (status == ATTN_OK) return;
    fprintf(stderr, "%s\n", attn_last_error());
    exit(1);
}

int main(void)
{
    float context[WORDS][DIM], weights[WORDS][WORDS];
    attn_tensor sentence, out, alignment;
    attn_engine *engine;
    attn_mechanism *mechanism;
    check(attn_tensor_init(&sentence, vectors, ATTN_F32, 2, (const int64_t[]){WORDS, DIM}));
    check(attn_tensor_init(&out, context, ATTN_F32, 2, (const int64_t[]){WORDS, DIM}));
    check(attn_tensor_init(&alignment, weights, ATTN_F32, 2, (const int64_t[]){WORDS, WORDS}));
    check(attn_engine_create(NULL, &engine));
    check(attn_mechanism_create_scaled_dot(engine, &mechanism));

    attn_forward_args args = ATTN_FORWARD_ARGS_INIT;
    args.query = args.key = &sentence; /* no value: the keys are the values */
    args.context = &out;
    args.weights = &alignment;
    for (int causal = 0; causal < 2; causal++) {
        check(attn_mechanism_set_causal(mechanism, causal ? ATTN_ALIGN_TOP_LEFT : ATTN_ALIGN_NONE));
        check(attn_forward(mechanism, &args));
        printf("%s\n%8s", causal ? "\nEach word sees only those before it:" : "Each word sees the whole sentence:", "");
        for (int j = 0; j < WORDS; j++) printf("%8s", words[j]);
        for (int i = 0; i < WORDS; i++) {
            printf("\n%8s", words[i]);
            for (int j = 0; j < WORDS; j++) printf("%8.3f", (double)weights[i][j]);
        }
        printf("\n");
    }
    attn_mechanism_destroy(mechanism);
    attn_engine_destroy(engine);
    return 0;
}
