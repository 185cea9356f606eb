#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# documents.sh LIBRARY_DIRECTORY [DOCUMENT...]: every C program in these documents (those at the top and in docs/, unless some
# are named) compiles without a warning and prints what the block after it says. A program is a block that begins with ```c;
# what it prints is the next ```text block. FLAGS are the compiler's, where the library is not the build tree's.
set -eu
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
count=0 libraries=$1
shift
[ $# -gt 0 ] || set -- "$SOURCE"/*.md "$SOURCE"/docs/*.md
for document; do
    rm -f "$scratch"/[0-9]*
    awk -v to="$scratch" '
        /^```c$/ { n++; file = to "/" n ".c"; next }
        /^```text$/ && n && !printed[n] { printed[n] = 1; file = to "/" n ".want"; printf "" > file; next }
        /^```/ { if (file) close(file); file = ""; next }
        file { print > file }' "$document"
    for program in "$scratch"/[0-9]*.c; do
        [ -e "$program" ] || continue
        name="$(basename "$document"), program $(basename "$program" .c)"
        # shellcheck disable=SC2086 # words are meant
        "$CC" -std=c11 -Wall -Wextra -Wpedantic -Werror "$program" ${FLAGS:--I"$SOURCE/include" -L"$libraries" -lattn} -o "$scratch/run"
        if ! LD_LIBRARY_PATH="$libraries" "$scratch/run" > "$scratch/got"; then
            echo "$name fails" >&2
            exit 1
        fi
        if ! diff -u "${program%.c}.want" "$scratch/got"; then
            echo "$name prints something else" >&2
            exit 1
        fi
        echo "$name: as printed"
        count=$((count + 1))
    done
done
[ "$count" -gt 0 ] || { echo "no program was found" >&2; exit 1; }
