/* SPDX-License-Identifier: BSD-3-Clause
 *
 * output.c: a file is written under a temporary name in its own directory and renamed by output_commit. What cannot
 * be renamed (standard output, a pipe, a device) is collected in memory and written last, when nothing else can fail.
 * Earlier files stay aside under a second name until then, so that even a late failure is undone.
 */
#define _XOPEN_SOURCE 700 /* realpath */
#include "output.h"

#include "claims.h"
#include "fail.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* In the order in which they are put in place: what can be undone first. */
typedef enum output_kind { REPLACED, DEVICE, STANDARD_OUTPUT } output_kind;

typedef struct output {
    struct output *next;
    FILE *stream;
    char *target; /* canonical, so that equal strings are equal files */
    output_kind kind;
    char *memory; /* what an output that is written in place collected */
    size_t memory_bytes;
    char *temporary;                 /* what the file is written as */
    char *aside;                     /* second name of the file that was there before */
    volatile sig_atomic_t replacing; /* what the undoing has to do: bring the earlier file back, */
    volatile sig_atomic_t creating;  /* or take the new one away */
} output;

static output *volatile outputs;

/* Undoes everything; only calls that a signal handler may make. Harmless where there is nothing to undo. */
static void discard(void)
{
    for (output *out = outputs; out != NULL; out = out->next) {
        if (out->kind != REPLACED) continue;
        if (out->replacing) {
            (void)rename(out->aside, out->target);
            (void)unlink(out->aside); /* rename does nothing when both names are the same file */
        }
        if (out->creating) (void)unlink(out->target);
        if (out->temporary != NULL) (void)unlink(out->temporary);
    }
}

static void discard_and_die(int signal_number)
{
    discard();
    (void)raise(signal_number); /* SA_RESETHAND: this time by its default action */
}

static void watch_every_way_out(void)
{
    static const int deadly[] = {SIGHUP, SIGINT, SIGTERM, SIGXCPU};
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = discard_and_die;
    action.sa_flags = (int)SA_RESETHAND | SA_NODEFER;
    for (size_t i = 0; i < sizeof deadly / sizeof deadly[0]; ++i) {
        struct sigaction old;
        if (sigaction(deadly[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN) {
            (void)sigaction(deadly[i], &action, NULL);
        }
    }
    if (atexit(discard) != 0) fail("the C library takes no exit handler");
}

static char *join(const char *directory, const char *name)
{
    size_t bytes = strlen(directory) + strlen(name) + 2;
    char *path = allocate(bytes, 1);
    (void)snprintf(path, bytes, "%s/%s", directory, name);
    return path;
}

/* The directory's canonical path, as a new string; *name receives the rest of path. */
static char *canonical_directory(const char *path, const char **name)
{
    const char *slash = strrchr(path, '/');
    *name = slash != NULL ? slash + 1 : path;
    char *directory = slash == NULL ? copy_string(".") : copy_string(path);
    if (slash != NULL) directory[slash == path ? 1 : slash - path] = '\0';
    char *canonical = realpath(directory, NULL);
    if (canonical == NULL) fail("cannot write %s: %s: %s", path, directory, strerror(errno));
    free(directory);
    return canonical;
}

/* Finds out what path names: sets target, kind, and *mode to the mode of the file that is there, or -1. */
static void look_up(output *out, const char *path, int *mode)
{
    struct stat status;
    *mode = -1;
    if (strcmp(path, "-") == 0) {
        out->kind = STANDARD_OUTPUT;
        out->target = copy_string("standard output");
        if (fstat(STDOUT_FILENO, &status) == 0) claim(CLAIM_WRITE, out->target, &status);
    } else if (stat(path, &status) == 0) {
        if (S_ISDIR(status.st_mode)) fail("cannot write %s: it is a directory", path);
        if (access(path, W_OK) != 0) fail("cannot write %s: %s", path, strerror(errno));
        out->target = realpath(path, NULL); /* through symbolic links: the link stays, its file is replaced */
        if (out->target == NULL) fail("cannot write %s: %s", path, strerror(errno));
        claim(CLAIM_WRITE, path, &status);
        if (!S_ISREG(status.st_mode)) out->kind = DEVICE;
        *mode = (int)(status.st_mode & 0777);
    } else {
        const char *name;
        char *directory = canonical_directory(path, &name);
        if (name[0] == '\0') fail("cannot write '%s': it does not name a file", path);
        out->target = join(directory, name);
        free(directory);
    }
}

/* Opens a new file beside the target, under a name that nobody has; *name receives it. */
static int open_beside(const char *target, char **name)
{
    static unsigned serial;
    const char *unused;
    char *directory = canonical_directory(target, &unused);
    int descriptor;
    do {
        char file[64];
        (void)snprintf(file, sizeof file, ".attn-%ld-%u", (long)getpid(), serial++);
        free(*name);
        *name = join(directory, file);
        descriptor = open(*name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    } while (descriptor < 0 && errno == EEXIST);
    free(directory);
    return descriptor;
}

FILE *output_open(const char *path)
{
    if (outputs == NULL) watch_every_way_out();
    output *out = allocate(1, sizeof *out);
    memset(out, 0, sizeof *out);
    int mode;
    look_up(out, path, &mode);
    for (const output *other = outputs; other != NULL; other = other->next) {
        if (strcmp(other->target, out->target) == 0) fail("two outputs cannot both be written to %s", out->target);
    }
    out->next = outputs;
    outputs = out; /* before there is a file, so that no moment is without somebody to take it away */
    if (out->kind != REPLACED) {
        out->stream = open_memstream(&out->memory, &out->memory_bytes);
    } else {
        int descriptor = open_beside(out->target, &out->temporary);
        if (descriptor < 0) fail("cannot write %s: %s", path, strerror(errno));
        if (mode >= 0) (void)fchmod(descriptor, (mode_t)mode);
        out->stream = fdopen(descriptor, "wb");
    }
    if (out->stream == NULL) fail("cannot write %s: %s", path, strerror(errno));
    return out->stream;
}

static const output *output_of(const FILE *stream)
{
    const output *out = outputs;
    while (out->stream != stream) out = out->next;
    return out;
}

void output_write(FILE *stream, const void *data, size_t bytes)
{
    if (fwrite(data, 1, bytes, stream) != bytes) {
        fail("cannot write %s: %s", output_of(stream)->target, strerror(errno));
    }
}

/* Ends the writing: after this nothing of the output is in a buffer of the C library's or waits for disk space. */
static void finish(output *out)
{
    errno = 0;
    bool good = !ferror(out->stream) && fflush(out->stream) == 0;
    good = good && (out->kind != REPLACED || fsync(fileno(out->stream)) == 0);
    int reason = errno;
    good = fclose(out->stream) == 0 && good;
    out->stream = NULL;
    if (!good) fail("cannot write %s: %s", out->target, reason != 0 ? strerror(reason) : "a write failed");
}

static void place(output *out, bool keep_earlier)
{
    struct stat status;
    if (lstat(out->target, &status) != 0) {
        out->creating = 1;
    } else if (keep_earlier) {
        int descriptor = open_beside(out->target, &out->aside); /* takes the name; the link below needs it free */
        if (descriptor < 0) fail("cannot write %s: %s", out->target, strerror(errno));
        (void)close(descriptor);
        (void)unlink(out->aside);
        out->replacing = 1;
        /* A file system without hard links has the file away from its place for a moment. */
        if (link(out->target, out->aside) != 0 && rename(out->target, out->aside) != 0) {
            out->replacing = 0;
            fail("cannot write %s: %s", out->target, strerror(errno));
        }
    }
    if (rename(out->temporary, out->target) != 0) {
        int reason = errno;
        out->creating = 0;
        fail("cannot write %s: %s", out->target, strerror(reason));
    }
}

static void write_in_place(const output *out)
{
    int descriptor = out->kind == STANDARD_OUTPUT ? STDOUT_FILENO : open(out->target, O_WRONLY | O_CLOEXEC);
    if (descriptor < 0) fail("cannot write %s: %s", out->target, strerror(errno));
    for (size_t written = 0; written < out->memory_bytes;) {
        ssize_t now = write(descriptor, out->memory + written, out->memory_bytes - written);
        if (now < 0 && errno == EINTR) continue;
        if (now < 0) fail("cannot write %s: %s", out->target, strerror(errno));
        written += (size_t)now;
    }
    if (close(descriptor) != 0) fail("cannot write %s: %s", out->target, strerror(errno));
}

void output_commit(void)
{
    for (output *out = outputs; out != NULL; out = out->next) finish(out);
    bool several = outputs != NULL && outputs->next != NULL;
    for (output_kind kind = REPLACED; kind <= STANDARD_OUTPUT; ++kind) {
        for (output *out = outputs; out != NULL; out = out->next) {
            if (out->kind != kind) continue;
            if (kind == REPLACED) {
                place(out, several);
            } else {
                write_in_place(out);
            }
        }
    }
    /* From here on there is nothing to undo. */
    output *done = outputs;
    outputs = NULL;
    while (done != NULL) {
        output *out = done;
        done = out->next;
        if (out->replacing) (void)unlink(out->aside);
        free(out->target);
        free(out->memory);
        free(out->temporary);
        free(out->aside);
        free(out);
    }
}
