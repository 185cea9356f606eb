/* SPDX-License-Identifier: BSD-3-Clause
 *
 * server.h: conversations that share a model, a pool of pages and the rows of each step. */
#ifndef SERVE_SERVER_H
#define SERVE_SERVER_H

#include "drafts.h"

enum { LONGEST = 192, PAGE = 8 };

/* What somebody asks. */
typedef struct request {
    int arrives; /* at this step */
    int shares;  /* 1: it begins with the system prompt */
    const char *prompt;
    int wanted; /* tokens */
} request;

typedef struct conversation {
    int request;                /* its number; -1: the system prompt, which asks nothing */
    int tokens[LONGEST], known; /* the prompt, and what was said since */
    int kept;                   /* so many of them have keys and values in the memory */
    int prompt, end;            /* known when it began, and when it is over */
    int joined, left;           /* at these steps */
} conversation;

typedef struct server {
    const model *model;
    attn_memory *memory; /* of all layers of all conversations: see batch.c */
    const request *requests;
    int waiting, asked;                        /* requests waiting .. asked - 1 have not joined yet */
    conversation at[CONVERSATIONS], *finished; /* at[0] is the system prompt; finished: a place for each request */
    int count, step;
    drafts drafts;
    int rows, mixed, guessed, accepted, second; /* rows in all; steps that prefilled and decoded; guesses, those that
                                                   came true, and times when the second branch did */
    int64_t pages, apart; /* the most pages in use at once, and what these conversations would need by themselves */
} server;

/* Requests come in the order in which they arrive, finished has room for them all. */
server *server_create(const model *m, const char *system, const request *requests, int count, conversation *finished);
void server_destroy(server *s);

/* One step: some leave, some join, all the others go on. 0: there is nothing left to do. */
int server_step(server *s);

#endif
