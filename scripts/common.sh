# shellcheck shell=sh disable=SC2034 # read by scripts, which use the variables
# SPDX-License-Identifier: BSD-3-Clause
#
# What the scripts share; to be read by them, from the root of the tree.

say() {
    printf '\n== %s\n' "$*"
}

jobs() {
    nproc 2> /dev/null || echo 2
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# install_packages package...: whatever of these Debian packages is missing. Elsewhere it says what is needed and goes
# on: the tools may be there under other names, and CMake will tell.
install_packages() {
    if ! command -v dpkg-query > /dev/null || ! command -v apt-get > /dev/null; then
        say "This is no Debian or Ubuntu. What is needed, by its names there: $*"
        return
    fi
    missing=""
    for package in "$@"; do
        state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2> /dev/null) || state=""
        [ "$state" = installed ] || missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    say "Installing$missing"
    as_root apt-get update -qq
    # shellcheck disable=SC2086 # words are meant
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing > /dev/null
}

build_packages="gcc g++ libc6-dev make cmake pkg-config libopenblas-dev libcairo2-dev libunistring-dev fonts-dejavu-core"
test_packages="libcmocka-dev libopenblas0-openmp libopenblas0-serial libblas-dev python3 python3-numpy python3-cffi mandoc"
check_packages="git clang clang-format clang-tidy shellcheck ninja-build"

# What the library is held against in tests, by version, and where install_witnesses puts it.
torch_package="torch==2.13.0"
witnesses="$torch_package numpy onnx==1.23.2 keras==3.15.1 ml_dtypes expecttest pytest"
witnesses_tree=build/witnesses

# install_witnesses: an environment for Python with PyTorch, and with what ONNX, PyTorch and Keras test their attention
# with; tests/witness.sh finds it. Made once, below build/.
install_witnesses() {
    [ "$(cat "$witnesses_tree/installed" 2> /dev/null)" != "$witnesses" ] || return 0
    install_packages python3 python3-venv
    say "Installing $witnesses below $witnesses_tree"
    rm -rf "$witnesses_tree"
    python3 -m venv "$witnesses_tree/venv"
    # shellcheck disable=SC2086 # words are meant
    "$witnesses_tree/venv/bin/pip" install -q $witnesses
    echo "$witnesses" > "$witnesses_tree/installed"
}

# build preset [option...]: configures and builds one of CMakePresets.json.
build() {
    preset=$1
    shift
    say "Building the preset $preset"
    cmake --preset "$preset" "$@" > /dev/null
    cmake --build --preset "$preset" --parallel "$(jobs)"
}
