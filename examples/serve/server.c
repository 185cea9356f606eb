/* SPDX-License-Identifier: BSD-3-Clause
 *
 * server.c: see server.h. A step is: turn_over, who takes part; plan, which rows; batch_forward; settle, what came
 * true. */
#include "server.h"

#include <stdlib.h>

static attn_tensor numbers(int64_t *data, int64_t count)
{
    attn_tensor tensor;
    check(attn_tensor_init(&tensor, data, ATTN_I64, 1, &count));
    return tensor;
}

static void say(conversation *c, const char *text)
{
    for (; *text && c->known < LONGEST; text++) c->tokens[c->known++] = *text == '\n' ? VOCABULARY - 1 : *text - ' ';
}

server *server_create(const model *m, const char *system, const request *requests, int count, conversation *finished)
{
    server *s = room(sizeof *s);
    *s = (server){.model = m, .requests = requests, .asked = count, .finished = finished, .count = 1};
    s->memory = model_memory(m, LAYERS, PAGE);
    s->at[0].request = -1;
    say(&s->at[0], system);
    return s;
}

void server_destroy(server *s)
{
    attn_memory_destroy(s->memory);
    free(s);
}

/* ------------------------------------------------------------------------------------------ who takes part */

/* Conversation `to` of the memory is what conversation from[to] was, -1: new. All layers of it. */
static void reorder(server *s, const int *from)
{
    int64_t rows[CONVERSATIONS * LAYERS];
    for (int i = 0; i < s->count * LAYERS; i++)
        rows[i] = from[i / LAYERS] < 0 ? -1 : from[i / LAYERS] * LAYERS + i % LAYERS;
    const attn_tensor which = numbers(rows, (int64_t)s->count * LAYERS);
    check(attn_memory_reorder(s->memory, &which));
}

/* The next request joins: with the pages of the system prompt, or with none. */
static void join(server *s, int *from)
{
    const int number = s->waiting++;
    const request *r = &s->requests[number];
    conversation *c = &s->at[s->count];
    *c = r->shares ? s->at[0] : (conversation){0};
    from[s->count++] = r->shares ? 0 : -1;
    say(c, r->prompt);
    c->request = number;
    c->prompt = c->known;
    c->end = c->known + r->wanted < LONGEST ? c->known + r->wanted : LONGEST;
    c->joined = s->step;
}

static int may_join(const server *s)
{
    if (s->waiting == s->asked || s->count == CONVERSATIONS) return 0;
    const request *r = &s->requests[s->waiting];
    return r->arrives <= s->step && (!r->shares || s->at[0].kept == s->at[0].known);
}

/* Those that are done leave, those that wait join, by one call for the memory. */
static void turn_over(server *s)
{
    int from[CONVERSATIONS], stay = 0, changed = 0;
    for (int i = 0; i < s->count; i++) {
        conversation *c = &s->at[i];
        if (c->request >= 0 && c->known == c->end) {
            c->left = s->step;
            s->finished[c->request] = *c;
            changed = 1;
        } else {
            from[stay] = i;
            s->at[stay++] = *c;
        }
    }
    s->count = stay;
    for (; may_join(s); changed = 1) join(s, from);
    if (changed) reorder(s, from);
}

/* ------------------------------------------------------------------------------------------------- a step */

/* Whose last token alone is to be read, goes on talking: that row and guesses. The others read as much of their prompts
 * as the budget leaves. */
static void plan(const server *s, batch *b)
{
    int left = BUDGET;
    guess guesses[CONVERSATIONS][GUESSES];
    int counts[CONVERSATIONS] = {0};
    for (int i = 0; i < s->count; i++) {
        const conversation *c = &s->at[i];
        if (c->known - c->kept != 1) continue;
        if (c->known > c->prompt)
            counts[i] = drafts_make(&s->drafts, c->tokens[c->known - 1], c->end - c->known - 1, guesses[i]);
        left -= 1 + counts[i];
    }
    for (int i = 0; i < s->count; i++) {
        const conversation *c = &s->at[i];
        int rows = c->known - c->kept;
        if (rows != 1) {
            rows = rows < left ? rows : left;
            left -= rows;
        }
        batch_add(b, c->kept, c->tokens + c->kept, rows, guesses[i], counts[i]);
    }
}

/* Conversation i has read all that it knows: it says what is most likely, and goes on from guess to guess as long as
 * they are what it says. The rows that came true are written to `true_rows`; returns how many. */
static int speak(server *s, const batch *b, int i, const float *logits, int *true_rows)
{
    conversation *c = &s->at[i];
    int count = 0, row = b->first[i] + b->certain[i] - 1;
    while (row >= 0) {
        const int token = model_best(logits + row * VOCABULARY);
        drafts_learn(&s->drafts, c->tokens[c->known - 1], token);
        c->tokens[c->known++] = token;
        const int next = c->known < c->end ? batch_guess(b, i, row, token) : -1;
        if (next > row + 1) s->second++;
        if (next >= 0) true_rows[count++] = next;
        row = next;
    }
    return count;
}

/* Reads what came of the step; the memory forgets guesses that did not come true, in all layers. */
static void settle(server *s, const batch *b, const float *logits)
{
    int64_t lengths[CONVERSATIONS * LAYERS], offsets[CONVERSATIONS * LAYERS + 1] = {0};
    int64_t positions[BUDGET * LAYERS], count = 0;
    for (int i = 0; i < s->count; i++) {
        conversation *c = &s->at[i];
        int true_rows[GUESSES], accepted = 0;
        c->kept += b->certain[i];
        if (b->certain[i] > 0 && c->kept == c->known && c->known < c->end) accepted = speak(s, b, i, logits, true_rows);
        for (int l = 0; l < LAYERS; l++) {
            lengths[i * LAYERS + l] = c->kept;
            for (int j = 0; j < accepted; j++) positions[count++] = b->kept[i] + true_rows[j] - b->first[i];
            offsets[i * LAYERS + l + 1] = count;
        }
        c->kept += accepted;
        s->accepted += accepted;
        s->guessed += b->first[i + 1] - b->first[i] - b->certain[i];
    }
    if (b->guesses == 0) return;
    const int64_t sequences = (int64_t)s->count * LAYERS;
    const attn_tensor keep = numbers(lengths, sequences), which = numbers(positions, count);
    const attn_tensor whose = numbers(offsets, sequences + 1);
    check(attn_memory_keep(s->memory, &keep, &which, &whose));
}

static void count_step(server *s, const batch *b)
{
    int64_t pages, unused, apart = 0;
    int prefills = 0, decodes = 0;
    check(attn_memory_pages(s->memory, &pages, &unused));
    for (int i = 0; i < s->count; i++) {
        if (i > 0) apart += (s->at[i].kept + PAGE - 1) / PAGE * LAYERS;
        prefills += b->certain[i] > 1;
        decodes += b->certain[i] == 1;
    }
    if (pages - unused > s->pages) s->pages = pages - unused, s->apart = apart;
    s->mixed += prefills > 0 && decodes > 0;
    s->rows += b->rows;
    s->step++;
}

int server_step(server *s)
{
    float logits[BUDGET * VOCABULARY];
    batch b = {0};
    turn_over(s);
    if (s->count == 1 && s->waiting == s->asked) return 0;
    plan(s, &b);
    batch_forward(&b, s->model, s->memory, logits);
    settle(s, &b, logits);
    count_step(s, &b);
    return 1;
}
