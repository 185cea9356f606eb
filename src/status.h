/* SPDX-License-Identifier: BSD-3-Clause
 *
 * status.h: how a failure gets its words. */
#ifndef ATTN_I_STATUS_H
#define ATTN_I_STATUS_H

#include "attn/attn.h"

/* Sets the calling thread's last error to the sentence and returns status, so that callers write
 * `return attn_i_fail(...)`. */
attn_status attn_i_fail(attn_status status, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Puts "where: " before this thread's last error: the public function that failed. Returns status. */
attn_status attn_i_fail_in(const char *where, attn_status status);

#endif
