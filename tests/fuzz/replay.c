/* SPDX-License-Identifier: BSD-3-Clause
 *
 * replay.c: runs a harness on files and on all files of folders, without libFuzzer: for every compiler, and for a
 * debugger. A folder that is not there has no files.
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
static int64_t files;

/* What a failing harness ends with says which file it was. */
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

static void replay_file(const char *path)
{
    enum { MOST = 1 << 20 };
    static uint8_t room[MOST];
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        exit(1);
    }
    const size_t size = fread(room, 1, MOST, file);
    fclose(file);
    /* A block of exactly that size, so that a sanitizer sees a read past it. */
    uint8_t *data = malloc(size + (size == 0));
    if (data == NULL) abort();
    memcpy(data, room, size);
    snprintf(current, sizeof current, "%s", path);
    LLVMFuzzerTestOneInput(data, size);
    free(data);
    files++;
}

static void replay(const char *path)
{
    struct stat status;
    if (stat(path, &status) != 0) {
        if (errno == ENOENT) return;
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        exit(1);
    }
    if (!S_ISDIR(status.st_mode)) {
        replay_file(path);
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
    printf("%lld files\n", (long long)files);
    return 0;
}
