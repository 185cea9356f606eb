/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_pair.c: pairs are written and read, and lines that are none are refused in a sentence. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "text/grammar.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char path[] = "/tmp/test_pair.XXXXXX";

static int make_file(void **state)
{
    (void)state;
    const int file = mkstemp(path);
    return file < 0 ? -1 : close(file);
}

static int remove_file(void **state)
{
    (void)state;
    return remove(path);
}

static void write_bytes(const char *bytes, size_t size)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static void write_text(const char *text)
{
    write_bytes(text, strlen(text));
}

static void assert_pairs_equal(const sentence_pair *a, const sentence_pair *b)
{
    assert_int_equal(a->source_count, b->source_count);
    assert_int_equal(a->target_count, b->target_count);
    assert_int_equal(a->link_count, b->link_count);
    for (int i = 0; i < a->source_count; i++) assert_string_equal(a->source[i], b->source[i]);
    for (int i = 0; i < a->target_count; i++) assert_string_equal(a->target[i], b->target[i]);
    for (int i = 0; i < a->link_count; i++) {
        assert_int_equal(a->links[i].source, b->links[i].source);
        assert_int_equal(a->links[i].target, b->links[i].target);
        assert_int_equal(a->links[i].sure, b->links[i].sure);
    }
}

static void what_is_written_is_read(void **state)
{
    (void)state;
    pair_list written = {0}, read = {0};
    grammar_random random = {.state = 1};
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    for (int i = 0; i < 2000; i++) {
        sentence_pair pair = {0};
        grammar_sentence(&random, 3, 60, &pair);
        pair_write(file, &pair);
        pair_list_take(&written, &pair);
        assert_null(pair.source);
    }
    assert_int_equal(fclose(file), 0);
    pair_list_read(&read, path);
    assert_int_equal(read.count, written.count);
    for (size_t i = 0; i < read.count; i++) assert_pairs_equal(&read.pairs[i], &written.pairs[i]);
    pair_list_read(&read, path); /* behind what is there */
    assert_int_equal(read.count, 2 * written.count);
    pair_list_free(&read);
    pair_list_free(&written);
}

static void links_are_sorted_and_may_become_sure(void **state)
{
    (void)state;
    sentence_pair pair = {0};
    for (int i = 0; i < 3; i++) {
        pair_add_source(&pair, "a");
        pair_add_target(&pair, "b");
    }
    pair_add_link(&pair, 2, 1, true);
    pair_add_link(&pair, 1, 2, false);
    pair_add_link(&pair, 0, 1, false);
    pair_add_link(&pair, 0, 1, true);
    pair_add_link(&pair, 0, 1, false);
    pair_add_link(&pair, 0, 0, false);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    pair_write(file, &pair);
    assert_int_equal(fclose(file), 0);
    pair_free(&pair);
    char line[64] = "";
    file = fopen(path, "rb");
    assert_non_null(file);
    assert_non_null(fgets(line, sizeof line, file));
    fclose(file);
    assert_string_equal(line, "a a a\tb b b\t0?0 0-1 2-1 1?2\n");
}

static void a_line_needs_neither_links_nor_newline(void **state)
{
    (void)state;
    write_text("It is red .\tElle est rouge .\nYes\tOui\t\nIt\tÇa\t0?0");
    pair_list list = {0};
    pair_list_read(&list, path);
    assert_int_equal(list.count, 3);
    assert_int_equal(list.pairs[0].source_count, 4);
    assert_int_equal(list.pairs[0].link_count, 0);
    assert_null(list.pairs[0].links);
    assert_int_equal(list.pairs[1].link_count, 0);
    assert_string_equal(list.pairs[2].target[0], "Ça");
    assert_false(list.pairs[2].links[0].sure);
    pair_list_free(&list);
}

static void an_empty_file_has_no_pairs(void **state)
{
    (void)state;
    write_text("");
    pair_list list = {0};
    pair_list_read(&list, path);
    assert_int_equal(list.count, 0);
}

static void a_long_line_is_read(void **state)
{
    (void)state;
    enum { TOKENS = 100000 };
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    for (int i = 0; i < TOKENS; i++) fputs(i > 0 ? " word" : "word", file);
    fputs("\tmot\n", file);
    assert_int_equal(fclose(file), 0);
    pair_list list = {0};
    pair_list_read(&list, path);
    assert_int_equal(list.count, 1);
    assert_int_equal(list.pairs[0].source_count, TOKENS);
    pair_list_free(&list);
}

/* Reads the file in a child, which must end with status 2 and say the sentence. */
static void assert_refused(const char *name, const char *sentence)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(ends[0]);
        dup2(ends[1], STDERR_FILENO);
        pair_list list = {0};
        pair_list_read(&list, name);
        _exit(0);
    }
    close(ends[1]);
    char said[512] = "";
    size_t size = 0;
    for (ssize_t got; (got = read(ends[0], said + size, sizeof said - 1 - size)) > 0;) size += (size_t)got;
    close(ends[0]);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 2);
    if (strstr(said, sentence) == NULL) fail_msg("it said \"%s\", not \"%s\"", said, sentence);
    assert_ptr_equal(strchr(said, '\n'), said + size - 1); /* one line */
}

static void malformed_lines_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *sentence;
    } cases[] = {
        {"a\tb\nc\n", ":2: the line has no tab"},
        {"\n", ":1: the line has no tab"},
        {"a\t\n", ":1: the second sentence is empty"},
        {"\tb\t0-0\n", ":1: the first sentence is empty"},
        {"a\tb\t0-0\tc\n", ":1: the line has more than three fields"},
        {"a  b\tc\n", ":1: the tokens of the first sentence are not separated by single spaces"},
        {"a\tb \n", ":1: the tokens of the second sentence are not separated by single spaces"},
        {" a\tb\n", ":1: the tokens of the first sentence"},
        {"a\tb\t0-1\n", ":1: the link 0-1 leads to no token (there are 1 and 1"},
        {"a\tb\t1?0\n", ":1: the link 1?0 leads to no token"},
        {"a\tb\t0=0\n", "\"0=0\" is no link"},
        {"a\tb\t0-\n", "\"0-\" is no link"},
        {"a\tb\t-0\n", "\"-0\" is no link"},
        {"a\tb\t0-0x\n", "\"0-0x\" is no link"},
        {"a\tb\t0-0  0-0\n", "\"\" is no link"},
        {"a\tb\t0-99999999999999999999\n", "is no link"},
        {"a\tb\r\n", ":1: byte 4 of the line is a control character (a carriage return"},
        {"a\x01\tb\n", ":1: byte 2 of the line is a control character"},
        {"a\tb\xff\n", ":1: byte 4 of the line is not UTF-8"},
        {"\xc3\tb\n", ":1: byte 1 of the line is not UTF-8"},
        {"a\tb\xc0\x80\n", "byte 4 of the line is not UTF-8"},
        {"a\tb\xe0\x80\x80\n", "byte 4 of the line is not UTF-8"},
        {"a\tb\xed\xa0\x80\n", "byte 4 of the line is not UTF-8"},
        {"a\tb\xf4\x90\x80\x80\n", "byte 4 of the line is not UTF-8"},
        {"a\tb\xf0\x9f\x98", "byte 4 of the line is not UTF-8"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        write_text(cases[i].text);
        assert_refused(path, cases[i].sentence);
    }
    write_bytes("a\0\tb\n", 5);
    assert_refused(path, ":1: byte 2 of the line is a control character");
}

static void a_file_that_is_none_is_refused(void **state)
{
    (void)state;
    assert_refused("/nonexistent/pairs", "/nonexistent/pairs cannot be opened: ");
    assert_refused("/", "/ cannot be read: ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(links_are_sorted_and_may_become_sure),
        cmocka_unit_test(a_line_needs_neither_links_nor_newline),
        cmocka_unit_test(an_empty_file_has_no_pairs),
        cmocka_unit_test(a_long_line_is_read),
        cmocka_unit_test(malformed_lines_are_refused),
        cmocka_unit_test(a_file_that_is_none_is_refused),
    };
    return cmocka_run_group_tests(tests, make_file, remove_file);
}
