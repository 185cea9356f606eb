#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# The header alone compiles as C11, C17 and C++17 without a warning, and is declarations enough for a binding generator
# (cffi, where Python has it).
set -eu
cd "$SOURCE"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
CXX=${CXX:-c++}

cat > "$scratch/use.c" <<'END'
#include <attn/attn.h>
attn_engine_options options = ATTN_ENGINE_OPTIONS_INIT;
attn_forward_args   args = ATTN_FORWARD_ARGS_INIT;
attn_param_info     info = ATTN_PARAM_INFO_INIT;
attn_rope_options   rope = ATTN_ROPE_OPTIONS_INIT;
attn_attentional_args step = ATTN_ATTENTIONAL_ARGS_INIT;
attn_memory_options memory = ATTN_MEMORY_OPTIONS_INIT;
attn_backward_args  back = ATTN_BACKWARD_ARGS_INIT;
attn_merge_args     merge = ATTN_MERGE_ARGS_INIT;
attn_decomposable_args attend = ATTN_DECOMPOSABLE_ARGS_INIT;
attn_multihead_options       layer = ATTN_MULTIHEAD_OPTIONS_INIT;
attn_multihead_args          layer_args = ATTN_MULTIHEAD_ARGS_INIT;
attn_multihead_backward_args layer_backward = ATTN_MULTIHEAD_BACKWARD_ARGS_INIT;
END
cp "$scratch/use.c" "$scratch/use.cpp"
for standard in c11 c17; do
    echo "header as $standard"
    "$CC" -std=$standard -Wall -Wextra -Wpedantic -Wconversion -Werror -Iinclude -fsyntax-only "$scratch/use.c"
done
for standard in c++17 c++20; do
    echo "header as $standard"
    "$CXX" -std=$standard -Wall -Wextra -Wpedantic -Wconversion -Werror -Iinclude -fsyntax-only "$scratch/use.cpp"
done

"$CC" -E -P -DATTN_PLAIN_DECLARATIONS include/attn/attn.h > "$scratch/declarations.h"
if grep -nE '__attribute__|#|extern' "$scratch/declarations.h"; then
    echo "ATTN_PLAIN_DECLARATIONS leaves more than declarations" >&2
    exit 1
fi
for python in python3 /usr/bin/python3; do
    "$python" -c 'import cffi' 2> "$scratch/why" || continue
    echo "header through cffi ($python)"
    "$python" - "$scratch/declarations.h" "$BUILD"/src/libattn.so <<'END'
import sys
import cffi

ffi = cffi.FFI()
ffi.cdef(open(sys.argv[1]).read())
attn = ffi.dlopen(sys.argv[2])
for name in ("attn_tensor", "attn_engine_options", "attn_param_info", "attn_forward_args", "attn_rope_options",
             "attn_attentional_args", "attn_memory_options", "attn_backward_args",
             "attn_merge_args", "attn_decomposable_args", "attn_multihead_options", "attn_multihead_args",
             "attn_multihead_backward_args"):
    value = ffi.new("int64_t *")
    assert attn.attn_constant(b"sizeof " + name.encode(), value) == attn.ATTN_OK
    assert value[0] == ffi.sizeof(name), name
END
    exit 0
done
echo "no python3 with cffi: the binding generator was not tried"
