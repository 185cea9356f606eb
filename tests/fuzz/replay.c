/* SPDX-License-Identifier: BSD-3-Clause
 *
 * replay.c: runs a harness on inputs, without libFuzzer: for every compiler, and for a debugger. An input is a file, or
 * a line of hexadecimal digits in a file whose name ends in .list; of a folder each file is taken, and a folder that is
 * not there has none.
 */
#define _DEFAULT_SOURCE
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char current[4096];
static int64_t inputs;

/* What a failing harness ends with says which input it was. */
static void tell(int number)
{
    static const char before[] = "while replaying ", after[] = "\n";
    ssize_t ignored = write(2, before, sizeof before - 1);
    ignored += write(2, current, strlen(current));
    ignored += write(2, after, sizeof after - 1);
    (void)ignored;
    signal(number, SIG_DFL);
    raise(number);
}

static void give_up(const char *path, const char *why)
{
    fprintf(stderr, "%s: %s\n", path, why);
    exit(1);
}

static void replay_bytes(const uint8_t *bytes, size_t size)
{
    /* A block of exactly that size, so that a sanitizer sees a read past it. */
    uint8_t *data = malloc(size + (size == 0));
    if (data == NULL) abort();
    memcpy(data, bytes, size);
    LLVMFuzzerTestOneInput(data, size);
    free(data);
    inputs++;
}

static void replay_file(FILE *file, const char *path)
{
    enum { MOST = 1 << 20 };
    static uint8_t room[MOST];
    snprintf(current, sizeof current, "%s", path);
    replay_bytes(room, fread(room, 1, MOST, file));
}

static void replay_list(FILE *file, const char *path)
{
    static const char digits[] = "0123456789abcdef";
    char *line = NULL;
    size_t room = 0;
    ssize_t length;
    for (int number = 1; (length = getline(&line, &room, file)) > 0; number++) {
        size_t count = 0;
        for (char *at = line; *at != '\n' && *at != '\0'; at++, count++) {
            const char *digit = strchr(digits, *at);
            if (digit == NULL) give_up(path, "not a list of hexadecimal digits");
            if (count % 2 == 0) line[count / 2] = 0;
            line[count / 2] = (char)(line[count / 2] * 16 + (digit - digits));
        }
        if (count % 2 != 0) give_up(path, "half a byte at the end of a line");
        snprintf(current, sizeof current, "%s:%d", path, number);
        replay_bytes((const uint8_t *)line, count / 2);
    }
    free(line);
}

static void replay(const char *path)
{
    struct stat status;
    if (stat(path, &status) != 0) {
        if (errno == ENOENT) return;
        give_up(path, strerror(errno));
    }
    if (!S_ISDIR(status.st_mode)) {
        const size_t length = strlen(path);
        FILE *file = fopen(path, "rb");
        if (file == NULL) give_up(path, strerror(errno));
        if (length > 5 && strcmp(path + length - 5, ".list") == 0) {
            replay_list(file, path);
        } else {
            replay_file(file, path);
        }
        fclose(file);
        return;
    }
    struct dirent **entries = NULL;
    const int count = scandir(path, &entries, NULL, alphasort);
    for (int i = 0; i < count; i++) {
        char inside[4096];
        snprintf(inside, sizeof inside, "%s/%s", path, entries[i]->d_name);
        if (entries[i]->d_name[0] != '.') replay(inside);
        free(entries[i]);
    }
    free(entries);
}

int main(int argc, char **argv)
{
    static const int numbers[] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        struct sigaction now;
        /* A sanitizer that has its own handler keeps it: what it tells is worth more. */
        if (sigaction(numbers[i], NULL, &now) == 0 && now.sa_handler == SIG_DFL) signal(numbers[i], tell);
    }
    for (int i = 1; i < argc; i++) replay(argv[i]);
    printf("%lld inputs\n", (long long)inputs);
    return 0;
}
