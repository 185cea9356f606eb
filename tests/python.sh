#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# python.sh: the tests of the Python binding, with the first interpreter that has NumPy, on the library that
# ATTN_LIBRARY names. In Python's development mode, which overwrites what is freed: what is read afterwards is seen.
set -eu
for python in python3 /usr/bin/python3; do
    if "$python" -c 'import numpy' 2> /dev/null; then
        PYTHONDEVMODE=1 PYTHONMALLOC=debug PYTHONDONTWRITEBYTECODE=1 exec "$python" "$SOURCE/bindings/python/tests"
    fi
done
echo "no Python with NumPy: skipped"
exit 77
