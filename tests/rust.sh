#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# rust.sh: the tests of the Rust binding, on the library in the directory that ATTN_LIB_DIR names; cargo builds them in
# CARGO_TARGET_DIR. And that no modules use each other in a circle.
set -eu
if ! command -v cargo > /dev/null || ! command -v rustc > /dev/null; then
    echo "no cargo: skipped"
    exit 77
fi
cd "$SOURCE/bindings/rust"
for file in attn/src/*.rs; do
    module=$(basename "$file" .rs)
    sed -n "/^ *\/\//d; s/.*\bcrate::\([a-z_]*\)::.*/$module \1/p" "$file"
done | tsort > /dev/null || { echo "these modules use each other in a circle" >&2; exit 1; }
exec cargo test --quiet --offline --locked
