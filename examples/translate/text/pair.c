/* SPDX-License-Identifier: BSD-3-Clause
 *
 * pair.c: see pair.h. The reader takes any bytes and either understands a line or says what is wrong with it. */
#include "text/pair.h"

#include "refuse.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* Room for one more of what there are count of. Room doubles whenever the count reaches a power of two, so that no
 * capacity need be kept. */
static void *room_for_one(void *array, int count, size_t size)
{
    if (count > 0 && (count & (count - 1)) != 0) return array;
    if (count > INT_MAX / 2) give_up("a sentence has more than %d tokens", INT_MAX / 2);
    return reallocate(array, count > 0 ? 2 * (size_t)count : 1, size);
}

void pair_add_source(sentence_pair *pair, const char *token)
{
    pair->source = room_for_one(pair->source, pair->source_count, sizeof *pair->source);
    pair->source[pair->source_count++] = copy_text(token);
}

void pair_add_target(sentence_pair *pair, const char *token)
{
    pair->target = room_for_one(pair->target, pair->target_count, sizeof *pair->target);
    pair->target[pair->target_count++] = copy_text(token);
}

static bool comes_before(const pair_link *link, int source, int target)
{
    return link->target != target ? link->target < target : link->source < source;
}

void pair_add_link(sentence_pair *pair, int source, int target, bool sure)
{
    int at = pair->link_count; /* from the end, where most links belong */
    while (at > 0 && !comes_before(&pair->links[at - 1], source, target)) at--;
    if (at < pair->link_count && pair->links[at].source == source && pair->links[at].target == target) {
        pair->links[at].sure = pair->links[at].sure || sure;
        return;
    }
    pair->links = room_for_one(pair->links, pair->link_count, sizeof *pair->links);
    memmove(&pair->links[at + 1], &pair->links[at], (size_t)(pair->link_count - at) * sizeof *pair->links);
    pair->links[at] = (pair_link){.source = source, .target = target, .sure = sure};
    pair->link_count++;
}

void pair_free(sentence_pair *pair)
{
    for (int i = 0; i < pair->source_count; i++) free(pair->source[i]);
    for (int i = 0; i < pair->target_count; i++) free(pair->target[i]);
    free(pair->source);
    free(pair->target);
    free(pair->links);
    memset(pair, 0, sizeof *pair);
}

static void write_tokens(FILE *file, char *const *tokens, int count)
{
    for (int i = 0; i < count; i++) {
        if (i > 0) fputc(' ', file);
        fputs(tokens[i], file);
    }
}

void pair_write(FILE *file, const sentence_pair *pair)
{
    write_tokens(file, pair->source, pair->source_count);
    fputc('\t', file);
    write_tokens(file, pair->target, pair->target_count);
    for (int i = 0; i < pair->link_count; i++) {
        const pair_link *link = &pair->links[i];
        fprintf(file, "%c%d%c%d", i > 0 ? ' ' : '\t', link->source, link->sure ? '-' : '?', link->target);
    }
    fputc('\n', file);
}

void pair_list_take(pair_list *list, sentence_pair *pair)
{
    if (list->count == list->capacity) {
        list->capacity = list->capacity > 0 ? 2 * list->capacity : 64;
        list->pairs = reallocate(list->pairs, list->capacity, sizeof *list->pairs);
    }
    list->pairs[list->count++] = *pair;
    memset(pair, 0, sizeof *pair);
}

void pair_list_free(pair_list *list)
{
    for (size_t i = 0; i < list->count; i++) pair_free(&list->pairs[i]);
    free(list->pairs);
    memset(list, 0, sizeof *list);
}

/* Where the reader is: for what it says, and the line's bytes, which grow to the longest line's. */
typedef struct reading {
    FILE *file;
    const char *name;
    size_t line;
    char *bytes;
    size_t size, capacity;
} reading;

/* The next line without its newline and with a zero behind it; false at the end of the file. */
static bool next_line(reading *r)
{
    r->size = 0;
    int c = 0;
    for (;;) {
        if (r->size == r->capacity) {
            r->capacity = r->capacity > 0 ? 2 * r->capacity : 1024;
            r->bytes = reallocate(r->bytes, r->capacity, 1);
        }
        c = getc(r->file);
        if (c == EOF || c == '\n') break;
        r->bytes[r->size++] = (char)c;
    }
    if (ferror(r->file)) refuse("%s cannot be read: %s", r->name, strerror(errno));
    if (c == EOF && r->size == 0) return false;
    r->bytes[r->size] = '\0';
    r->line++;
    return true;
}

/* How many bytes the character at bytes takes, 0 if it is none (RFC 3629: the shortest form, no surrogates). The zero
 * behind the text ends every sequence that is cut short. */
static size_t character_bytes(const unsigned char *bytes)
{
    const unsigned char first = bytes[0];
    if (first < 0x80) return 1;
    const size_t count = first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
    for (size_t i = 1; i < count; i++) {
        if ((bytes[i] & 0xc0) != 0x80) return 0;
    }
    if (first == 0xe0 && bytes[1] < 0xa0) return 0;
    if (first == 0xed && bytes[1] > 0x9f) return 0;
    if (first == 0xf0 && bytes[1] < 0x90) return 0;
    if (first == 0xf4 && bytes[1] > 0x8f) return 0;
    return count;
}

static void must_be_text(const reading *r)
{
    for (size_t at = 0; at < r->size;) {
        const unsigned char *here = (const unsigned char *)r->bytes + at;
        const size_t bytes = character_bytes(here);
        if (bytes == 0) refuse("%s:%zu: byte %zu of the line is not UTF-8", r->name, r->line, at + 1);
        if (bytes == 1 && here[0] != '\t' && (here[0] < 0x20 || here[0] == 0x7f)) {
            refuse("%s:%zu: byte %zu of the line is a control character%s", r->name, r->line, at + 1,
                   here[0] == '\r' ? " (a carriage return: lines end in a newline alone)" : "");
        }
        at += bytes;
    }
}

/* Cuts a field into tokens and adds them by add; the field is overwritten. */
static void read_tokens(const reading *r, char *field, const char *side, sentence_pair *pair,
                        void (*add)(sentence_pair *, const char *))
{
    if (field[0] == '\0') refuse("%s:%zu: the %s sentence is empty", r->name, r->line, side);
    for (char *token = field; token != NULL;) {
        char *space = strchr(token, ' ');
        if (space != NULL) *space = '\0';
        if (token[0] == '\0') {
            refuse("%s:%zu: the tokens of the %s sentence are not separated by single spaces", r->name, r->line, side);
        }
        add(pair, token);
        token = space != NULL ? space + 1 : NULL;
    }
}

/* The number at *text, which is moved behind it; -1 if there is none or it is not below limit. */
static int number_below(const char **text, int limit)
{
    int number = -1;
    for (; **text >= '0' && **text <= '9'; (*text)++) {
        const int digit = **text - '0';
        number = number < 0 ? digit : number > (INT_MAX - digit) / 10 ? INT_MAX : number * 10 + digit;
    }
    return number < limit ? number : -1;
}

static void read_links(const reading *r, char *field, sentence_pair *pair)
{
    for (char *word = field; word != NULL;) {
        char *space = strchr(word, ' ');
        if (space != NULL) *space = '\0';
        const char *at = word;
        const int source = number_below(&at, INT_MAX);
        const char kind = *at;
        if (kind == '-' || kind == '?') at++;
        const int target = number_below(&at, INT_MAX);
        if ((kind != '-' && kind != '?') || *at != '\0' || source < 0 || target < 0) {
            refuse("%s:%zu: \"%s\" is no link (links are like 0-1 or 0?1, with single spaces between)", r->name,
                   r->line, word);
        }
        if (source >= pair->source_count || target >= pair->target_count) {
            refuse("%s:%zu: the link %s leads to no token (there are %d and %d, counted from 0)", r->name, r->line,
                   word, pair->source_count, pair->target_count);
        }
        pair_add_link(pair, source, target, kind == '-');
        word = space != NULL ? space + 1 : NULL;
    }
}

static void read_pair(const reading *r, sentence_pair *pair)
{
    must_be_text(r);
    char *fields[3] = {r->bytes, NULL, NULL};
    int count = 1;
    for (char *tab = strchr(r->bytes, '\t'); tab != NULL; tab = strchr(tab + 1, '\t')) {
        if (count == 3) refuse("%s:%zu: the line has more than three fields", r->name, r->line);
        *tab = '\0';
        fields[count++] = tab + 1;
    }
    if (count == 1) {
        refuse("%s:%zu: the line has no tab: a pair is two sentences with a tab between", r->name, r->line);
    }
    read_tokens(r, fields[0], "first", pair, pair_add_source);
    read_tokens(r, fields[1], "second", pair, pair_add_target);
    if (count == 3 && fields[2][0] != '\0') read_links(r, fields[2], pair);
}

void pair_list_read(pair_list *list, const char *path)
{
    const bool standard_input = strcmp(path, "-") == 0;
    reading r = {.file = standard_input ? stdin : fopen(path, "rb"), .name = standard_input ? "standard input" : path};
    if (r.file == NULL) refuse("%s cannot be opened: %s", path, strerror(errno));
    while (next_line(&r)) {
        sentence_pair pair = {0};
        read_pair(&r, &pair);
        pair_list_take(list, &pair);
    }
    if (!standard_input) fclose(r.file);
    free(r.bytes);
}
