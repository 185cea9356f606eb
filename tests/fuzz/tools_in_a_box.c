/* SPDX-License-Identifier: BSD-3-Clause
 *
 * tools_in_a_box.c: what stands for tools/fail.c and tools/output.c here. The command's sources are compiled with
 * fopen, fclose and free renamed to what is defined below (CMakeLists.txt).
 */
#define _GNU_SOURCE
#include "tools_in_a_box.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../tools/claims.h"
#include "../../tools/fail.h"
#include "../../tools/output.h"
#include "fuzz.h"

enum { MOST_BLOCKS = 4096, MOST_FILES = 4 };

static jmp_buf back;
static bool inside;
static char sentence[2048];
static void *blocks[MOST_BLOCKS];
static FILE *files[MOST_FILES];

_Noreturn void fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    CHECK(inside, "failed outside: %s", sentence);
    longjmp(back, 1);
}

void require(attn_status status)
{
    if (status != ATTN_OK) fail("%s", attn_last_error());
}

void *reallocate(void *pointer, size_t count, size_t size)
{
    if (size != 0 && count > PTRDIFF_MAX / size) fail("%zu times %zu bytes cannot be addressed", count, size);
    const size_t bytes = count * size;
    if (bytes > (size_t)1 << 28) fail("there is no memory for %zu bytes", bytes);
    int i = 0;
    while (i < MOST_BLOCKS && blocks[i] != pointer) i++;
    CHECK(i < MOST_BLOCKS, "the harness has no room for another block");
    void *memory = realloc(pointer, bytes != 0 ? bytes : 1);
    if (memory == NULL) fail("there is no memory for %zu bytes", bytes);
    blocks[i] = memory;
    return memory;
}

void *allocate(size_t count, size_t size)
{
    return reallocate(NULL, count, size);
}

char *copy_string(const char *text)
{
    const size_t bytes = strlen(text) + 1;
    return memcpy(allocate(bytes, 1), text, bytes);
}

void output_write(FILE *stream, const void *data, size_t bytes)
{
    if (bytes > 0 && fwrite(data, bytes, 1, stream) != 1) fail("cannot write");
}

FILE *output_open(const char *path)
{
    fail("%s is not for harnesses", path);
}

void output_commit(void) {}

/* Nothing is written here that was read. */
void claim(claim_purpose purpose, const char *name, const struct stat *status)
{
    (void)purpose, (void)name, (void)status;
}

FILE *box_fopen(const char *path, const char *mode);
int box_fclose(FILE *stream);
void box_free(void *pointer);

FILE *box_fopen(const char *path, const char *mode)
{
    FILE *stream = fopen(path, mode);
    int i = 0;
    while (i < MOST_FILES && files[i] != NULL) i++;
    CHECK(i < MOST_FILES, "too many open files");
    files[i] = stream;
    return stream;
}

int box_fclose(FILE *stream)
{
    for (int i = 0; i < MOST_FILES; i++) {
        if (files[i] == stream) files[i] = NULL;
    }
    return fclose(stream);
}

void box_free(void *pointer)
{
    for (int i = 0; i < MOST_BLOCKS && pointer != NULL; i++) {
        if (blocks[i] == pointer) blocks[i] = NULL;
    }
    free(pointer);
}

bool in_a_box(void (*work)(void *data), void *data)
{
    const bool failed = setjmp(back) != 0;
    sentence[0] = failed ? sentence[0] : '\0';
    inside = !failed;
    if (!failed) work(data);
    inside = false;
    for (int i = 0; i < MOST_BLOCKS; i++) {
        free(blocks[i]);
        blocks[i] = NULL;
    }
    for (int i = 0; i < MOST_FILES; i++) {
        if (files[i] != NULL) fclose(files[i]);
        files[i] = NULL;
    }
    if (failed) {
        fuzz_counted(COUNT_REFUSED);
        CHECK(strlen(sentence) > 8, "the sentence is \"%s\"", sentence);
    }
    return !failed;
}

const char *box_sentence(void)
{
    return sentence;
}

const char *box_file(const uint8_t *data, size_t size)
{
    static int file = -1;
    static char path[64];
    if (file < 0) {
        file = memfd_create("input", 0);
        CHECK(file >= 0, "no file in memory");
        snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    }
    CHECK(ftruncate(file, 0) == 0 && pwrite(file, data, size, 0) == (ssize_t)size, "cannot write the file");
    return path;
}
