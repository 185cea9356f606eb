/* SPDX-License-Identifier: BSD-3-Clause
 *
 * runtime/quota.c: how much CPU time the process' control groups let it use. A limit of any of them is one of the
 * process. */
#include "runtime/quota.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_BYTES = 1024, LIMIT_MOST = 1 << 20 };

/* The first line of a file in a directory. 0: there is none. */
static int read_line(const char *directory, const char *name, char line[PATH_BYTES])
{
    char path[2 * PATH_BYTES];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *file = fopen(path, "r");
    if (file == NULL) return 0;
    const int found = fgets(line, PATH_BYTES, file) != NULL;
    fclose(file);
    return found;
}

/* CPUs that one group has time for, infinitely many where it has no limit. Version 2: "150000 100000" or "max 100000",
 * microseconds in each period of so many; version 1: a file for each of the two, -1 for no limit. */
typedef double limit_fn(const char *directory);

static double share(double quota, double period)
{
    return quota > 0 && period > 0 ? quota / period : INFINITY;
}

static double limit_of_version_2(const char *directory)
{
    char line[PATH_BYTES], *rest;
    if (!read_line(directory, "cpu.max", line)) return INFINITY;
    const double quota = strtod(line, &rest); /* 0 of "max" */
    return share(quota, strtod(rest, NULL));
}

static double limit_of_version_1(const char *directory)
{
    char quota[PATH_BYTES], period[PATH_BYTES];
    if (!read_line(directory, "cpu.cfs_quota_us", quota)) return INFINITY;
    if (!read_line(directory, "cpu.cfs_period_us", period)) return INFINITY;
    return share(strtod(quota, NULL), strtod(period, NULL));
}

/* The least limit from a group up to the root of its hierarchy. In a container the group may have a name that is not
 * to be seen there: the container's own group is then that root. */
static double limit_upwards(const char *root, const char *hierarchy, const char *group, limit_fn *limit)
{
    char directory[PATH_BYTES];
    const size_t top = strlen(root) + strlen(hierarchy);
    const int length = snprintf(directory, sizeof directory, "%s%s%s", root, hierarchy, group);
    if (length < 0 || (size_t)length >= sizeof directory || strstr(group, "/..") != NULL) return INFINITY;
    double least = INFINITY;
    for (char *end = directory + length; end != NULL && (size_t)(end - directory) >= top;
         end = strrchr(directory, '/')) {
        *end = '\0';
        least = fmin(least, limit(directory));
    }
    return least;
}

/* 1 if the name is among those joined by commas. */
static int has_controller(const char *list, const char *name)
{
    const size_t length = strlen(name);
    for (const char *at = list; *at != '\0'; at += strcspn(at, ","), at += *at == ',') {
        if (strcspn(at, ",") == length && strncmp(at, name, length) == 0) return 1;
    }
    return 0;
}

/* A line of /proc/self/cgroup: number of the hierarchy, its controllers, the group; 0:: of version 2. */
static double limit_of_line(const char *root, char *line)
{
    char *controllers = strchr(line, ':'), *group = controllers == NULL ? NULL : strchr(controllers + 1, ':');
    if (group == NULL) return INFINITY;
    *controllers++ = *group++ = '\0';
    group[strcspn(group, "\n")] = '\0';
    if (controllers[0] == '\0') return limit_upwards(root, "/sys/fs/cgroup", group, limit_of_version_2);
    if (!has_controller(controllers, "cpu")) return INFINITY;
    char hierarchy[PATH_BYTES];
    snprintf(hierarchy, sizeof hierarchy, "/sys/fs/cgroup/%s", controllers);
    return fmin(limit_upwards(root, hierarchy, group, limit_of_version_1),
                limit_upwards(root, "/sys/fs/cgroup/cpu", group, limit_of_version_1));
}

int attn_i_quota_cpus(const char *root)
{
    char path[PATH_BYTES], line[PATH_BYTES];
    double least = INFINITY;
    snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    FILE *file = fopen(path, "r");
    if (file == NULL) return 0;
    while (fgets(line, sizeof line, file) != NULL) least = fmin(least, limit_of_line(root, line));
    fclose(file);
    return least <= LIMIT_MOST ? (int)ceil(least) : 0;
}
