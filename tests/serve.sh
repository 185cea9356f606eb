#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# serve.sh PROGRAM: the server in Python prints what the one in C does, token by token; with the first interpreter that has
# NumPy, on the library that ATTN_LIBRARY names.
set -eu
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
for python in python3 /usr/bin/python3; do
    if "$python" -c 'import numpy' 2> /dev/null; then
        "$1" > "$scratch/c"
        PYTHONPATH="$SOURCE/bindings/python" PYTHONDONTWRITEBYTECODE=1 "$python" "$SOURCE/bindings/python/examples/serve.py" \
            > "$scratch/python"
        exec diff -u "$scratch/c" "$scratch/python"
    fi
done
echo "no Python with NumPy: skipped"
exit 77
