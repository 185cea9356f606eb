/* SPDX-License-Identifier: BSD-3-Clause
 *
 * runtime/quota.h: how much CPU time the process' control groups (Linux) let it use. Threads beyond that are not
 * faster: the system stops all of them until the next period. */
#ifndef ATTN_I_RUNTIME_QUOTA_H
#define ATTN_I_RUNTIME_QUOTA_H

/* CPUs that the process' own control group and those above it, of version 1 or 2, have time for, rounded up; 0: there
 * is no limit, or it is not known. `root` comes before the names of the system's files: "", but in a test. */
int attn_i_quota_cpus(const char *root);

#endif
