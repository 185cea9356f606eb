#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# installed.sh: the programs in the README compile against the installed library, as its first lines say, and print what
# stands below them; so do the examples compile.
set -eu
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
readme=$SOURCE/bindings/cpp/README.md

"$CMAKE" --install "$BUILD" --prefix "$scratch/prefix" > /dev/null
pkgconfig=$(find "$scratch/prefix" -name attn.pc -exec dirname {} \;)
PKG_CONFIG_PATH=$pkgconfig
LD_LIBRARY_PATH=$(dirname "$pkgconfig")
export PKG_CONFIG_PATH LD_LIBRARY_PATH

compile() {
    # shellcheck disable=SC2046 # words are meant
    "$CXX" -std=c++17 -Wall -Wextra -Wpedantic -Werror "$1" $(pkg-config --cflags --libs attn) -o "$2"
}

# Program n is the nth block of cpp; what it prints is the block of text after it.
awk -v to="$scratch" '
    /^```cpp$/ { n++; file = to "/" n ".cpp"; next }
    /^```text$/ && n { file = to "/" n ".wanted"; next }
    /^```/ { if (file) close(file); file = ""; next }
    file { print > file }' "$readme"
count=0
for program in "$scratch"/[0-9]*.cpp; do
    compile "$program" "$scratch/readme"
    "$scratch/readme" > "$scratch/got"
    diff -u "${program%.cpp}.wanted" "$scratch/got"
    count=$((count + 1))
done
[ "$count" -gt 1 ] || { echo "only $count programs in $readme" >&2; exit 1; }
echo "the README's programs print what it says"

for example in "$SOURCE"/bindings/cpp/examples/*.cpp; do
    compile "$example" "$scratch/example"
    "$scratch/example" > "$scratch/got"
    echo "$(basename "$example"): $(tail -n 1 "$scratch/got")"
done
