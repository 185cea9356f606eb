/* SPDX-License-Identifier: BSD-3-Clause
 *
 * serve.c: a server of a small decoder: prompts that are read in pieces beside conversations that talk, conversations
 * that join and leave, a system prompt that is computed and kept once for all, and guesses of what comes next, a tree
 * of them in one call. All layers of all conversations have their keys and values in one pool of pages. In the end each
 * conversation is computed anew, by itself and at once: its tokens must be the same. */
#include "serve/server.h"

#include <stdio.h>
#include <stdlib.h>

static const char system_prompt[] = "You are a helpful parrot. Answer at once, and in words that you were taught.\n";

static const request requests[] = {
    {0, 0, "Polly wants a cracker. Polly wants a", 40},
    {0, 1, "What does Polly want?\n", 48},
    {1, 1, "Who is a pretty bird? Who is a pretty bird?\n", 40},
    {3, 1, "Say one, two, three, one, two, three, one.\n", 24},
    {4, 0, "Pieces of eight! Pieces of eight! Pieces of", 32},
    {9, 1, "Hello.\n", 48},
    {12, 1, "What does Polly want?\n", 20},
    {15, 1, "Sing a song of sixpence, a pocket full of rye; four and twenty blackbirds, baked in a pie.\n", 16},
    {30, 1, "Goodbye.\n", 24},
};
enum { REQUESTS = sizeof requests / sizeof *requests };

static void print_tokens(const int *tokens, int count)
{
    for (int i = 0; i < count; i++) {
        if (tokens[i] == VOCABULARY - 1)
            fputs("\\n", stdout);
        else
            putchar(' ' + tokens[i]);
    }
    putchar('\n');
}

/* Whether the conversation's tokens are what the model says of the whole of it: no memory, no guesses, nothing shared.
 */
static int as_recomputed(const model *m, const conversation *c)
{
    int same = 1;
    float *logits = room(sizeof(float) * VOCABULARY * LONGEST);
    model_forward(m, &(model_input){.rows = c->known, .tokens = c->tokens}, logits);
    for (int t = c->prompt; t < c->known; t++) {
        const int best = model_best(logits + (t - 1) * VOCABULARY);
        if (best != c->tokens[t]) same = 0;
    }
    free(logits);
    return same;
}

int main(void)
{
    conversation finished[REQUESTS];
    int tokens = 0, wrong = 0;
    model *m = model_create();
    server *s = server_create(m, system_prompt, requests, REQUESTS, finished);
    while (server_step(s)) continue;
    for (int i = 0; i < REQUESTS; i++) {
        const conversation *c = &finished[i];
        const int same = as_recomputed(m, c);
        wrong += !same;
        tokens += c->known - c->prompt;
        printf("request %d, steps %d to %d: %s", i, c->joined, c->left - 1, same ? "" : "NOT AS RECOMPUTED: ");
        print_tokens(c->tokens + c->prompt, c->known - c->prompt);
    }
    printf("%d tokens for %d requests in %d steps of %.1f rows; %d steps both prefilled and decoded\n", tokens,
           REQUESTS, s->step, (double)s->rows / s->step, s->mixed);
    printf("%d of %d guesses came true, the second branch %d times\n", s->accepted, s->guessed, s->second);
    printf("at most %d pages in use; without sharing it would have been %d\n", (int)s->pages, (int)s->apart);
    if (wrong)
        printf("%d conversations are not as recomputed\n", wrong);
    else
        puts("all tokens equal those of recomputation");
    server_destroy(s);
    model_destroy(m);
    return wrong > 0;
}
