#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# rust.sh: the tests of the Rust binding, on the library in the directory that ATTN_LIB_DIR names; cargo builds them in
# CARGO_TARGET_DIR.
set -eu
if ! command -v cargo > /dev/null || ! command -v rustc > /dev/null; then
    echo "no cargo: skipped"
    exit 77
fi
cd "$SOURCE/bindings/rust"
exec cargo test --quiet --offline --locked
