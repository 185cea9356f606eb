#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# torch.sh PROGRAM [ARGUMENT...]: a program of Python in this source tree, with the first interpreter that has PyTorch, on
# the library that ATTN_LIBRARY names. The first that is asked is the one that install_torch of scripts/common.sh has made.
set -eu
program=$1
shift
cd "$SOURCE/tests" # where no folder is called torch
for python in "$SOURCE/build/torch/venv/bin/python" python3 /usr/bin/python3; do
    if "$python" -c 'import numpy, sys, importlib.util as i; sys.exit(not i.find_spec("torch"))' 2> /dev/null; then
        PYTHONDONTWRITEBYTECODE=1 exec "$python" "$SOURCE/$program" "$@"
    fi
done
echo "no Python with PyTorch: skipped"
exit 77
