/* SPDX-License-Identifier: BSD-3-Clause
 *
 * claims.c: files are the same where device and inode are: through links of both kinds, and whatever their paths look
 * like.
 */
#include "claims.h"

#include "fail.h"

typedef struct claimed {
    claim_purpose purpose;
    dev_t device;
    ino_t inode;
    char *name;
} claimed;

static claimed *all; /* until the program ends */
static size_t count;

void claim(claim_purpose purpose, const char *name, const struct stat *status)
{
    if (!S_ISREG(status->st_mode)) return;
    for (size_t i = 0; i < count; ++i) {
        if (all[i].device != status->st_dev || all[i].inode != status->st_ino || all[i].purpose == purpose) continue;
        const char *input = purpose == CLAIM_READ ? name : all[i].name;
        const char *output = purpose == CLAIM_READ ? all[i].name : name;
        fail("cannot write %s: it is the same file as the input %s", output, input);
    }
    all = reallocate(all, count + 1, sizeof *all);
    all[count++] = (claimed){purpose, status->st_dev, status->st_ino, copy_string(name)};
}
