#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# command.sh COMMAND: finds a Python that has NumPy and runs command.py with it.
set -eu
for python in python3 /usr/bin/python3; do
    if "$python" -c 'import numpy' 2> /dev/null; then
        exec "$python" "$SOURCE/tests/command.py" "$1"
    fi
done
echo "no python3 with NumPy: the command was not tried"
exit 77
