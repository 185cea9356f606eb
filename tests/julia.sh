#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# julia.sh: the tests of the Julia binding, on the library that ATTN_LIBRARY names. What Julia compiles is kept in BUILD, and
# nothing is asked of a registry. install_julia of scripts/common.sh brings a Julia.
set -eu
. "$SOURCE/scripts/common.sh"
if ! julia_works; then
    echo "no Julia that survives an exception: skipped"
    exit 77
fi
JULIA_DEPOT_PATH="$BUILD/julia" JULIA_NUM_THREADS=2 exec julia -O1 --startup-file=no --project="$SOURCE/bindings/julia" \
    "$SOURCE/bindings/julia/test/runtests.jl"
