/* SPDX-License-Identifier: BSD-3-Clause
 *
 * drafts.c: see drafts.h. */
#include "drafts.h"

void drafts_learn(drafts *d, int token, int follower)
{
    int *f = d->followers[token];
    if (f[0] == follower + 1) return;
    f[1] = f[0];
    f[0] = follower + 1;
}

int drafts_make(const drafts *d, int token, int most, guess guesses[GUESSES])
{
    int made = 0;
    for (int branch = 0; branch < 2; branch++) {
        int next = d->followers[token][branch];
        for (int depth = 0; depth < most && depth < BRANCH && next > 0; depth++) {
            guesses[made] = (guess){next - 1, depth ? made - 1 : -1};
            next = d->followers[guesses[made++].token][0];
        }
    }
    return made;
}
