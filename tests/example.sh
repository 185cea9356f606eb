#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# example.sh EXAMPLE: installs the build, builds examples/EXAMPLE against what was installed, as a project outside would
# be, and runs its tests. With SANITIZE set, the tests in C alone, with these sanitizers.
set -eu
example=$1
# shellcheck disable=SC2153 # from the environment
clients=$BUILD/clients
prefix=$clients/prefix build=$clients/$example
"$CMAKE" --install "$BUILD" --prefix "$prefix" > /dev/null
python=
for candidate in "$SOURCE/build/witnesses/venv/bin/python" /usr/bin/python3; do
    if [ -z "$python" ] && "$candidate" -c '' 2> /dev/null; then python=$candidate; fi
done
set -- -DCMAKE_PREFIX_PATH="$prefix" -DEXAMPLE_TESTS=ON -DEXAMPLE_WERROR=ON -DCMAKE_C_COMPILER="$CC"
[ -z "$python" ] || set -- "$@" -DPython3_EXECUTABLE="$python"
[ -z "${SANITIZE:-}" ] || set -- "$@" -DCMAKE_C_FLAGS="-fsanitize=$SANITIZE -fno-sanitize-recover=all -g"
"$CMAKE" -S "$SOURCE/examples/$example" -B "$build" "$@" > "$clients/$example.log" 2>&1 || {
    cat "$clients/$example.log" >&2
    exit 1
}
"$CMAKE" --build "$build" --parallel 2
export PYTHONDONTWRITEBYTECODE=1
if [ -n "${SANITIZE:-}" ]; then set -- --label-exclude python; else set --; fi
ctest --test-dir "$build" --output-on-failure "$@"
