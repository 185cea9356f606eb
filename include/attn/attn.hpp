/* SPDX-License-Identifier: BSD-3-Clause
 *
 * attn.hpp: libattn from C++17 on. Handles that clean up after themselves, views of the caller's memory, exceptions or
 * statuses by choice. Header only, over attn.h: what things mean is written there, here is what C++ adds.
 *
 *     attn::engine engine;
 *     attn::mechanism mechanism(engine, attn::scaled_dot{});
 *     attn::forward_args args;
 *     args.query = {query, {2, 4}};       a container, an array or a pointer, and its shape
 *     args.key = {key, {3, 4}};
 *     args.context = {context, {2, 4}};   an output: of memory that is not const
 *     attn::forward(mechanism, args);
 *
 * or, since C++20, attn::forward(mechanism, {.query = query, .key = key, .context = context}).
 *
 * Rules that hold for everything below:
 *
 *   Names      attn_forward is attn::forward, ATTN_ERR_SHAPE is attn::status::shape. What belongs to a handle is its
 *              member: attn_mechanism_set_scale(m, 2) is m.set_scale(2).
 *   Failure    What can fail throws attn::error, which has the status and the library's sentence. Its twin with try_
 *              before the name throws nothing and returns an attn::status, or an attn::result where there is a value;
 *              attn::last_error() is the sentence then. Where exceptions are off (-fno-exceptions), or
 *              ATTN_NO_EXCEPTIONS is defined, there are the twins alone.
 *   Handles    can be moved, not copied. One that was moved from is empty, and a call with it is refused as a call with
 *              NULL is; it can be assigned to and destroyed.
 *   Lifetime   Views, arguments and options borrow: what they look at must be there while the call runs, and what is
 *              bound to a mechanism while it is bound. A temporary container cannot be viewed.
 *   Threads    as in attn.h: const is what any number of threads may do at the same time.
 */
#ifndef ATTN_ATTN_HPP
#define ATTN_ATTN_HPP

#include "attentional.hpp"  // IWYU pragma: export
#include "attn.h"           // IWYU pragma: export
#include "backward.hpp"     // IWYU pragma: export
#include "decomposable.hpp" // IWYU pragma: export
#include "element.hpp"      // IWYU pragma: export
#include "engine.hpp"       // IWYU pragma: export
#include "forward.hpp"      // IWYU pragma: export
#include "mechanism.hpp"    // IWYU pragma: export
#include "memory.hpp"       // IWYU pragma: export
#include "merge.hpp"        // IWYU pragma: export
#include "multihead.hpp"    // IWYU pragma: export
#include "pages.hpp"        // IWYU pragma: export
#include "position.hpp"     // IWYU pragma: export
#include "status.hpp"       // IWYU pragma: export
#include "tensor.hpp"       // IWYU pragma: export

#endif
