/* SPDX-License-Identifier: BSD-3-Clause
 *
 * command_align.c: attn align shows attention between two sentences without any training: words attend to words that
 * are spelled alike (ngram.h). That finds names, numbers and cognates, and nothing that only means the same.
 */
#include "command.h"
#include "fail.h"
#include "ngram.h"
#include "npy.h"
#include "options.h"
#include "output.h"
#include "plot.h"
#include "plot_files.h"
#include "text.h"

#include <attn/attn.h>
#include <stdlib.h>
#include <string.h>

enum { WEIGHTS = OPTION_FIRST, TEMPERATURE };

static const struct option options[] = {{"weights", required_argument, NULL, WEIGHTS},
                                        {"temperature", required_argument, NULL, TEMPERATURE},
                                        {"output", required_argument, NULL, 'o'},
                                        {"help", no_argument, NULL, OPTION_HELP},
                                        {NULL, 0, NULL, 0}};

/* The vectors have length 1, so that their product is the cosine of the angle between two words: 1 for equal ones,
 * around 0.5 for cognates, near 0 for strangers. At temperature 0.1 an equal word then outweighs a stranger
 * exp(10) = 22026 times and a cognate does so 148 times, and a word without a like still spreads over all. */
static const double default_temperature = 0.1;
enum { MOST_WORDS = 500 };

typedef struct request {
    const char *source, *target, *weights, *temperature;
    plot_files files;
} request;

static request parse(int argc, char **argv)
{
    request r = {0};
    for (int option; (option = options_next(&command_align, argc, argv, ":ho:", options)) != -1;) {
        switch (option) {
        case WEIGHTS:
            options_set_once(&r.weights, optarg, "weights");
            break;
        case TEMPERATURE:
            options_set_once(&r.temperature, optarg, "temperature");
            break;
        default:
            plot_files_add(&r.files, optarg);
            break;
        }
    }
    options_operands(argc, argv, 2, "two sentences");
    r.source = argv[optind];
    r.target = argv[optind + 1];
    return r;
}

/* The weights of the target's words on the source's. */
static attn_tensor attend(const attn_tensor *target, const attn_tensor *source, double temperature)
{
    attn_engine *engine;
    attn_mechanism *mechanism;
    require(attn_engine_create(NULL, &engine));
    require(attn_mechanism_create_scaled_dot(engine, &mechanism));
    require(attn_mechanism_set_scale(mechanism, 1)); /* not 1 / sqrt(dim): see default_temperature */
    require(attn_mechanism_set_temperature(mechanism, temperature));

    attn_tensor weights = npy_create(ATTN_F32, 2, (const int64_t[]){target->shape[0], source->shape[0]});
    attn_forward_args args = ATTN_FORWARD_ARGS_INIT;
    args.query = target;
    args.key = source;
    args.weights = &weights;
    require(attn_forward(mechanism, &args));
    attn_mechanism_destroy(mechanism);
    attn_engine_destroy(engine);
    return weights;
}

static tokens words_of(const char *name, const char *sentence)
{
    tokens words = tokens_of_sentence(name, sentence);
    if (words.count > MOST_WORDS) fail("%s has %zu words; attn align takes at most %d", name, words.count, MOST_WORDS);
    return words;
}

static void execute(int argc, char **argv)
{
    request r = parse(argc, argv);
    double temperature = r.temperature != NULL ? options_number("--temperature", r.temperature) : default_temperature;
    tokens source_words = words_of("the first sentence", r.source);
    tokens target_words = words_of("the second sentence", r.target);
    FILE *weights_file = r.weights != NULL ? output_open(r.weights) : NULL;

    attn_tensor source, target;
    ngram_embed(&source_words, &target_words, &source, &target);
    attn_tensor weights = attend(&target, &source, temperature);
    plot p = {.title = "Alignment by spelling",
              .note = "words attend to words spelled alike; nothing is trained, meaning plays no part"};
    plot_take(&p, "the alignment", &weights, 0, 0);
    plot_set_words(&p, target_words.items, source_words.items);
    if (weights_file != NULL) npy_write(weights_file, &weights);
    plot_show(&p, &r.files);

    plot_free(&p);
    free(weights.data);
    free(source.data);
    free(target.data);
    tokens_free(&source_words);
    tokens_free(&target_words);
}

static const char text[] =
    "usage: attn align SENTENCE SENTENCE [OPTION ...]\n"
    "\n"
    "Attention from the words of the second sentence to those of the first, for example from French to\n"
    "English. It aligns by spelling, not by meaning: nothing is trained, and a word is the set of its character\n"
    "n-grams. Names, numbers and cognates find each other; zone and area do not.\n"
    "\n"
    "  -o, --output FILE  .png, .svg, .pdf or .html; may be repeated. Without it the matrix is printed\n"
    "  --weights FILE     the weights too, as .npy\n"
    "  --temperature X    of the softmax over cosines; 0.1 without it, less is sharper\n";
static const char *const help[] = {text, NULL};

const command command_align = {
    .name = "align",
    .summary = "align two sentences by how their words are spelled",
    .help = help,
    .execute = execute,
};
