#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# configure.sh: what CMake makes of machines that are not like ours: without cmocka or Pango, with a BLAS of an unusual name or
# with 64-bit integers, and, for who uses the installed library, without any BLAS.
set -eu
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
fail() { echo "$*" >&2; cat "$scratch/log" >&2; exit 1; }

# cmake_in DIRECTORY OPTION...: configures this tree; what is printed goes to a log.
cmake_in() {
    directory=$scratch/$1
    shift
    "$CMAKE" -S "$SOURCE" -B "$directory" -DCMAKE_C_COMPILER="$CC" "$@" > "$scratch/log" 2>&1
}
# says TEXT: the log has it, however CMake has broken the lines.
says() {
    tr -s ' \n' ' ' < "$scratch/log" | grep -qF -e "$1" || fail "CMake does not say: $1"
}

# Nothing but a C compiler and a BLAS.
less=-DCMAKE_DISABLE_FIND_PACKAGE_PkgConfig=ON
cmake_in less "$less" || fail "without pkg-config, Pango and cmocka nothing can be built"
says 'Left out: The command attn, for want of pkg-config (pkgconf), pangocairo (libpango1.0-dev)'
says 'Left out: The test suite, for want of pkg-config (pkgconf), cmocka (libcmocka-dev)'
if cmake_in wanted "$less" -DATTN_BUILD_TESTS=ON; then fail "tests that were asked for are left out"; fi
says 'cmocka (libcmocka-dev). Install that'
says '-DATTN_BUILD_TESTS=OFF'
if cmake_in wanted "$less" -DATTN_BUILD_TOOLS=ON; then fail "a command that was asked for is left out"; fi
says 'pangocairo (libpango1.0-dev)'
echo "without pkg-config, Pango and cmocka: the library alone, and a line that says so"

library() {
    name=$1
    shift
    cmake_in "$name" -DATTN_BUILD_TESTS=OFF -DATTN_BUILD_TOOLS=OFF -DATTN_BUILD_EXAMPLES=OFF -DATTN_BUILD_BENCH=OFF "$@"
}
library packager -DATTN_BUILD_TESTS=AUTO -DBUILD_TESTING=OFF || fail "BUILD_TESTING=OFF is not taken"
if library none -DCMAKE_DISABLE_FIND_PACKAGE_BLAS=ON; then fail "nobody misses the BLAS"; fi
says "OpenBLAS is in Debian's libopenblas-dev"

# The names of a BLAS, in attn.pc.
blas=$(sed -n 's/^BLAS_[a-z]*_LIBRARY:FILEPATH=\(\/.*\)/\1/p' "$BUILD/CMakeCache.txt" | head -n 1)
mkdir "$scratch/folder"
for name in libblas.of-1.2.so:-lblas.of-1.2 libblas.so.3:-l:libblas.so.3; do
    file=${name%%:*} flag=${name#*:}
    ln -s "$blas" "$scratch/folder/$file"
    library "$file" -DBLAS_LIBRARIES="$scratch/folder/$file" || fail "a BLAS called $file is not taken"
    grep -qx "Libs.private: -L$scratch/folder $flag -lm -ldl -pthread" "$scratch/$file/attn.pc" ||
        fail "of $file, attn.pc has $(grep private "$scratch/$file/attn.pc")"
    echo "$file: $flag"
done

# A BLAS with 64-bit integers, by the header of one with 32-bit integers.
wide=$(dirname "$blas")/libopenblas64.so.0
if [ -e "$wide" ]; then
    if library wide -DBLAS_LIBRARIES="$wide"; then fail "a BLAS with 64-bit integers is taken"; fi
    says "The BLAS $wide takes 64-bit integers (ILP64), but"
    echo "$wide: refused"
fi

# Who uses the shared library needs no BLAS; who uses the archive hears that it does.
"$CMAKE" --install "$BUILD" --prefix "$scratch/prefix" > "$scratch/log"
consumer() {
    cat > "$scratch/CMakeLists.txt" << END
cmake_minimum_required(VERSION 3.22)
project(consumer C)
find_package(attn CONFIG REQUIRED)
add_executable(consumer "$SOURCE/tests/consumers/consumer.c")
target_link_libraries(consumer $1)
END
    rm -rf "$scratch/consumer"
    "$CMAKE" -S "$scratch" -B "$scratch/consumer" -DCMAKE_C_COMPILER="$CC" -DCMAKE_PREFIX_PATH="$scratch/prefix" \
        -DCMAKE_DISABLE_FIND_PACKAGE_BLAS=ON > "$scratch/log" 2>&1
}
consumer attn::attn || fail "the shared library is not taken without a BLAS"
if consumer attn::attn_static; then fail "nobody misses the BLAS for the archive"; fi
says 'needs a BLAS with the cblas interface and none was found'
echo "without a BLAS: the shared library, and a sentence about the archive"
