/* SPDX-License-Identifier: BSD-3-Clause
 *
 * beam.c: beam search with a memory. Each hypothesis keeps the keys and values of its words; a step appends one word to
 * each, asks the memory for a context, scores the next words with it, and reorders the memory as the best hypotheses
 * descend from those before. Nothing is computed twice, and nothing is copied by hand. */
#include <attn/attn.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { BEAMS = 3, WORDS = 10, DIM = 8, STEPS = 7 };

static const char *const words[WORDS] = {"a", "the", "cat", "dog", "saw", "and", "small", "old", "then", "."};
static float vectors[WORDS][DIM];        /* of the words: queries, keys and values at once */
static float follows[WORDS][WORDS][DIM]; /* how well a word follows another, given the context */

typedef struct hypothesis {
    int words[STEPS];
    double score;
} hypothesis;

static void check(attn_status status)
{
    if (status == ATTN_OK) return;
    fprintf(stderr, "%s\n", attn_last_error());
    exit(1);
}

/* Numbers between -1 and 1, the same every time; a trained model would come with its own. */
static void fill(float *data, size_t count, unsigned seed)
{
    for (size_t i = 0; i < count; i++) {
        seed = seed * 1664525u + 1013904223u;
        data[i] = (float)(seed >> 8) / 8388608.0f - 1.0f;
    }
}

/* Logarithms of the probabilities of the word after `last`. */
static void score_words(int last, const float *context, double scores[WORDS])
{
    double sum = 0;
    for (int w = 0; w < WORDS; w++) {
        scores[w] = 0;
        for (int d = 0; d < DIM; d++) scores[w] += (double)(follows[last][w][d] * context[d]);
        sum += exp(scores[w]);
    }
    for (int w = 0; w < WORDS; w++) scores[w] -= log(sum);
}

/* The best continuations of the hypotheses at hand, `count` of them: into best; parent says whose each is. */
static void extend(const hypothesis *beams, int count, int step, float contexts[BEAMS][DIM], hypothesis best[BEAMS],
                   int64_t parent[BEAMS])
{
    for (int b = 0; b < BEAMS; b++) best[b].score = -INFINITY;
    for (int b = 0; b < count; b++) {
        double scores[WORDS];
        score_words(beams[b].words[step - 1], contexts[b], scores);
        for (int w = 0; w < WORDS; w++) {
            hypothesis next = beams[b];
            int64_t from = b;
            next.words[step] = w;
            next.score += scores[w];
            for (int k = 0; k < BEAMS; k++) { /* kept in order: what is better takes the place */
                if (next.score <= best[k].score) continue;
                const hypothesis other = best[k];
                const int64_t its = parent[k];
                best[k] = next;
                parent[k] = from;
                next = other;
                from = its;
            }
        }
    }
}

int main(void)
{
    attn_engine *engine;
    attn_mechanism *mechanism;
    attn_memory *memory;
    attn_memory_options options = ATTN_MEMORY_OPTIONS_INIT;
    fill(&vectors[0][0], sizeof vectors / sizeof(float), 1);
    fill(&follows[0][0][0], sizeof follows / sizeof(float), 2);
    check(attn_engine_create(NULL, &engine));
    check(attn_mechanism_create_scaled_dot(engine, &mechanism));
    options.flags = ATTN_MEMORY_KEYS_ALONE;
    options.dtype = ATTN_F32;
    options.batch = 1; /* one hypothesis; the first reordering makes more of it */
    options.key_dim = DIM;
    options.capacity = STEPS;
    check(attn_memory_create(mechanism, &options, &memory));

    hypothesis beams[BEAMS] = {{.words = {1}}};
    int count = 1;
    for (int step = 1; step < STEPS; step++) {
        float newest[BEAMS][DIM], contexts[BEAMS][DIM];
        for (int b = 0; b < count; b++) {
            for (int d = 0; d < DIM; d++) newest[b][d] = vectors[beams[b].words[step - 1]][d];
        }
        attn_tensor last, context, rows;
        check(attn_tensor_init(&last, newest, ATTN_F32, 4, (const int64_t[]){count, 1, 1, DIM}));
        check(attn_tensor_init(&context, contexts, ATTN_F32, 4, (const int64_t[]){count, 1, 1, DIM}));
        check(attn_memory_append(memory, &last, NULL, NULL));

        attn_forward_args args = ATTN_FORWARD_ARGS_INIT;
        args.query = &last;
        args.memory = memory;
        args.context = &context;
        check(attn_forward(mechanism, &args));

        hypothesis best[BEAMS];
        int64_t parent[BEAMS];
        extend(beams, count, step, contexts, best, parent);
        count = BEAMS;
        check(attn_tensor_init(&rows, parent, ATTN_I64, 1, (const int64_t[]){BEAMS}));
        check(attn_memory_reorder(memory, &rows));
        for (int b = 0; b < BEAMS; b++) beams[b] = best[b];
    }

    int64_t sequences, lengths[BEAMS];
    check(attn_memory_lengths(memory, &sequences, lengths, BEAMS));
    printf("%d hypotheses; the memory holds %d words of each\n", (int)sequences, (int)lengths[0]);
    for (int b = 0; b < BEAMS; b++) {
        printf("%7.3f ", beams[b].score);
        for (int i = 0; i < STEPS; i++) printf(" %s", words[beams[b].words[i]]);
        printf("\n");
    }
    attn_memory_destroy(memory);
    attn_mechanism_destroy(mechanism);
    attn_engine_destroy(engine);
    return 0;
}
