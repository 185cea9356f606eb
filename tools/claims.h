/* SPDX-License-Identifier: BSD-3-Clause
 *
 * claims.h: which files a command reads and which it writes. No file is both: a result that took the place of what it
 * came from could not be computed again.
 */
#ifndef ATTN_TOOLS_CLAIMS_H
#define ATTN_TOOLS_CLAIMS_H

#include <sys/stat.h>

typedef enum claim_purpose { CLAIM_READ, CLAIM_WRITE } claim_purpose;

/* Claims a file, by whatever name; name is for sentences. Fails where it is claimed for the other purpose. What is no
 * regular file, a pipe or a device, cannot be lost and is not looked at. */
void claim(claim_purpose purpose, const char *name, const struct stat *status);

#endif
