#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# symbols.sh LIBRARY ARCHIVE: the shared library exports exactly what symbols.txt lists, the header declares that and no
# more, the archive has no global name without our prefix; the library is small, has its SONAME and no RPATH.
set -eu
library=$1 archive=$2
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
fail() { echo "$*" >&2; exit 1; }

nm -D --defined-only "$library" | awk '{print $3}' | sed 's/@.*//' | grep -v '^attn_[0-9.]*$' | LC_ALL=C sort > "$scratch/exported"
diff -u "$SOURCE/tests/symbols.txt" "$scratch/exported" || fail "the exported symbols are not those of tests/symbols.txt"
nm -D --defined-only "$library" | awk '$3 !~ /^attn_/ {print; found = 1} END {exit !found}' && fail "foreign symbols are exported"

grep -oE '^ATTN_API [^(]*' "$SOURCE/include/attn/attn.h" | grep -oE 'attn_[a-z_]+$' | LC_ALL=C sort > "$scratch/declared"
diff -u "$scratch/declared" "$scratch/exported" || fail "the header declares something else than what is exported"

nm --defined-only --extern-only "$archive" 2>/dev/null | awk 'NF == 3 && $3 !~ /^attn_/ {print; found = 1} END {exit !found}' &&
    fail "the archive defines global names without the prefix attn_"

readelf -d "$library" > "$scratch/dynamic"
grep -q 'SONAME.*\[libattn\.so\.[0-9]*\]' "$scratch/dynamic" || fail "the library has no SONAME"
grep -qE 'RPATH|RUNPATH' "$scratch/dynamic" && fail "the library has an RPATH"
grep -q TEXTREL "$scratch/dynamic" && fail "the library has text relocations"
strip -o "$scratch/stripped" "$library"
bytes=$(wc -c < "$scratch/stripped")
echo "stripped: $bytes bytes, $(wc -l < "$scratch/exported") symbols"
[ "$bytes" -lt 1500000 ] || fail "the stripped library has $bytes bytes"
