/* SPDX-License-Identifier: BSD-3-Clause
 *
 * handles/structs.c: reading public structs that carry their own size. */
#include "handles/structs.h"

#include "handles/status.h"

#include <string.h>

attn_status attn_i_struct_read(void *ours, size_t size, size_t least, const void *theirs, uint32_t theirs_size,
                               const char *what)
{
    if (theirs_size < least || (theirs_size > least && theirs_size < size) || theirs_size > ATTN_I_LARGEST_STRUCT) {
        return attn_i_fail(ATTN_ERR_STRUCT_SIZE, "struct_size is %lu, but %s has %zu bytes (was it initialised?)",
                           (unsigned long)theirs_size, what, size);
    }
    for (size_t i = size; i < theirs_size; i++) {
        if (((const unsigned char *)theirs)[i] != 0) {
            return attn_i_fail(ATTN_ERR_STRUCT_SIZE,
                               "struct_size is %lu and byte %zu of %s is set, which this version (%zu bytes) does not "
                               "know",
                               (unsigned long)theirs_size, i, what, size);
        }
    }
    if (theirs_size < size) memset(ours, 0, size);
    memcpy(ours, theirs, theirs_size < size ? theirs_size : size);
    return ATTN_OK;
}
