#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# installed.sh: the program in the README compiles against the installed library, as its first lines say, and prints what
# stands below it; so do the examples compile.
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

awk '/^```cpp$/ && !done { to = 1; next } /^```/ { if (to) done = 1; to = 0 } to' "$readme" > "$scratch/readme.cpp"
awk '/^```text$/ && !done { to = 1; next } /^```/ { if (to) done = 1; to = 0 } to' "$readme" > "$scratch/wanted"
if [ ! -s "$scratch/readme.cpp" ] || [ ! -s "$scratch/wanted" ]; then
    echo "no program, or nothing that it prints, in $readme" >&2
    exit 1
fi
compile "$scratch/readme.cpp" "$scratch/readme"
"$scratch/readme" > "$scratch/got"
diff -u "$scratch/wanted" "$scratch/got"
echo "the README's program prints what it says"

for example in "$SOURCE"/bindings/cpp/examples/*.cpp; do
    compile "$example" "$scratch/example"
    "$scratch/example" > "$scratch/got"
    echo "$(basename "$example"): $(tail -n 1 "$scratch/got")"
done
