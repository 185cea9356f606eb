/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_describe.c: what the library says of itself: attn_engine_describe's JSON by a strict reader, the log's warning,
 * attn_constant against the header, and the sentences of the status codes.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "support.h"

/* --------------------------------------------------------------------------------------------------- JSON */

/* RFC 8259, ASCII only; each function returns what follows, or NULL. */
static const char *json_value(const char *s);

static const char *json_space(const char *s)
{
    return s + strspn(s, " \t\r\n");
}

static const char *json_string(const char *s)
{
    if (*s != '"') return NULL;
    for (s++; *s != '"'; s++) {
        if (*s < ' ' || *s > '~') return NULL;
        if (*s != '\\') continue;
        s++;
        if (*s == 'u') {
            for (int i = 0; i < 4; i++) {
                if (!isxdigit((unsigned char)*++s)) return NULL;
            }
        } else if (*s == '\0' || strchr("\"\\/bfnrt", *s) == NULL) {
            return NULL;
        }
    }
    return s + 1;
}

static const char *json_digits(const char *s)
{
    return isdigit((unsigned char)*s) ? s + strspn(s, "0123456789") : NULL;
}

static const char *json_number(const char *s)
{
    if (*s == '-') s++;
    s = *s == '0' ? s + 1 : json_digits(s);
    if (s != NULL && *s == '.') s = json_digits(s + 1);
    if (s != NULL && (*s == 'e' || *s == 'E')) {
        s++;
        s = json_digits(*s == '+' || *s == '-' ? s + 1 : s);
    }
    return s;
}

static const char *json_items(const char *s, char end, bool named)
{
    s = json_space(s + 1);
    if (*s == end) return s + 1;
    for (;;) {
        if (named) {
            if ((s = json_string(json_space(s))) == NULL || *(s = json_space(s)) != ':') return NULL;
            s++;
        }
        if ((s = json_value(s)) == NULL) return NULL;
        s = json_space(s);
        if (*s == end) return s + 1;
        if (*s++ != ',') return NULL;
    }
}

static const char *json_value(const char *s)
{
    static const char *const words[] = {"true", "false", "null"};
    s = json_space(s);
    if (*s == '{') return json_items(s, '}', true);
    if (*s == '[') return json_items(s, ']', false);
    if (*s == '"') return json_string(s);
    for (int i = 0; i < 3; i++) {
        if (strncmp(s, words[i], strlen(words[i])) == 0) return s + strlen(words[i]);
    }
    return json_number(s);
}

static bool is_json_object(const char *s)
{
    const char *end = *s == '{' ? json_value(s) : NULL;
    return end != NULL && *end == '\0';
}

static void the_json_reader_is_strict(void **state)
{
    static const char *const good[] = {"{}", "{\"a\":[1,-2.5e+3,true,null,\"\\u00e4\"],\"b\":{}}"};
    static const char *const bad[] = {"{",
                                      "{}x",
                                      "{\"a\":1,}",
                                      "{\"a\":01}",
                                      "{\"a\" 1}",
                                      "{a:1}",
                                      "{\"a\":[1 2]}",
                                      "[]",
                                      "{\"a\":\"\n\"}",
                                      "{\"a\":+1}",
                                      "{\"a\":\"\\x\"}",
                                      "{\"a\":}",
                                      "{,}"};
    (void)state;
    for (int i = 0; i < 2; i++) assert_true(is_json_object(good[i]));
    for (int i = 0; i < 13; i++) assert_false(is_json_object(bad[i]));
}

/* -------------------------------------------------------------------------------------------------- engine */

enum { ROOM = 8192 };

static struct {
    int calls;
    attn_log_level level;
    char message[1024];
} heard;

static void hear(void *data, attn_log_level level, const char *message)
{
    assert_ptr_equal(data, &heard);
    heard.calls++;
    heard.level = level;
    snprintf(heard.message, sizeof heard.message, "%s", message);
}

/* Creates an engine whose log is heard, and describes it in exactly the room that it asks for. */
static void describe(char json[ROOM])
{
    attn_engine_options options = ATTN_ENGINE_OPTIONS_INIT;
    attn_engine *own;
    size_t needed = 0, bytes;
    options.threads = 7;
    options.log = hear;
    options.log_data = &heard;
    memset(&heard, 0, sizeof heard);
    MUST(attn_engine_create(&options, &own));
    MUST(attn_engine_describe(own, NULL, &needed));
    assert_in_range(needed, 3, ROOM - 1);
    memset(json, 0x7E, ROOM);
    bytes = needed - 1;
    assert_int_equal(attn_engine_describe(own, json, &bytes), ATTN_ERR_BUFFER);
    assert_int_equal(bytes, needed);
    for (int i = 0; i < ROOM; i++) assert_int_equal(json[i], 0x7E);
    MUST(attn_engine_describe(own, json, &bytes));
    assert_int_equal(bytes, needed);
    assert_int_equal(strlen(json) + 1, needed);
    for (size_t i = needed; i < ROOM; i++) assert_int_equal(json[i], 0x7E);
    attn_engine_destroy(own);
}

static void an_engine_is_described_in_json_of_the_length_it_says(void **state)
{
    static const char *const members[] = {"\"version\":\"",   "\"way\":\"", "\"products\":\"",
                                          "\"threads\":7,",   "\"cpu\":{",  "\"features\":[",
                                          "\"threading\":\"", "\"blas\":{", "\"suits_cpu\":"};
    char json[ROOM];
    (void)state;
    describe(json);
    assert_true(is_json_object(json));
    for (int i = 0; i < 9; i++) assert_non_null(strstr(json, members[i]));

    /* Set by whoever runs this over a certain BLAS. */
    const char *threading = getenv("ATTN_EXPECT_THREADING");
    if (threading != NULL) {
        char member[64];
        snprintf(member, sizeof member, "\"threading\":\"%s\"", threading);
        assert_non_null(strstr(json, member));
        const bool serial = strcmp(threading, "serial") == 0;
        assert_non_null(strstr(json, serial ? "\"serialised\":true" : "\"serialised\":false"));
    }
}

/* A way that is asked for brings its own products; else a BLAS of one thread has them on a lone CPU that it suits. */
static void products_are_left_to_the_blas_on_a_lone_cpu(void **state)
{
    char json[ROOM];
    (void)state;
    describe(json);
    const char *way = getenv("ATTN_WAY");
    const bool asked = way != NULL && *way != '\0', by_blas = strstr(json, "\"way\":\"blas\"") != NULL;
    const char *blas = strstr(json, "\"blas\":{");
    const bool lone = strstr(json, "\"count\":1,") != NULL && strstr(blas, "\"threads\":1,") != NULL &&
                      strstr(blas, "\"suits_cpu\":true") != NULL;
    assert_non_null(strstr(json, (asked ? by_blas : lone) ? "\"products\":\"blas\"" : "\"products\":\"own\""));
    if (on_a_lone_cpu()) assert_non_null(strstr(json, "\"count\":1,"));
}

static void the_log_hears_of_a_blas_exactly_when_it_does_not_suit(void **state)
{
    char json[ROOM];
    (void)state;
    describe(json);
    const bool suits = strstr(json, "\"suits_cpu\":true") != NULL;
    assert_true(suits || strstr(json, "\"suits_cpu\":false") != NULL);
    assert_int_equal(heard.calls, suits ? 0 : 1);
    if (suits) assert_non_null(strstr(json, "\"advice\":\"\""));
    if (suits) return;
    assert_int_equal(heard.level, ATTN_LOG_WARNING);
    assert_non_null(strstr(json, heard.message));
}

/* OpenBLAS with older kernels than most CPUs deserve, and with as wide ones as there are. */
static void the_log_is_right_whatever_kernels_the_blas_has(void **state)
{
    static const char *const cores[] = {"Prescott", "SkylakeX"};
    (void)state;
    fflush(NULL);
    for (int i = 0; i < 2; i++) {
        int status = -1;
        const pid_t child = fork();
        if (child == 0) {
            setenv("OPENBLAS_CORETYPE", cores[i], 1);
            execl("/proc/self/exe", "test_describe", "log", (char *)NULL);
            _exit(0); /* no /proc */
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
    }
}

/* ----------------------------------------------------------------------------------------------- constants */

static void every_constant_of_the_header_is_known_by_name(void **state)
{
#define CONSTANT(name)                                                                                                 \
    {                                                                                                                  \
#name, name                                                                                                    \
    }
#define SIZE(type)                                                                                                     \
    {                                                                                                                  \
        "sizeof " #type, (int64_t)sizeof(type)                                                                         \
    }
    static const struct {
        const char *name;
        int64_t value;
    } all[] = {CONSTANT(ATTN_VERSION_MAJOR),
               CONSTANT(ATTN_VERSION_MINOR),
               CONSTANT(ATTN_VERSION_PATCH),
               CONSTANT(ATTN_OK),
               CONSTANT(ATTN_ERR_ARGUMENT),
               CONSTANT(ATTN_ERR_STRUCT_SIZE),
               CONSTANT(ATTN_ERR_SHAPE),
               CONSTANT(ATTN_ERR_DTYPE),
               CONSTANT(ATTN_ERR_OVERLAP),
               CONSTANT(ATTN_ERR_OVERFLOW),
               CONSTANT(ATTN_ERR_PARAMETER),
               CONSTANT(ATTN_ERR_BUFFER),
               CONSTANT(ATTN_ERR_NOMEM),
               CONSTANT(ATTN_ERR_BACKEND),
               CONSTANT(ATTN_ERR_UNSUPPORTED),
               CONSTANT(ATTN_F32),
               CONSTANT(ATTN_F64),
               CONSTANT(ATTN_F16),
               CONSTANT(ATTN_BF16),
               CONSTANT(ATTN_I8),
               CONSTANT(ATTN_BOOL),
               CONSTANT(ATTN_I32),
               CONSTANT(ATTN_I64),
               CONSTANT(ATTN_VIEW_BEYOND),
               CONSTANT(ATTN_VIEW_STRIDES),
               CONSTANT(ATTN_WAY_AUTOMATIC),
               CONSTANT(ATTN_WAY_BLAS),
               CONSTANT(ATTN_WAY_TILES),
               CONSTANT(ATTN_LOG_INFO),
               CONSTANT(ATTN_LOG_WARNING),
               CONSTANT(ATTN_ADDITIVE_BIAS),
               CONSTANT(ATTN_ADDITIVE_NORMALISED),
               CONSTANT(ATTN_ADDITIVE_QUERY_PROJECTED),
               CONSTANT(ATTN_ADDITIVE_KEY_PROJECTED),
               CONSTANT(ATTN_SOFTMAX),
               CONSTANT(ATTN_HARDMAX),
               CONSTANT(ATTN_ALIGN_NONE),
               CONSTANT(ATTN_ALIGN_TOP_LEFT),
               CONSTANT(ATTN_ALIGN_BOTTOM_RIGHT),
               CONSTANT(ATTN_SCORES_RAW),
               CONSTANT(ATTN_SCORES_CAPPED),
               CONSTANT(ATTN_SCORES_MASKED),
               CONSTANT(ATTN_SCORES_WEIGHTS),
               SIZE(attn_tensor),
               SIZE(attn_engine_options),
               SIZE(attn_param_info),
               SIZE(attn_forward_args)};
    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        int64_t value = -12345;
        MUST(attn_constant(all[i].name, &value));
        assert_int_equal(value, all[i].value);
    }
}

static void assert_zero_but_for_its_size(const void *given, size_t bytes)
{
    uint32_t size;
    memcpy(&size, given, sizeof size);
    assert_int_equal(size, bytes);
    for (size_t i = sizeof size; i < bytes; i++) assert_int_equal(((const unsigned char *)given)[i], 0);
}

/* A struct without padding: each byte belongs to a member. */
#define IS_ZERO(type, init)                                                                                            \
    {                                                                                                                  \
        const type by_default = init;                                                                                  \
        assert_zero_but_for_its_size(&by_default, sizeof by_default);                                                  \
    }

static void by_default_structs_are_their_size_and_zeros(void **state)
{
    (void)state;
    IS_ZERO(attn_engine_options, ATTN_ENGINE_OPTIONS_INIT)
    IS_ZERO(attn_param_info, ATTN_PARAM_INFO_INIT)
    IS_ZERO(attn_rope_options, ATTN_ROPE_OPTIONS_INIT)
    IS_ZERO(attn_memory_options, ATTN_MEMORY_OPTIONS_INIT)
    IS_ZERO(attn_forward_args, ATTN_FORWARD_ARGS_INIT)
    IS_ZERO(attn_backward_args, ATTN_BACKWARD_ARGS_INIT)
    IS_ZERO(attn_attentional_args, ATTN_ATTENTIONAL_ARGS_INIT)
    IS_ZERO(attn_decomposable_args, ATTN_DECOMPOSABLE_ARGS_INIT)
    IS_ZERO(attn_multihead_options, ATTN_MULTIHEAD_OPTIONS_INIT)
    IS_ZERO(attn_multihead_args, ATTN_MULTIHEAD_ARGS_INIT)
    IS_ZERO(attn_multihead_backward_args, ATTN_MULTIHEAD_BACKWARD_ARGS_INIT)
}

/* Reads the header itself, so that a constant that is new there cannot be forgotten; skipped where the sources are not
 * at hand. A constant is an ATTN_ name followed by = or, in a #define, by a digit. */
static void every_constant_that_the_header_will_have_is_known_too(void **state)
{
    char path[4096], line[1024];
    const char *slash = strrchr(__FILE__, '/');
    int found = 0;
    (void)state;
    snprintf(path, sizeof path, "%.*s/../include/attn/attn.h", slash ? (int)(slash - __FILE__) : 1,
             slash ? __FILE__ : ".");
    FILE *file = fopen(path, "r");
    if (file == NULL) skip();
    while (fgets(line, sizeof line, file) != NULL) {
        const bool defines = strncmp(line, "#define ATTN_", 13) == 0;
        for (char *name = strstr(line, "ATTN_"), *end; name != NULL; name = strstr(end, "ATTN_")) {
            end = name + strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
            const char *number = end + strspn(end, " =");
            const bool is_constant = defines ? isdigit((unsigned char)*number) : strncmp(end, " = ", 3) == 0;
            if (!is_constant || *number == '\n') continue;
            const char next = *end;
            int64_t value = -12345;
            *end = '\0';
            MUST(attn_constant(name, &value));
            *end = next;
            assert_int_equal(value, strtoll(number, NULL, 10));
            found++;
        }
    }
    fclose(file);
    assert_true(found > 30);
}

static void every_status_has_a_name_and_a_sentence(void **state)
{
    static const char *const names[] = {"ATTN_OK",           "ATTN_ERR_ARGUMENT",  "ATTN_ERR_STRUCT_SIZE",
                                        "ATTN_ERR_SHAPE",    "ATTN_ERR_DTYPE",     "ATTN_ERR_OVERLAP",
                                        "ATTN_ERR_OVERFLOW", "ATTN_ERR_PARAMETER", "ATTN_ERR_BUFFER",
                                        "ATTN_ERR_NOMEM",    "ATTN_ERR_BACKEND",   "ATTN_ERR_UNSUPPORTED"};
    (void)state;
    for (int i = 0; i < 12; i++) {
        int64_t value;
        MUST(attn_constant(names[i], &value));
        const char *sentence = attn_status_string((attn_status)value);
        const size_t length = strlen(names[i]);
        assert_memory_equal(sentence, names[i], length);
        assert_memory_equal(sentence + length, ": ", 2);
        assert_true(strlen(sentence) > length + 5);
    }
    for (attn_status status = -5; status < 200; status++) assert_true(strlen(attn_status_string(status)) > 5);
    assert_true(strlen(attn_status_string(INT32_MIN)) > 5 && strlen(attn_status_string(INT32_MAX)) > 5);
}

static void the_version_is_the_headers(void **state)
{
    char version[64];
    (void)state;
    snprintf(version, sizeof version, "%d.%d.%d", ATTN_VERSION_MAJOR, ATTN_VERSION_MINOR, ATTN_VERSION_PATCH);
    assert_string_equal(attn_version(), version);
    assert_true(attn_abi_version() >= 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_log_hears_of_a_blas_exactly_when_it_does_not_suit),
        cmocka_unit_test(the_json_reader_is_strict),
        cmocka_unit_test(an_engine_is_described_in_json_of_the_length_it_says),
        cmocka_unit_test(products_are_left_to_the_blas_on_a_lone_cpu),
        cmocka_unit_test(the_log_is_right_whatever_kernels_the_blas_has),
        cmocka_unit_test(every_constant_of_the_header_is_known_by_name),
        cmocka_unit_test(every_constant_that_the_header_will_have_is_known_too),
        cmocka_unit_test(by_default_structs_are_their_size_and_zeros),
        cmocka_unit_test(every_status_has_a_name_and_a_sentence),
        cmocka_unit_test(the_version_is_the_headers),
    };
    const struct CMUnitTest log_only[] = {tests[0]};
    (void)argv;
    unsetenv("ATTN_WAY");
    return argc > 1 ? cmocka_run_group_tests_name("describe, old kernels", log_only, NULL, NULL)
                    : cmocka_run_group_tests_name("describe", tests, NULL, NULL);
}
