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
test_packages="libcmocka-dev libopenblas0-openmp libopenblas0-serial libblas-dev python3 python3-numpy python3-cffi mandoc rustc cargo"
check_packages="git clang clang-format clang-tidy shellcheck ninja-build rustfmt"

# PyTorch, by its version, and where install_torch puts it.
torch_package="torch==2.13.0"
torch_tree=build/torch

# install_torch: an environment for Python with PyTorch, which tests/torch.sh finds; made once, below build/.
install_torch() {
    [ "$(cat "$torch_tree/installed" 2> /dev/null)" != "$torch_package" ] || return 0
    install_packages python3 python3-venv
    say "Installing $torch_package below $torch_tree"
    rm -rf "$torch_tree"
    python3 -m venv "$torch_tree/venv"
    "$torch_tree/venv/bin/pip" install -q "$torch_package" numpy
    echo "$torch_package" > "$torch_tree/installed"
}

# build preset [option...]: configures and builds one of CMakePresets.json.
build() {
    preset=$1
    shift
    say "Building the preset $preset"
    cmake --preset "$preset" "$@" > /dev/null
    cmake --build --preset "$preset" --parallel "$(jobs)"
}
