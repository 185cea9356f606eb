#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# torch.sh: torch_autograd.py, with the first interpreter that has PyTorch, on the library that ATTN_LIBRARY names. The
# first that is asked is the one that install_torch of scripts/common.sh has made.
set -eu
cd "$SOURCE/tests" # where no folder is called torch
for python in "$SOURCE/build/torch/venv/bin/python" python3 /usr/bin/python3; do
    if "$python" -c 'import numpy, sys, importlib.util as i; sys.exit(not i.find_spec("torch"))' 2> /dev/null; then
        PYTHONDONTWRITEBYTECODE=1 exec "$python" "$SOURCE/tests/torch_autograd.py"
    fi
done
echo "no Python with PyTorch: skipped"
exit 77
