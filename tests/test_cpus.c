/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_cpus.c: how many CPUs the process may use, on a machine of thousands as the system tells it, and the time on
 * them that control groups leave to it, from files as the system has them, laid out below a directory of the test's.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "runtime/cpu.h"
#include "runtime/quota.h"

/* -------------------------------------------------------------------------------------------------- CPUs */

static int usable; /* CPUs that the system says there are, the first of 4096; 0: as it is */

/* In place of the C library's. */
int sched_getaffinity(pid_t pid, size_t bytes, cpu_set_t *set)
{
    if (usable == 0) return syscall(SYS_sched_getaffinity, pid, bytes, set) < 0 ? -1 : 0;
    if (bytes < 4096 / 8) {
        errno = EINVAL;
        return -1;
    }
    CPU_ZERO_S(bytes, set);
    for (int i = 0; i < usable; i++) CPU_SET_S((size_t)i, bytes, set);
    return 0;
}

static void all_cpus_of_a_great_machine_are_counted(void **state)
{
    static const int counts[] = {1, 1024, 1025, 1500, 4096};
    (void)state;
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        attn_i_cpu cpu;
        usable = counts[i];
        attn_i_cpu_detect(&cpu);
        usable = 0;
        assert_int_equal(cpu.count, counts[i]);
    }
}

static void a_feature_is_one_whole_word(void **state)
{
    const attn_i_cpu cpu = {.features = "sse2 avx avx2 fma"}, none = {.features = ""};
    (void)state;
    for (const char *const *at = (const char *const[]){"sse2", "avx", "avx2", "fma", NULL}; *at != NULL; at++) {
        assert_true(attn_i_cpu_has(&cpu, *at));
        assert_false(attn_i_cpu_has(&none, *at));
    }
    for (const char *const *at = (const char *const[]){"a", "av", "vx", "avx3", "fm", "fma4", "sse", NULL}; *at != NULL;
         at++) {
        assert_false(attn_i_cpu_has(&cpu, *at));
    }
}

/* x86-64 says its name to every program; Linux knows it too. */
static void the_cpu_has_the_name_that_the_system_knows(void **state)
{
#if defined(__x86_64__)
    attn_i_cpu cpu;
    char line[512];
    FILE *file = fopen("/proc/cpuinfo", "r");
    (void)state;
    attn_i_cpu_detect(&cpu);
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, "model name", strlen("model name")) != 0) continue;
        const char *name = strchr(line, ':');
        assert_non_null(name);
        /* Character by character but for spaces, of which Linux drops some. */
        const char *ours = cpu.model;
        for (name++; *name != '\n'; name++) {
            if (*name == ' ') continue;
            ours += strspn(ours, " ");
            assert_int_equal(*ours++, *name);
        }
        assert_true(cpu.model[0] != '\0' && *ours == '\0');
        break;
    }
    if (file != NULL) fclose(file);
#else
    (void)state;
    skip();
#endif
}

/* -------------------------------------------------------------------------------------------------- time */

static char root[256];

/* Writes a file below the root, with the directories on its way. */
static void write_file(const char *name, const char *text)
{
    char path[1024];
    snprintf(path, sizeof path, "%s%s", root, name);
    for (char *slash = strchr(path + strlen(root) + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(path, 0700);
        *slash = '/';
    }
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static int begin(void **state)
{
    (void)state;
    snprintf(root, sizeof root, "%s/attn-quota-XXXXXX", getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp");
    return mkdtemp(root) == NULL;
}

static int end(void **state)
{
    char command[512];
    (void)state;
    snprintf(command, sizeof command, "rm -r '%s'", root);
    return system(command);
}

static void without_control_groups_there_is_no_limit(void **state)
{
    (void)state;
    assert_int_equal(attn_i_quota_cpus(root), 0);
    write_file("/proc/self/cgroup", "0::/user/app\n");
    assert_int_equal(attn_i_quota_cpus(root), 0);
    write_file("/sys/fs/cgroup/user/app/cpu.max", "max 100000\n");
    assert_int_equal(attn_i_quota_cpus(root), 0);
}

static void a_quota_of_version_2_is_rounded_up(void **state)
{
    (void)state;
    write_file("/proc/self/cgroup", "0::/user/app\n");
    write_file("/sys/fs/cgroup/user/app/cpu.max", "150000 100000\n");
    assert_int_equal(attn_i_quota_cpus(root), 2);
    write_file("/sys/fs/cgroup/user/app/cpu.max", "20000 100000\n");
    assert_int_equal(attn_i_quota_cpus(root), 1);
    write_file("/sys/fs/cgroup/user/app/cpu.max", "400000 50000\n");
    assert_int_equal(attn_i_quota_cpus(root), 8);
}

static void groups_above_limit_too(void **state)
{
    (void)state;
    write_file("/proc/self/cgroup", "0::/user/app/part\n");
    write_file("/sys/fs/cgroup/user/app/part/cpu.max", "800000 100000\n");
    write_file("/sys/fs/cgroup/user/app/cpu.max", "max 100000\n");
    write_file("/sys/fs/cgroup/user/cpu.max", "300000 100000\n");
    assert_int_equal(attn_i_quota_cpus(root), 3);
}

static void in_a_container_the_root_is_its_group(void **state)
{
    (void)state;
    write_file("/proc/self/cgroup", "0::/\n");
    write_file("/sys/fs/cgroup/cpu.max", "200000 100000\n");
    assert_int_equal(attn_i_quota_cpus(root), 2);
    /* By a name that is not to be seen from inside. */
    write_file("/proc/self/cgroup", "0::/system.slice/docker-0123.scope\n");
    assert_int_equal(attn_i_quota_cpus(root), 2);
}

static void quotas_of_version_1_are_taken_too(void **state)
{
    (void)state;
    write_file("/proc/self/cgroup", "11:memory:/app\n4:cpu,cpuacct:/app\n3:cpuset:/\n1:name=systemd:/x\n");
    write_file("/sys/fs/cgroup/cpu,cpuacct/app/cpu.cfs_quota_us", "-1\n");
    write_file("/sys/fs/cgroup/cpu,cpuacct/app/cpu.cfs_period_us", "100000\n");
    assert_int_equal(attn_i_quota_cpus(root), 0);
    write_file("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "500000\n");
    write_file("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
    assert_int_equal(attn_i_quota_cpus(root), 5);
    write_file("/proc/self/cgroup", "4:cpuacct,cpu:/app\n");
    write_file("/sys/fs/cgroup/cpu/app/cpu.cfs_quota_us", "250000\n");
    write_file("/sys/fs/cgroup/cpu/app/cpu.cfs_period_us", "100000\n");
    assert_int_equal(attn_i_quota_cpus(root), 3);
}

static void nonsense_is_no_limit(void **state)
{
    static const char *const lines[] = {"", "\n", "0:", "0::", "::::\n", "4:cpu:/../other\n", "0::/../other\n"};
    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        write_file("/proc/self/cgroup", lines[i]);
        assert_int_equal(attn_i_quota_cpus(root), 0);
    }
    write_file("/proc/self/cgroup", "0::/app\n");
    static const char *const quotas[] = {"", "many\n", "0 0\n", "-5 100000\n", "100000\n"};
    for (size_t i = 0; i < sizeof quotas / sizeof *quotas; i++) {
        write_file("/sys/fs/cgroup/app/cpu.max", quotas[i]);
        assert_int_equal(attn_i_quota_cpus(root), 0);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_cpus_of_a_great_machine_are_counted),
        cmocka_unit_test(a_feature_is_one_whole_word),
        cmocka_unit_test(the_cpu_has_the_name_that_the_system_knows),
        TEST(without_control_groups_there_is_no_limit),
        TEST(a_quota_of_version_2_is_rounded_up),
        TEST(groups_above_limit_too),
        TEST(in_a_container_the_root_is_its_group),
        TEST(quotas_of_version_1_are_taken_too),
        TEST(nonsense_is_no_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
