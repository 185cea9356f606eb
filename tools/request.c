/* SPDX-License-Identifier: BSD-3-Clause
 *
 * request.c: one table of options out of those of all calls, and which of them go together.
 */
#include "request.h"

#include "command.h"
#include "fail.h"
#include "npy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct option help = {"help", no_argument, NULL, OPTION_HELP};

static const request_option *find(const run_call *call, const char *name)
{
    for (const request_option *const *list = call->options; *list != NULL; ++list) {
        for (const request_option *option = *list; option->name != NULL; ++option) {
            if (strcmp(option->name, name) == 0) return option;
        }
    }
    return NULL;
}

/* The place of an option in the table, which ends without a name; the place of that end if it is not there. */
static size_t place_of(const struct option *options, const char *name)
{
    size_t i = 0;
    while (options[i].name != NULL && strcmp(options[i].name, name) != 0) ++i;
    return i;
}

static struct option *add_options(struct option *options, const request_option *list)
{
    for (; list->name != NULL; ++list) {
        size_t i = place_of(options, list->name);
        if (options[i].name != NULL) continue;
        options = reallocate(options, i + 2, sizeof *options);
        options[i] =
            (struct option){list->name, list->flag ? no_argument : required_argument, NULL, (int)(OPTION_FIRST + i)};
        options[i + 1] = (struct option){0};
    }
    return options;
}

static struct option *table_of(const run_call *const *calls)
{
    struct option *options = allocate(2, sizeof *options);
    options[0] = help;
    options[1] = (struct option){0};
    for (; *calls != NULL; ++calls) {
        for (const request_option *const *list = (*calls)->options; *list != NULL; ++list) {
            options = add_options(options, *list);
        }
    }
    return options;
}

/* The call that the options ask for: the first one without a selector. An option of another one is a mistake. */
static const run_call *choose(const request *r, const run_call *const *calls)
{
    const run_call *chosen = calls[0];
    for (const run_call *const *call = calls + 1; *call != NULL; ++call) {
        if (chosen == calls[0] && request_get(r, (*call)->selector) != NULL) chosen = *call;
    }
    for (size_t i = 0; r->options[i].name != NULL; ++i) {
        const char *name = r->options[i].name;
        if (r->given[i].value == NULL || find(chosen, name) != NULL) continue;
        if (chosen != calls[0]) fail("--%s does not go with --%s", name, chosen->selector);
        for (const run_call *const *call = calls + 1; *call != NULL; ++call) {
            if (find(*call, name) != NULL) fail("--%s needs --%s", name, (*call)->selector);
        }
    }
    return chosen;
}

static void check_companions(const request *r)
{
    for (size_t i = 0; r->options[i].name != NULL; ++i) {
        if (r->given[i].value == NULL) continue;
        const request_option *option = find(r->call, r->options[i].name);
        if (option->needs != NULL && request_get(r, option->needs) == NULL) {
            fail("--%s needs --%s", option->name, option->needs);
        }
    }
}

request request_parse(int argc, char **argv, const run_call *const *calls)
{
    request r = {.options = table_of(calls)};
    size_t count = place_of(r.options, "");
    r.given = allocate(count, sizeof *r.given);
    memset(r.given, 0, count * sizeof *r.given);
    for (int option; (option = options_next(&command_run, argc, argv, ":h", r.options)) != -1;) {
        int which = option - OPTION_FIRST;
        if (strcmp(r.options[which].name, "param") == 0) {
            parameters_add(&r.params, optarg);
            r.given[which].value = optarg;
        } else {
            options_set_once(&r.given[which].value, optarg != NULL ? optarg : "", r.options[which].name);
        }
    }
    options_operands(argc, argv, 0, "nothing");
    r.call = choose(&r, calls);
    check_companions(&r);
    r.u2 = request_get(&r, "u2-is-bf16") != NULL ? ATTN_BF16 : 0;
    parameters_read(&r.params, r.u2);
    return r;
}

void request_free(request *r)
{
    for (size_t i = 0; r->options[i].name != NULL; ++i) free(r->given[i].tensor.data);
    free(r->options);
    free(r->given);
    parameters_free(&r->params);
    *r = (request){.call = NULL};
}

/* NULL for an option that no call has. */
static request_given *given(const request *r, const char *option)
{
    size_t i = place_of(r->options, option);
    return r->options[i].name != NULL ? &r->given[i] : NULL;
}

const char *request_get(const request *r, const char *option)
{
    const request_given *one = given(r, option);
    return one != NULL ? one->value : NULL;
}

const char *request_subject(const request *r)
{
    static char text[64];
    if (r->call->selector == NULL) return "attn run";
    (void)snprintf(text, sizeof text, "--%s", r->call->selector);
    return text;
}

const char *request_need(const request *r, const char *option, const char *form)
{
    const char *value = request_get(r, option);
    if (value == NULL) fail("%s needs --%s %s (attn run --help says more)", request_subject(r), option, form);
    return value;
}

bool request_any(const request *r, const char *const *options)
{
    for (; *options != NULL; ++options) {
        if (request_get(r, *options) != NULL) return true;
    }
    return false;
}

/* An option as it is written. */
typedef struct spelling {
    char text[64];
} spelling;

static spelling spell(const char *option)
{
    spelling s;
    (void)snprintf(s.text, sizeof s.text, "--%s", option);
    return s;
}

bool request_number(const request *r, const char *option, double *value)
{
    const char *text = request_get(r, option);
    if (text != NULL) *value = options_number(spell(option).text, text);
    return text != NULL;
}

bool request_integer(const request *r, const char *option, int64_t *value)
{
    const char *text = request_get(r, option);
    if (text != NULL) *value = options_integer(spell(option).text, text);
    return text != NULL;
}

bool request_unsigned(const request *r, const char *option, uint64_t *value)
{
    const char *text = request_get(r, option);
    if (text != NULL) *value = options_unsigned(spell(option).text, text);
    return text != NULL;
}

bool request_word(const request *r, const char *option, const option_word *words, int32_t *value)
{
    const char *text = request_get(r, option);
    if (text != NULL) *value = options_word(spell(option).text, text, words);
    return text != NULL;
}

bool request_tagged(request *r, const char *option, const char *form, const option_word *words, int32_t *value)
{
    const char *text = request_get(r, option);
    if (text == NULL) return false;
    const char *equals = strchr(text, '=');
    if (equals == NULL || equals[1] == '\0') fail("--%s takes %s, not '%s'", option, form, text);
    char *word = copy_string(text);
    word[equals - text] = '\0';
    *value = options_word(spell(option).text, word, words);
    free(word);
    given(r, option)->value = equals + 1;
    return true;
}

const attn_tensor *request_tensor(request *r, const char *option)
{
    request_given *one = given(r, option);
    if (one == NULL || one->value == NULL) return NULL;
    if (one->tensor.dtype == 0) one->tensor = npy_read(one->value, r->u2);
    return &one->tensor;
}

void request_to_standard_output(request *r, const char *option)
{
    if (isatty(STDOUT_FILENO)) fail("a .npy file does not belong on a terminal; give --%s FILE or redirect", option);
    given(r, option)->value = "-";
}
