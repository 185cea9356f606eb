#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# packaging.sh: what packaging/ repeats of the rest of the tree, it repeats rightly: version, binary interface, symbols.
set -eu
debian=$SOURCE/packaging/debian
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
fail() { echo "$*" >&2; exit 1; }
number() { sed -n "s/^#define ATTN_$1 //p" "$SOURCE/include/attn/attn.h"; }

version=$(number VERSION_MAJOR).$(number VERSION_MINOR).$(number VERSION_PATCH) abi=$(number ABI_VERSION)
packaged=$(sed -n '1s/^libattn (\([^-]*\)-.*/\1/p' "$debian/changelog")
[ "$packaged" = "$version" ] || fail "attn.h has version $version, packaging/debian/changelog '$packaged'"
grep -qx "Package: libattn$abi" "$debian/control" || fail "packaging/debian/control has no package libattn$abi"
grep -q "^libattn.so.$abi libattn$abi " "$debian/libattn$abi.symbols" || fail "no symbols file is about libattn.so.$abi"

sed -n 's/^ \([^@]*\)@.*/\1/p' "$debian/libattn$abi.symbols" | grep -v '^attn_[0-9.]*$' > "$scratch/symbols"
diff -u "$SOURCE/tests/symbols.txt" "$scratch/symbols" || fail "libattn$abi.symbols does not list what tests/symbols.txt does"
echo "libattn$abi $version: $(wc -l < "$scratch/symbols") symbols"
