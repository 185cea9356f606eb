/* SPDX-License-Identifier: BSD-3-Clause
 *
 * command_plot.c: attn plot shows the weights of a .npy file as an alignment matrix, and those of several models, in a
 * file of alignments, beside each other.
 */
#include "alignments.h"
#include "command.h"
#include "fail.h"
#include "npy.h"
#include "number.h"
#include "options.h"
#include "plot.h"
#include "plot_files.h"
#include "text.h"

#include <stdlib.h>
#include <string.h>

enum { ROWS = OPTION_FIRST, COLUMNS, TITLE, BATCH, HEAD, RUN };

static const struct option options[] = {{"rows", required_argument, NULL, ROWS},
                                        {"columns", required_argument, NULL, COLUMNS},
                                        {"title", required_argument, NULL, TITLE},
                                        {"batch", required_argument, NULL, BATCH},
                                        {"head", required_argument, NULL, HEAD},
                                        {"output", required_argument, NULL, 'o'},
                                        {"run", required_argument, NULL, RUN},
                                        {"help", no_argument, NULL, OPTION_HELP},
                                        {NULL, 0, NULL, 0}};

typedef struct request {
    const char *weights, *rows, *columns, *title, *batch, *head, *run;
    plot_files files;
} request;

static request parse(int argc, char **argv)
{
    request r = {0};
    for (int option; (option = options_next(&command_plot, argc, argv, ":ho:", options)) != -1;) {
        switch (option) {
        case ROWS:
            options_set_once(&r.rows, optarg, "rows");
            break;
        case COLUMNS:
            options_set_once(&r.columns, optarg, "columns");
            break;
        case TITLE:
            options_set_once(&r.title, optarg, "title");
            break;
        case BATCH:
            options_set_once(&r.batch, optarg, "batch");
            break;
        case HEAD:
            options_set_once(&r.head, optarg, "head");
            break;
        case RUN:
            options_set_once(&r.run, optarg, "run");
            break;
        default:
            plot_files_add(&r.files, optarg);
            break;
        }
    }
    options_operands(argc, argv, 1, "the .npy file of the weights, or a .json file of alignments");
    r.weights = argv[optind];
    return r;
}

static size_t index_or_0(const char *option, const char *text)
{
    int64_t index = text != NULL ? options_integer(option, text) : 0;
    if (index < 0) fail("%s counts from 0; %s is not there", option, text);
    return (size_t)index;
}

static size_t head_of(const char *text)
{
    return text != NULL && strcmp(text, "all") == 0 ? PLOT_ALL_HEADS : index_or_0("--head", text);
}

/* The words along one side: those of the file, as many as the matrix has there, or numbers from 0. */
static tokens words_along(const char *path, size_t count, const char *side)
{
    if (path == NULL) return tokens_numbered(count);
    tokens words = tokens_of_file(path);
    if (words.count != count) fail("%s has %zu words, and the weights have %zu %s", path, words.count, count, side);
    return words;
}

/* Says which matrix is shown where the file has several; NULL where it has one. */
static char *note_of(const attn_tensor *tensor, size_t batch, size_t head)
{
    enum { ROOM = 128 };
    int64_t batches = tensor->ndim == 4 ? tensor->shape[0] : 1;
    int64_t heads = tensor->ndim >= 3 ? tensor->shape[tensor->ndim - 3] : 1;
    if (batches <= 1 && heads <= 1) return NULL;
    char *note = allocate(ROOM, 1), of_heads[ROOM / 2] = "";
    if (heads > 1 && head == PLOT_ALL_HEADS) {
        (void)snprintf(of_heads, sizeof of_heads, "%lld heads", (long long)heads);
    } else if (heads > 1) {
        (void)snprintf(of_heads, sizeof of_heads, "head %zu of 0 to %lld", head, (long long)heads - 1);
    }
    int used = batches > 1 ? snprintf(note, ROOM, "batch %zu of 0 to %lld", batch, (long long)batches - 1) : 0;
    (void)snprintf(note + used, (size_t)(ROOM - used), "%s%s", used > 0 && heads > 1 ? ", " : "", of_heads);
    return note;
}

static void draw_weights(request *r)
{
    if (r->run != NULL) fail("--run chooses from a .json file of alignments, which %s is not", r->weights);
    size_t batch = index_or_0("--batch", r->batch), head = head_of(r->head);
    attn_tensor tensor = npy_read(r->weights, 0);
    char *note = note_of(&tensor, batch, head);
    plot p = {.title = r->title != NULL ? r->title : "Attention weights", .note = note};
    plot_take(&p, r->weights, &tensor, batch, head);
    tokens rows = words_along(r->rows, p.matrices[0].rows, "rows");
    tokens columns = words_along(r->columns, p.matrices[0].columns, "columns");
    plot_set_words(&p, rows.items, columns.items);
    plot_show(&p, &r->files);
    tokens_free(&rows);
    tokens_free(&columns);
    plot_free(&p);
    free(tensor.data);
    free(note);
}

static void draw_alignments(request *r)
{
    const struct {
        const char *name, *value;
    } others[] = {{"--rows", r->rows}, {"--columns", r->columns}, {"--batch", r->batch}, {"--head", r->head}};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; ++i) {
        if (others[i].value != NULL)
            fail("%s is for .npy files; %s has its own words and runs", others[i].name, r->weights);
    }
    plot p = {0};
    alignments_read(&p, r->weights, r->run);
    if (r->title != NULL) p.title = r->title;
    plot_show(&p, &r->files);
    plot_free(&p);
}

static void execute(int argc, char **argv)
{
    request r = parse(argc, argv);
    if (r.title != NULL) {
        text_check("--title", r.title, strlen(r.title));
        if (strpbrk(r.title, "\t\r\n") != NULL) fail("--title is more than one line");
    }
    if (alignments_is_file(r.weights)) {
        draw_alignments(&r);
    } else {
        draw_weights(&r);
    }
}

static const char text[] =
    "usage: attn plot WEIGHTS.npy [OPTION ...]\n"
    "       attn plot ALIGNMENTS.json [OPTION ...]\n"
    "\n"
    "WEIGHTS.npy is " NUMBER_TYPES ": [rows, columns], [heads, rows, columns] or [batch, heads, rows,\n"
    "columns], at most 500 rows and columns. Rows are queries (target words), columns are keys (source words).\n"
    "ALIGNMENTS.json has the words, weights and scores of several models (attn(1) describes it), which are drawn\n"
    "beside each other; in the page one is chosen, and its temperature can be changed.\n"
    "\n"
    "  --rows FILE        the words along the rows: one on each line, or a single line of words\n"
    "  --columns FILE     the words along the columns; numbers from 0 without these options\n"
    "  --batch N          which matrix of several, from 0\n"
    "  --head N, all      likewise; or all of them side by side, in the page with a choice of which is large\n"
    "  --run NAME, N      one run of the alignments, by its model or from 0\n"
    "  --title TEXT\n"
    "  -o, --output FILE  .png, .svg, .pdf or .html; may be repeated. Without it the matrix is printed: in\n"
    "                     colour on a terminal, unless NO_COLOR is set, and as shades otherwise\n";
static const char *const help[] = {text, NULL};

const command command_plot = {
    .name = "plot",
    .summary = "draw weights as an alignment matrix: png, svg, pdf, html, or in the terminal",
    .help = help,
    .execute = execute,
};
