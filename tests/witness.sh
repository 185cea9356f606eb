#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# witness.sh MODULE PROGRAM [ARGUMENT...]: a program of Python in this source tree, with the first interpreter that has
# NumPy and the module, on the library that ATTN_LIBRARY names. The first that is asked is the one that
# install_witnesses of scripts/common.sh has made.
set -eu
module=$1
program=$2
shift 2
cd "$SOURCE/tests" # where no folder has a module's name
for python in "$SOURCE/build/witnesses/venv/bin/python" python3 /usr/bin/python3; do
    if "$python" -c "import numpy, sys, importlib.util as i; sys.exit(not i.find_spec('$module'))" 2> /dev/null; then
        PYTHONDONTWRITEBYTECODE=1 exec "$python" "$SOURCE/$program" "$@"
    fi
done
echo "no Python with $module: skipped"
exit 77
