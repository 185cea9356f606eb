/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_program.c: the program as its user has it: files, refusals, a checkpoint that comes back the same. Its first
 * argument is the program. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *program;
static char folder[] = "/tmp/inference-test-XXXXXX";

/* The status of "inference ARGUMENTS", run in the folder; what it prints is in `out` and `err` there. */
__attribute__((format(printf, 1, 2))) static int run(const char *format, ...)
{
    char arguments[1024], command[4096];
    va_list list;
    va_start(list, format);
    vsnprintf(arguments, sizeof arguments, format, list);
    va_end(list);
    snprintf(command, sizeof command, "cd %s && '%s' %s > out 2> err < /dev/null", folder, program, arguments);
    const int status = system(command);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* A command of the shell's, run in the folder. */
static void shell(const char *command_text)
{
    char command[1024];
    snprintf(command, sizeof command, "cd %s && %s", folder, command_text);
    assert_int_equal(system(command), 0);
}

static char *content(const char *name)
{
    char path[256], *text = NULL;
    size_t size = 0, got;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "rb"), *copy = open_memstream(&text, &size);
    assert_non_null(file);
    char part[4096];
    while ((got = fread(part, 1, sizeof part, file)) > 0) fwrite(part, 1, got, copy);
    fclose(file);
    fclose(copy);
    return text;
}

static void write_text(const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

/* Status 2, one sentence that says this, nothing on standard output. */
__attribute__((format(printf, 2, 3))) static void refused(const char *says, const char *format, ...)
{
    char arguments[1024];
    va_list list;
    va_start(list, format);
    vsnprintf(arguments, sizeof arguments, format, list);
    va_end(list);
    assert_int_equal(run("%s", arguments), 2);
    char *err = content("err"), *out = content("out");
    if (strstr(err, says) == NULL) fail_msg("'%s' does not say '%s'", err, says);
    assert_memory_equal(err, "inference: ", 11);
    assert_ptr_equal(strchr(err, '\n'), err + strlen(err) - 1);
    assert_string_equal(out, "");
    free(err);
    free(out);
}

static int group_setup(void **state)
{
    (void)state;
    if (mkdtemp(folder) == NULL) return -1;
    if (run("data d --train 600 --held 90 --seed 3") != 0) return -1;
    return run("train --train d/train.tsv -o a.ckpt --steps 30 --rows 16 --embed 8 --hidden 16 --heads 2 --quiet");
}

static int group_teardown(void **state)
{
    (void)state;
    char command[256];
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command);
}

static int lines_of(const char *text)
{
    int lines = 0;
    for (; *text != '\0'; text++) lines += *text == '\n';
    return lines;
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void labels_are_balanced_and_no_pair_is_there_twice(void **state)
{
    (void)state;
    static const char *const names[] = {"d/train.tsv", "d/dev.tsv", "d/test.tsv"};
    static const int counts[] = {600, 90, 90};
    char *texts[3], *pairs[780];
    int found = 0;
    for (int i = 0; i < 3; i++) {
        texts[i] = content(names[i]);
        assert_int_equal(lines_of(texts[i]), counts[i]);
        int entailed = 0, neutral = 0;
        char *rest = NULL;
        for (char *line = strtok_r(texts[i], "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest)) {
            entailed += strncmp(line, "entailed\t", 9) == 0, neutral += strncmp(line, "neutral\t", 8) == 0;
            pairs[found++] = strchr(line, '\t') + 1;
        }
        assert_int_equal(entailed, counts[i] / 3);
        assert_int_equal(neutral, counts[i] / 3);
    }
    qsort(pairs, 780, sizeof *pairs, compare);
    for (int i = 1; i < 780; i++) assert_string_not_equal(pairs[i - 1], pairs[i]);
    for (int i = 0; i < 3; i++) free(texts[i]);
    /* Of so many the drawing makes some twice. */
    assert_int_equal(run("data many --train 40000 --held 300"), 0);
    shell("cat many/*.tsv | cut -f 2,3 | sort | uniq -d > twice");
    char *twice = content("twice");
    assert_string_equal(twice, "");
    free(twice);
}

static void the_same_training_gives_the_same_checkpoint(void **state)
{
    (void)state;
    assert_int_equal(run("train --train d/train.tsv -o b.ckpt --steps 30 --rows 16 --embed 8 --hidden 16 --heads 2 "
                         "--quiet"),
                     0);
    shell("cmp a.ckpt b.ckpt");
}

static void a_checkpoint_answers_as_it_did(void **state)
{
    (void)state;
    write_text("pairs", "The king signed the letter .\tThe letter was signed .\n");
    assert_int_equal(run("run a.ckpt pairs"), 0);
    shell("cp out first");
    assert_int_equal(run("run a.ckpt pairs"), 0);
    shell("cmp out first");
    char *out = content("out");
    double p[3];
    char label[32];
    assert_int_equal(sscanf(out, "%31s %lf %lf %lf", label, &p[0], &p[1], &p[2]), 4);
    assert_true(p[0] + p[1] + p[2] > 0.999 && p[0] + p[1] + p[2] < 1.001);
    free(out);
    assert_int_equal(run("evaluate a.ckpt d/test.tsv"), 0);
}

static void alignments_are_written_for_both_directions(void **state)
{
    (void)state;
    assert_int_equal(run("align a.ckpt d/test.tsv -o x.json --most 2"), 0);
    char *json = content("x.json");
    assert_non_null(strstr(json, "\"attn-alignments 1\""));
    assert_non_null(strstr(json, "\"hypothesis over premise, 2\""));
    assert_non_null(strstr(json, "\"premise over hypothesis, 1\""));
    free(json);
    assert_int_equal(run("explain a.ckpt d/test.tsv --pairs 3 --permutations 5 --steps 5 --json y.json"), 0);
    json = content("y.json");
    assert_non_null(strstr(json, "\"left_out_tau\""));
    free(json);
}

static void what_cannot_be_used_is_refused(void **state)
{
    (void)state;
    refused("there is no command dance", "dance");
    refused("--train is missing", "train -o x");
    refused("-o is missing", "train --train d/train.tsv");
    refused("cannot be read", "train --train nowhere -o x");
    refused("cannot be written", "train --train d/train.tsv -o nowhere/x");
    refused("--look is", "train --train d/train.tsv -o x --look up");
    refused("heads do not divide", "train --train d/train.tsv -o x --heads 3 --embed 8");
    write_text("bad", "entailed\tA .\tB .\nperhaps\tA .\tB .\n");
    refused("line 2 of bad: 'perhaps' is no label", "evaluate a.ckpt bad");
    write_text("bad", "entailed\tA .\n");
    refused("line 1 of bad", "evaluate a.ckpt bad");
    write_text("bad", "entailed\t\tB .\n");
    refused("the premise has no word", "evaluate a.ckpt bad");
    write_text("bad", "");
    refused("bad has no example", "evaluate a.ckpt bad");
    write_text("bad", "no tab\n");
    refused("line 1 of bad", "run a.ckpt bad");
    refused("no checkpoint", "run bad");
    refused("--rows is", "explain a.ckpt d/test.tsv --rows 3");
}

static void damaged_checkpoints_are_refused(void **state)
{
    (void)state;
    shell("head -c 2000 a.ckpt > cut");
    refused("cut", "run cut");
    shell("head -c -4 a.ckpt > cut");
    refused("cut short", "run cut");
    shell("{ cat a.ckpt; echo x; } > cut");
    refused("changed, or damaged", "run cut");
    /* One bit of a number near the end: the length is right, the sum is not. */
    shell("head -c -1 a.ckpt > cut && tail -c 1 a.ckpt | tr '\\000-\\377' '\\001-\\377\\000' >> cut");
    refused("changed, or damaged", "run cut");
    shell("sed '1s/1/2/' a.ckpt > cut");
    refused("version 2", "run cut");
    shell("sed 's/^embed 8$/embed 9/' a.ckpt > cut");
    refused("heads do not divide", "run cut");
}

int main(int count, char **words)
{
    if (count != 2) return 2;
    program = words[1];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(labels_are_balanced_and_no_pair_is_there_twice),
        cmocka_unit_test(the_same_training_gives_the_same_checkpoint),
        cmocka_unit_test(a_checkpoint_answers_as_it_did),
        cmocka_unit_test(alignments_are_written_for_both_directions),
        cmocka_unit_test(what_cannot_be_used_is_refused),
        cmocka_unit_test(damaged_checkpoints_are_refused),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
