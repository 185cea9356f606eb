/* SPDX-License-Identifier: BSD-3-Clause
 *
 * handles/status.c: status codes and the calling thread's last error. */
#include "handles/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local char last_error[512];

const char *attn_status_string(attn_status status)
{
    switch (status) {
    case ATTN_OK:
        return "ATTN_OK: success";
    case ATTN_ERR_ARGUMENT:
        return "ATTN_ERR_ARGUMENT: an argument is missing or outside its range";
    case ATTN_ERR_STRUCT_SIZE:
        return "ATTN_ERR_STRUCT_SIZE: a struct_size that no version of the struct had";
    case ATTN_ERR_SHAPE:
        return "ATTN_ERR_SHAPE: ranks or dimensions do not fit together";
    case ATTN_ERR_DTYPE:
        return "ATTN_ERR_DTYPE: an element type that is not taken there";
    case ATTN_ERR_OVERLAP:
        return "ATTN_ERR_OVERLAP: an output shares memory with another argument or with itself";
    case ATTN_ERR_OVERFLOW:
        return "ATTN_ERR_OVERFLOW: sizes whose product cannot be addressed";
    case ATTN_ERR_PARAMETER:
        return "ATTN_ERR_PARAMETER: a parameter that is unknown, or needed and not bound";
    case ATTN_ERR_BUFFER:
        return "ATTN_ERR_BUFFER: a buffer of the caller's is too small";
    case ATTN_ERR_NOMEM:
        return "ATTN_ERR_NOMEM: out of memory";
    case ATTN_ERR_BACKEND:
        return "ATTN_ERR_BACKEND: the BLAS or the machine cannot do what was asked";
    case ATTN_ERR_UNSUPPORTED:
        return "ATTN_ERR_UNSUPPORTED: well formed, but not in this version";
    default:
        return "unknown status";
    }
}

const char *attn_last_error(void)
{
    return last_error;
}

void attn_i_say(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(last_error, sizeof last_error, format, arguments);
    va_end(arguments);
}

attn_status attn_i_fail_in(const char *where, attn_status status)
{
    char sentence[sizeof last_error];
    memcpy(sentence, last_error, sizeof sentence);
    snprintf(last_error, sizeof last_error, "%s: %.*s", where, (int)(sizeof last_error - 64), sentence);
    return status;
}
