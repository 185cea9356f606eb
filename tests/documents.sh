#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# documents.sh LIBRARY_DIRECTORY: every C program in the README and in docs/ compiles without a warning and prints what
# the block after it says. A program is a block that begins with ```c; what it prints is the next ```text block.
set -eu
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
count=0
for document in "$SOURCE"/*.md "$SOURCE"/docs/*.md; do
    rm -f "$scratch"/[0-9]*
    awk -v to="$scratch" '
        /^```c$/ { n++; file = to "/" n ".c"; next }
        /^```text$/ && n && !printed[n] { printed[n] = 1; file = to "/" n ".want"; printf "" > file; next }
        /^```/ { if (file) close(file); file = ""; next }
        file { print > file }' "$document"
    for program in "$scratch"/[0-9]*.c; do
        [ -e "$program" ] || continue
        name="$(basename "$document"), program $(basename "$program" .c)"
        "$CC" -std=c11 -Wall -Wextra -Wpedantic -Werror -I"$SOURCE/include" "$program" -L"$1" -lattn -o "$scratch/run"
        LD_LIBRARY_PATH="$1" "$scratch/run" > "$scratch/got"
        if ! diff -u "${program%.c}.want" "$scratch/got"; then
            echo "$name prints something else" >&2
            exit 1
        fi
        echo "$name: as printed"
        count=$((count + 1))
    done
done
[ "$count" -gt 0 ] || { echo "no program was found" >&2; exit 1; }
