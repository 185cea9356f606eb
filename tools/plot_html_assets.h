/* SPDX-License-Identifier: BSD-3-Clause
 *
 * plot_html_assets.h: the style sheet and the script of the page, in pieces that end with NULL (ISO C promises no
 * string literal above 4095 characters).
 */
#ifndef ATTN_TOOLS_PLOT_HTML_ASSETS_H
#define ATTN_TOOLS_PLOT_HTML_ASSETS_H

extern const char *const plot_html_style[];
extern const char *const plot_html_script[];

#endif
