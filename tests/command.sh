#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# command.sh COMMAND: finds a Python that has NumPy and runs the tests of the command with it.
set -eu
for python in python3 /usr/bin/python3; do
    if "$python" -c 'import numpy' 2> /dev/null; then
        export PYTHONDONTWRITEBYTECODE=1
        for tests in command command_calls command_align command_pictures; do
            "$python" "$SOURCE/tests/$tests.py" "$1"
        done
        exit 0
    fi
done
echo "no python3 with NumPy: the command was not tried"
exit 77
