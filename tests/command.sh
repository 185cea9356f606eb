#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# command.sh COMMAND TESTS: finds a Python that has NumPy and runs TESTS.py, tests of the command, with it.
set -eu
for python in python3 /usr/bin/python3; do
    if "$python" -c 'import numpy' 2> /dev/null; then
        export PYTHONDONTWRITEBYTECODE=1
        exec "$python" "$SOURCE/tests/$2.py" "$1"
    fi
done
echo "no python3 with NumPy: the command was not tried"
exit 77
