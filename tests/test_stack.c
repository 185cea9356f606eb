/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_stack.c: every call works, on threads, in a process whose stacks are limited to 80 KB, and where libraries have
 * asked for more thread-local storage than that. The limit is read when a program begins: the test runs itself.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "every_call.h"

enum { STACK = 80 << 10, THREAD_LOCAL = 200 << 10 };

static _Thread_local volatile char storage[THREAD_LOCAL];

static int count_threads(void)
{
    int count = 0;
    DIR *tasks = opendir("/proc/self/task");
    if (tasks == NULL) return -1;
    for (struct dirent *task = readdir(tasks); task != NULL; task = readdir(tasks)) count += task->d_name[0] != '.';
    closedir(tasks);
    return count;
}

/* The limited process. */
static int call_everything(int threads)
{
    const struct every_call plain = {NULL, NULL};
    attn_engine_options options = ATTN_ENGINE_OPTIONS_INIT;
    options.threads = threads;
    storage[0] = 1;
    const int before = count_threads(); /* those of the BLAS */
    if (attn_engine_create(&options, &engine) != ATTN_OK) return 1;
    every_call_run(&plain);
    if (before > 0 && count_threads() != before + threads - 1) return 2;
    attn_engine_destroy(engine);
    return 0;
}

static void on_threads(int threads)
{
    char number[16];
    snprintf(number, sizeof number, "%d", threads);
    const pid_t child = fork();
    if (child == 0) {
        const struct rlimit limit = {STACK, STACK};
        if (setrlimit(RLIMIT_STACK, &limit) != 0) _exit(3);
        setenv("OPENBLAS_NUM_THREADS", "1", 1);
        execl("/proc/self/exe", "test_stack", number, (char *)NULL);
        _exit(4);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFSIGNALED(status)) fail_msg("with %d threads signal %d", threads, WTERMSIG(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void every_call_works_with_stacks_of_80_kilobytes(void **state)
{
    (void)state;
    for (int threads = 2; threads <= 3; threads++) on_threads(threads);
}

int main(int count, char **arguments)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_call_works_with_stacks_of_80_kilobytes)};
    if (count > 1) return call_everything(atoi(arguments[1]));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
