/* SPDX-License-Identifier: BSD-3-Clause
 *
 * fuzz_readers.c: what the command attn reads and draws: .npy files, words, alignments in JSON, and plots of weights
 * with words beside them.
 */
#define _GNU_SOURCE
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../tools/alignments.h"
#include "../../tools/fail.h"
#include "../../tools/npy.h"
#include "../../tools/npy_header.h"
#include "../../tools/number.h"
#include "../../tools/plot.h"
#include "../../tools/plot_colour.h"
#include "../../tools/plot_kinds.h"
#include "../../tools/text.h"
#include "fuzz.h"
#include "tools_in_a_box.h"

/* ------------------------------------------------------------------------------------------------ .npy */

/* A file, and what must come of it, if that is known. */
struct npy {
    const char *path;
    size_t size;
    bool known;
    attn_dtype dtype;
    int32_t ndim;
    int64_t shape[4], count;
    bool fortran, swapped;
    const uint8_t *payload;
};

static size_t bytes_of(attn_dtype dtype)
{
    return dtype == ATTN_BOOL || dtype == ATTN_I8    ? 1
           : dtype == ATTN_F16 || dtype == ATTN_BF16 ? 2
           : dtype == ATTN_F64 || dtype == ATTN_I64  ? 8
                                                     : 4;
}

static int64_t count_of(const attn_tensor *t)
{
    int64_t count = 1;
    for (int32_t d = 0; d < t->ndim; d++) count *= t->shape[d];
    return count;
}

/* Element `at` in C order. */
static const uint8_t *element(const attn_tensor *t, int64_t at)
{
    int64_t offset = 0;
    for (int32_t d = t->ndim - 1; d >= 0; d--) {
        offset += at % t->shape[d] * t->stride[d];
        at /= t->shape[d];
    }
    return (const uint8_t *)t->data + offset * (int64_t)bytes_of(t->dtype);
}

static void check_known(const struct npy *npy, const attn_tensor *t)
{
    const size_t bytes = bytes_of(npy->dtype);
    CHECK(t->dtype == npy->dtype && t->ndim == npy->ndim, "dtype %d, rank %d", (int)t->dtype, (int)t->ndim);
    for (int32_t d = 0; d < t->ndim; d++) CHECK(t->shape[d] == npy->shape[d], "dimension %d", (int)d);
    for (int64_t at = 0; at < npy->count; at++) {
        int64_t place = at; /* in the file */
        if (npy->fortran) {
            int64_t rest = at, step = npy->count;
            place = 0;
            for (int32_t d = t->ndim - 1; d >= 0; d--) {
                step /= npy->shape[d];
                place += rest % npy->shape[d] * step;
                rest /= npy->shape[d];
            }
        }
        for (size_t i = 0; i < bytes; i++) {
            const size_t from = npy->swapped ? bytes - 1 - i : i;
            CHECK(element(t, at)[i] == npy->payload[(size_t)place * bytes + from], "element %d", (int)at);
        }
    }
}

/* What was read can be written and read again. */
static void check_round(const attn_tensor *t)
{
    char *text = NULL;
    size_t size = 0;
    if (!number_is_real(t->dtype)) return;
    attn_tensor plain = npy_create(t->dtype, t->ndim, t->shape);
    for (int64_t at = 0, n = count_of(t); at < n; at++) {
        memcpy((char *)plain.data + (size_t)at * bytes_of(t->dtype), element(t, at), bytes_of(t->dtype));
    }
    FILE *stream = open_memstream(&text, &size);
    npy_write(stream, &plain);
    fclose(stream);
    const attn_tensor again = npy_read(box_file((const uint8_t *)text, size), 0);
    free(text);
    CHECK(again.dtype == t->dtype && again.ndim == t->ndim, "it was written as another type");
    for (int32_t d = 0; d < t->ndim; d++) CHECK(again.shape[d] == t->shape[d], "dimension %d changed", (int)d);
    for (int64_t at = 0, n = count_of(t); at < n; at++) {
        CHECK(memcmp(element(&again, at), element(t, at), bytes_of(t->dtype)) == 0, "element %d changed", (int)at);
    }
}

static void read_npy(void *data)
{
    const struct npy *npy = data;
    const attn_tensor t = npy_read(npy->path, ATTN_BF16);
    CHECK(t.ndim >= 1 && t.ndim <= 4, "rank %d", (int)t.ndim);
    CHECK((uint64_t)count_of(&t) * bytes_of(t.dtype) <= npy->size, "more elements than the file has");
    volatile uint8_t sum = 0;
    for (int64_t at = 0, n = count_of(&t); at < n; at++) sum = (uint8_t)(sum + *element(&t, at));
    if (npy->known) check_known(npy, &t);
    check_round(&t);
}

static size_t put(uint8_t *file, size_t at, const char *text)
{
    memcpy(file + at, text, strlen(text));
    return at + strlen(text);
}

/* A header of any spelling that NumPy writes, around what is left of the input; then, perhaps, one byte changed. */
static void check_npy(struct bytes *b)
{
    static uint8_t file[1 << 16];
    static const char *const codes[] = {"f4", "f8", "b1", "i4", "i8", "f2", "V2", "u2", "i1"};
    static const attn_dtype dtypes[] = {ATTN_F32, ATTN_F64,  ATTN_BOOL, ATTN_I32, ATTN_I64,
                                        ATTN_F16, ATTN_BF16, ATTN_BF16, ATTN_I8};
    struct npy npy = {.known = true, .ndim = 1 + (int32_t)(take(b) % 4), .count = 1};
    const unsigned type = take(b) % 9, choice = take(b), order = take(b) % 6, version = 1 + take(b) % 3;
    char shape[128] = "", text[512], piece[3][160];
    npy.dtype = dtypes[type];
    npy.fortran = choice & 1;
    npy.swapped = (choice & 2) && bytes_of(npy.dtype) > 1;
    for (int32_t d = 0; d < npy.ndim; d++) {
        npy.shape[d] = take(b) % 5;
        npy.count *= npy.shape[d];
        snprintf(shape + strlen(shape), sizeof shape - strlen(shape), "%d,", (int)npy.shape[d]);
    }
    if (npy.ndim > 1 && choice & 4) shape[strlen(shape) - 1] = '\0';
    const char *quote = choice & 8 ? "\"" : "'", *space = choice & 16 ? " " : "";
    const char mark = bytes_of(npy.dtype) == 1 ? '|' : npy.swapped == npy_machine_is_little_endian() ? '>' : '<';
    snprintf(piece[0], sizeof piece[0], "%sdescr%s:%s%s%c%s%s", quote, quote, space, quote, mark, codes[type], quote);
    snprintf(piece[1], sizeof piece[1], "%sfortran_order%s:%s%s", quote, quote, space, npy.fortran ? "True" : "False");
    snprintf(piece[2], sizeof piece[2], "%sshape%s:%s(%s)", quote, quote, space, shape);
    static const int orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    snprintf(text, sizeof text, "{%s,%s%s,%s%s%s}\n", piece[orders[order][0]], space, piece[orders[order][1]], space,
             piece[orders[order][2]], choice & 32 ? "," : "");
    size_t at = put(file, 0, "\x93NUMPY");
    const size_t length = strlen(text);
    file[at++] = (uint8_t)version, file[at++] = 0;
    for (unsigned i = 0; i < (version == 1 ? 2U : 4U); i++) file[at++] = (uint8_t)(length >> 8 * i);
    at = put(file, at, text);
    npy.payload = file + at;
    const size_t payload = (size_t)npy.count * bytes_of(npy.dtype);
    for (size_t i = 0; i < payload; i++) file[at++] = (uint8_t)take(b);
    npy.size = at;
    if (choice >= 128) { /* the file is wrong somewhere, or may be */
        npy.known = false;
        const size_t where = (size_t)take_range(b, 0, 255) % at;
        if (choice & 64)
            file[where] = (uint8_t)take(b);
        else
            npy.size = where;
    }
    npy.path = box_file(file, npy.size);
    const bool read = in_a_box(read_npy, &npy);
    CHECK(read || !npy.known, "a right file is refused: %s", box_sentence());
}

/* The input is the file. */
static void check_raw_npy(struct bytes *b)
{
    struct npy npy = {.path = box_file(b->at, b->left), .size = b->left};
    (void)in_a_box(read_npy, &npy);
}

/* ------------------------------------------------------------------------------------------------ words */

/* No control character, no white space but the blank: as UTF-8 has them in single bytes or in two. */
static void check_word(const char *word)
{
    CHECK(word[0] != '\0', "an empty word");
    for (const unsigned char *c = (const unsigned char *)word; *c != '\0'; c++) {
        CHECK(*c >= 0x20 && *c != 0x7F, "the word has the byte 0x%02x", *c);
        CHECK(c[0] != 0xC2 || c[1] < 0x80 || c[1] >= 0xA0, "the word has the control character U+00%02X", c[1]);
        CHECK(*c != 0xC0 && *c != 0xC1 && *c < 0xF5, "the word is not UTF-8");
    }
    int used = 0;
    const int width = text_width(word);
    CHECK(width >= 0, "a width of %d", width);
    for (int columns = 1; columns < 8; columns += 3) {
        char *cut = text_shortened(word, columns);
        CHECK(text_width(cut) <= columns, "%d columns, not %d", text_width(cut), columns);
        CHECK(text_fit(word, columns, &used) <= strlen(word) && used <= columns, "%d columns fit", used);
    }
}

static void read_words(void *data)
{
    const tokens words = tokens_of_file(data);
    CHECK(words.count > 0, "no words");
    for (size_t i = 0; i < words.count && i < 300; i++) check_word(words.items[i]);
}

static void check_words(struct bytes *b)
{
    const char *path = box_file(b->at, b->left);
    (void)in_a_box(read_words, (void *)(uintptr_t)path);
}

/* ------------------------------------------------------------------------------------------------ plots */

typedef void plot_writer(const plot *p, FILE *stream);

struct drawing {
    struct bytes *bytes;
    plot_writer *write;
    bool escapes; /* what means something in a page does not as a word */
};

static size_t times_in(const char *text, size_t size, char c)
{
    size_t times = 0;
    for (size_t i = 0; i < size; i++) times += text[i] == c;
    return times;
}

/* Makes the words harmless, where a page must not change its build whatever they are; false if two of them became
 * equal, which a page tells apart. */
static bool soften(tokens *words, size_t used)
{
    bool *equal = allocate(used * used, sizeof *equal);
    for (size_t i = 0; i < used * used; i++) equal[i] = strcmp(words->items[i / used], words->items[i % used]) == 0;
    for (size_t i = 0; i < words->count; i++) {
        for (char *c = words->items[i]; *c != '\0'; c++) {
            if (strchr("<>&\"'", *c) != NULL) *c = 'x';
        }
    }
    bool alike = true;
    for (size_t i = 0; i < used * used; i++) {
        alike = alike && equal[i] == (strcmp(words->items[i / used], words->items[i % used]) == 0);
    }
    return alike;
}

static void check_colours(const plot *p)
{
    for (size_t i = 0; i < p->count; i++) {
        const plot_matrix *m = &p->matrices[i];
        for (size_t k = 0; k < m->rows * m->columns; k++) {
            const double part = plot_part(p, m->weights[k]);
            const plot_colour colour = plot_colour_of(part);
            CHECK(part >= 0.0 && part <= 1.0, "a part of %g", part);
            CHECK(colour.red >= 0 && colour.red <= 1 && colour.green >= 0 && colour.green <= 1 && colour.blue >= 0 &&
                      colour.blue <= 1,
                  "a colour that is none");
        }
    }
}

static void draw(void *data)
{
    const struct drawing *d = data;
    struct bytes *b = d->bytes;
    plot p = {.title = "a title"};
    const int64_t shape[4] = {1, 1 + take(b) % 2, 1 + take(b) % 12, 1 + take(b) % 12};
    const unsigned kind = take(b), choice = take(b) % 4;
    const size_t head = choice == 3 ? PLOT_ALL_HEADS : choice;
    struct rng rng = take_rng(b);
    attn_tensor weights = npy_create(kind & 1 ? ATTN_F64 : ATTN_F32, 4, shape);
    for (int64_t i = 0, n = count_of(&weights); i < n; i++) {
        double w = rng_uniform(&rng, 0.0, 1.0);
        if (kind / 2 % 4 == 1) w = 0.0;
        if (kind / 2 % 4 == 2) w *= 1e-30;
        if (kind / 2 % 4 == 3) w *= 1e30;
        if (kind >= 224 && rng_chance(&rng, 0.01)) w = rng_chance(&rng, 0.5) ? NAN : -1.0;
        if (kind & 1)
            ((double *)weights.data)[i] = w;
        else
            ((float *)weights.data)[i] = (float)w;
    }
    plot_take(&p, "weights", &weights, 0, head);
    check_colours(&p);
    /* Words from what is left, made up to as many as are needed. */
    const size_t rows = p.matrices[0].rows, columns = p.matrices[0].columns, most = rows > columns ? rows : columns;
    char *sentence = allocate(b->left + 3 * most + 1, 1);
    if (b->left > 0) memcpy(sentence, b->at, b->left);
    sentence[b->left] = '\0';
    for (size_t i = 0; i < most; i++) strcat(sentence, " &<");
    tokens words = tokens_of_sentence("words", sentence);
    plot_set_words(&p, words.items, words.items);
    char *drawn = NULL, *softly = NULL;
    size_t size = 0, soft_size = 0;
    FILE *stream = open_memstream(&drawn, &size);
    d->write(&p, stream);
    fclose(stream);
    CHECK(size > 0, "nothing was drawn");
    if (d->escapes && soften(&words, most)) {
        stream = open_memstream(&softly, &soft_size);
        d->write(&p, stream);
        fclose(stream);
        CHECK(times_in(drawn, size, '<') == times_in(softly, soft_size, '<'), "a word has become part of the page");
        CHECK(times_in(drawn, size, '"') == times_in(softly, soft_size, '"'), "a word has become part of the page");
    }
    free(drawn), free(softly);
}

static void check_plot(struct bytes *b)
{
    static plot_writer *const writers[] = {plot_write_terminal, plot_write_html, plot_write_svg, plot_write_pdf,
                                           plot_write_png};
    const unsigned which = take(b);
    unsigned kind = which < 150 ? 0 : which < 230 ? 1 : which < 240 ? 2 : which < 248 ? 3 : 4;
    if (kind > 2 && !take_one_in(b, 8)) kind = 0; /* pictures take long */
    struct drawing d = {.bytes = b, .write = writers[kind], .escapes = kind == 1};
    (void)in_a_box(draw, &d);
}

/* ------------------------------------------------------------------------------------------------ alignments */

static void read_alignments(void *data)
{
    plot p = {0};
    char *drawn = NULL;
    size_t size = 0;
    alignments_read(&p, data, NULL);
    CHECK(p.count > 0, "no runs");
    check_colours(&p);
    for (size_t i = 0; i < p.count; i++) {
        const plot_matrix *m = &p.matrices[i];
        for (size_t k = 0; k < m->rows; k++) CHECK(m->row_words[k][0] != '\0', "an empty word");
        for (size_t k = 0; k < m->link_count; k++) {
            CHECK(m->links[k].row < m->rows && m->links[k].column < m->columns, "a link to nowhere");
        }
    }
    FILE *stream = open_memstream(&drawn, &size);
    plot_write_html(&p, stream);
    plot_write_terminal(&p, stream);
    fclose(stream);
    free(drawn);
    plot_free(&p);
}

/* The input is the file, or what is left of it takes the place of a part of a right one. */
static void check_alignments(struct bytes *b)
{
    static const char right[] =
        "{\"format\": \"attn-alignments 1\", \"runs\": [{\"model\": \"a\\u00e9\", \"note\": \"n\", "
        "\"source\": [\"x\", \"y\"], \"target\": [\"z\"], \"gold\": [[0, 0], [1, 0, \"possible\"]], "
        "\"scores\": [[1e0, null]], \"factor\": [[1, 1]], \"temperature\": 2, "
        "\"weights\": [[1, 0.0]], \"reference\": [\"z\"]}]}";
    const unsigned which = take(b);
    if (which % 2 == 0) {
        (void)in_a_box(read_alignments, (void *)(uintptr_t)box_file(b->at, b->left));
        return;
    }
    static uint8_t file[1 << 16];
    size_t from = (size_t)take_range(b, 0, sizeof right - 1), to = from + take(b) % 8,
           put_in = b->left < 1000 ? b->left : 1000;
    if (to > sizeof right - 1) to = sizeof right - 1;
    memcpy(file, right, from);
    if (put_in > 0) memcpy(file + from, b->at, put_in);
    memcpy(file + from + put_in, right + to, sizeof right - 1 - to);
    const bool read =
        in_a_box(read_alignments, (void *)(uintptr_t)box_file(file, sizeof right - 1 - to + from + put_in));
    CHECK(read || to > from || put_in > 0, "a right file is refused: %s", box_sentence());
}

void fuzz_one(struct bytes *b)
{
    const unsigned choice = take(b), which = choice % 8;
    if (choice >= 248) { /* beside the rest, so that older inputs stay what they were */
        check_alignments(b);
        return;
    }
    if (which < 3) check_npy(b);
    if (which == 3) check_raw_npy(b);
    if (which == 4) check_words(b);
    if (which > 4) check_plot(b);
}
