#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# header.sh: attn.hpp and each of its pieces compile by themselves without a warning, as C++17, 20 and 23, with and
# without exceptions, with every compiler there is; what must not compile does not; all of attn.h is in it; and no
# piece includes one that includes it.
set -eu
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
fail() { echo "$*" >&2; exit 1; }
cd "$SOURCE"
warnings="-Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wold-style-cast -Wnon-virtual-dtor -Werror"

for header in include/attn/*.hpp; do
    echo "#include <attn/$(basename "$header")>"
    echo "#include <attn/$(basename "$header")>"
done > "$scratch/all.cpp"

for header in include/attn/*.hpp; do
    sed -n "s|^#include \"\(.*\.hpp\)\".*|$(basename "$header") \1|p" "$header"
done > "$scratch/includes"
[ "$(wc -l < "$scratch/includes")" -gt 30 ] || fail "few includes were found"
tsort "$scratch/includes" > /dev/null || fail "these headers include each other in a circle"

other=clang++
if "$CXX" --version | grep -q clang; then other=g++; fi
command -v $other > /dev/null || other=""
for cxx in "$CXX" $other; do
    # shellcheck disable=SC2086 # words are meant
    compile() { "$cxx" $warnings -Iinclude -fsyntax-only "$@"; }
    for standard in c++17 c++20 c++2b; do
        compile -std=$standard -x c++ /dev/null 2> /dev/null || continue
        compile -std=$standard "$scratch/all.cpp"
        compile -std=$standard -fno-exceptions -fno-rtti "$scratch/all.cpp"
        compile -std=$standard -DATTN_NO_EXCEPTIONS bindings/cpp/tests/refused.cpp
        echo "$cxx, $standard: no warning"
    done
    for header in include/attn/*.hpp; do
        echo "#include <attn/$(basename "$header")>" > "$scratch/one.cpp"
        compile -std=c++17 "$scratch/one.cpp"
    done
    for case in 1 2 3 4 5 6 7 8 9 10 11; do
        if compile -std=c++17 -DCASE=$case bindings/cpp/tests/refused.cpp 2> /dev/null; then
            fail "$cxx compiles case $case of refused.cpp"
        fi
    done
    echo "$cxx: what must not compile does not"
done

# Every function but attn_tensor_init, whose work the views do; every enumerator; every member of the structs of arguments.
cat include/attn/*.hpp > "$scratch/text"
sed -e '/^attn_tensor_init$/d' -e '/_destroy$/!s/$/(/' tests/symbols.txt > "$scratch/names"
grep -oE '^ +ATTN_[A-Z0-9_]+ =|\{ ATTN_.*\}|\bATTN_[A-Z0-9_]+ = [0-9]+' include/attn/attn.h | grep -oE 'ATTN_[A-Z0-9_]+' >> "$scratch/names"
awk '/^typedef struct attn_.*_(args|options) \{/ { inside = 1; next }
     /^\}/ { inside = 0 }
     inside && /^    [a-z].*;/ {
         sub(/;.*/, ""); gsub(/\*/, " ")
         n = split($0, word, /[ ,]+/)
         for (i = 1; i <= n; i++) if (word[i] !~ /^$|^attn_|_t$|^(const|void|char|double|struct_size|reserved)$/) print "." word[i] " ="
     }' include/attn/attn.h >> "$scratch/names"
count=0
while read -r name; do
    grep -qF -e "$name" "$scratch/text" || fail "attn.hpp knows nothing of $name"
    count=$((count + 1))
done < "$scratch/names"
[ "$count" -gt 150 ] || fail "only $count names were found in attn.h"
echo "$count names of attn.h: all there"
