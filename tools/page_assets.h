/* SPDX-License-Identifier: BSD-3-Clause
 *
 * page_assets.h: page.css, page_numbers.js and page.js, which the build turns into arrays (embed.cmake).
 */
#ifndef ATTN_TOOLS_PAGE_ASSETS_H
#define ATTN_TOOLS_PAGE_ASSETS_H

#include <stddef.h>

extern const unsigned char page_style[], page_numbers[], page_script[];
extern const size_t page_style_bytes, page_numbers_bytes, page_script_bytes;

#endif
