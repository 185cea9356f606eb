/* SPDX-License-Identifier: BSD-3-Clause
 *
 * handles/status.h: how a failure gets its words. */
#ifndef ATTN_I_HANDLES_STATUS_H
#define ATTN_I_HANDLES_STATUS_H

#include "attn/attn.h"

/* Sets the calling thread's last error to a sentence and has the value of status, so that callers write
 * `return attn_i_fail(ATTN_ERR_..., format, ...)`; a macro, so that whoever reads the code sees that it is no success.
 */
#define attn_i_fail(status, ...) (attn_i_say(__VA_ARGS__), (status))
void attn_i_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Puts "where: " before this thread's last error: the public function that failed. Returns status. */
attn_status attn_i_fail_in(const char *where, attn_status status);

#endif
