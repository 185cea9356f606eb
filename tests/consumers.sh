#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Installs the build into an empty prefix, moves the prefix, and uses the library from there as others would: through
# pkg-config (shared and static), find_package and add_subdirectory, in C and in C++, with Make and with Ninja.
set -eu
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
here=$SOURCE/tests/consumers CXX=${CXX:-c++}

"$CMAKE" --install "$BUILD" --prefix "$scratch/first" > "$scratch/log"
mv "$scratch/first" "$scratch/moved"
prefix=$scratch/moved
if grep -rlE "$scratch/first|$BUILD|$SOURCE|/usr/lib/[^ ;]*blas" "$prefix"/lib*/cmake "$prefix"/lib*/pkgconfig; then
    echo "an installed file names an absolute path" >&2
    exit 1
fi
pkgconfig=$(find "$prefix" -name attn.pc -exec dirname {} \;)
libraries=$(dirname "$pkgconfig")
if [ -e "$prefix/bin/attn" ]; then
    env -u LD_LIBRARY_PATH "$prefix/bin/attn" info > "$scratch/log" || { echo "the installed command does not start" >&2; exit 1; }
    echo "the command: $(head -n 1 "$scratch/log")"
fi
export PKG_CONFIG_PATH="$pkgconfig" LD_LIBRARY_PATH="$libraries"

expect="attn $(sed -n 's/^Version: //p' "$pkgconfig/attn.pc"): 2.9717 3.9717 2.9999 3.9999"
check() {
    got=$("$2")
    [ "$got" = "$expect" ] || { echo "$1 printed '$got', not '$expect'" >&2; exit 1; }
    echo "$1: $got"
}

[ "$(pkg-config --libs-only-l attn | tr -d ' ')" = -lattn ] || { echo "pkg-config --libs names more than -lattn" >&2; exit 1; }
# shellcheck disable=SC2046 # words are meant
{
    "$CC" -std=c11 -Wall -Werror "$here/consumer.c" $(pkg-config --cflags --libs attn) -o "$scratch/c"
    cp "$here/consumer.c" "$scratch/consumer.cpp"
    "$CXX" -std=c++17 -Wall -Werror "$scratch/consumer.cpp" $(pkg-config --cflags --libs attn) -o "$scratch/cpp"
}
# As the README has it.
# shellcheck disable=SC2016 # the line is
static=$(sed -n 's/^`cc program\.c \($(pkg-config .*--static .*)\)`.*/\1/p' "$SOURCE/README.md")
[ -n "$static" ] || { echo "the README does not say how to link the archive" >&2; exit 1; }
eval "$CC -std=c11 $here/consumer.c $static -o $scratch/static"
if readelf -d "$scratch/static" | grep -q libattn; then echo "the static program wants the shared library" >&2; exit 1; fi
check "pkg-config, C" "$scratch/c"
check "pkg-config, C++" "$scratch/cpp"
check "pkg-config, static" "$scratch/static"

# The guide's programs, by the line that it has for them.
# shellcheck disable=SC2016 # the line is
line=$(sed -n 's/^cc guide\.c \($(pkg-config .*)\)$/\1/p' "$SOURCE/docs/guide.md")
[ -n "$line" ] || { echo "the guide does not say how its programs are built" >&2; exit 1; }
FLAGS=$(eval "echo $line") sh "$SOURCE/tests/documents.sh" "$libraries" "$SOURCE/docs/guide.md"

configure() {
    directory=$1
    shift
    if ! { "$CMAKE" -S "$here" -B "$scratch/$directory" "$@" && "$CMAKE" --build "$scratch/$directory"; } > "$scratch/log" 2>&1; then
        cat "$scratch/log" >&2
        exit 1
    fi
}
configure package -G "Unix Makefiles" -DCMAKE_PREFIX_PATH="$prefix"
check "find_package, C" "$scratch/package/consumer_c"
check "find_package, C++" "$scratch/package/consumer_cpp"
check "find_package, static" "$scratch/package/consumer_static"
generator="Unix Makefiles"
if command -v ninja > /dev/null; then generator=Ninja; fi
configure subdirectory -G "$generator" -DATTN_SOURCE="$SOURCE"
check "add_subdirectory ($generator), C" "$scratch/subdirectory/consumer_c"
check "add_subdirectory ($generator), C++" "$scratch/subdirectory/consumer_cpp"
