#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# scripts.sh: every script in scripts/ and .ci/run, asked for --help, prints the comment at its head and does nothing else; so
# what it does not know is refused. They run in a copy of the tree, where there is no tool that could build or install.
set -eu
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
fail() { echo "$*" >&2; cat "$scratch/said" >&2; exit 1; }

mkdir -p "$scratch/tree" "$scratch/bin"
cp -R "$SOURCE/scripts" "$SOURCE/.ci" "$SOURCE/CMakePresets.json" "$scratch/tree"
for tool in sh bash env dirname basename sed grep tr; do ln -s "$(command -v $tool)" "$scratch/bin"; done
cd "$scratch/tree"
files() { find . -type f -exec cksum {} + | sort; }
files > "$scratch/before"

# run SCRIPT ARGUMENT...: what it says, and what it ends with in $status.
run() {
    status=0
    env -i PATH="$scratch/bin" HOME="$scratch" "$@" > "$scratch/said" 2>&1 || status=$?
}

count=0
for script in scripts/* .ci/run; do
    [ "$script" != scripts/common.sh ] || continue
    first=$(sed -n '4s/^# //p' "$script") # after #!, the licence and an empty line
    for arguments in --help -h "--nonsense --help"; do
        # shellcheck disable=SC2086 # words are meant
        run "$script" $arguments
        [ $status = 0 ] || fail "$script $arguments ends with $status"
        [ "$(head -n 1 "$scratch/said")" = "$first" ] || fail "$script $arguments does not print its head"
        if grep -qE '^(set|#|\. )' "$scratch/said"; then fail "$script $arguments prints more than its head"; fi
    done
    for arguments in --nonsense -x "one two three"; do
        # shellcheck disable=SC2086
        run "$script" $arguments
        [ $status = 2 ] || fail "$script $arguments ends with $status, not 2"
        grep -q "^$script: .*; $script --help says" "$scratch/said" || fail "$script $arguments is not refused in a sentence"
    done
    count=$((count + 1))
done
[ $count -ge 12 ] || fail "only $count scripts were found"

# Without --help a script goes on to what is not there: that nothing happens above is no accident of this place.
run scripts/test
[ $status = 127 ] || fail "scripts/test ends with $status, though there is no tool that it could use"

# refused TEXT COMMAND...: with this text.
refused() {
    text=$1
    shift
    run "$@"
    if [ $status != 2 ] || ! grep -qF -e "$text" "$scratch/said"; then fail "$* ends with $status, not with '$text'"; fi
}
refused 'no preset no-such-preset, but release ' scripts/test no-such-preset
refused 'no option -DA=B' scripts/lint -DA=B
refused '--json lacks its value' scripts/bench --json
cd /
run "$scratch/tree/scripts/test" --help
[ $status = 0 ] || fail "from another folder there is no help"
cd "$scratch/tree"

files > "$scratch/after"
cmp -s "$scratch/before" "$scratch/after" || fail "the tree has changed: $(diff "$scratch/before" "$scratch/after")"
echo "$count scripts: help, and nothing else"
