# shellcheck shell=sh disable=SC2034 # read by scripts, which use the variables
# SPDX-License-Identifier: BSD-3-Clause
#
# What the scripts share; to be read by them, from the root of the tree.

say() {
    printf '\n== %s\n' "$*"
}

# refuse SENTENCE...: of arguments.
refuse() {
    echo "$script: $*; $script --help says what it takes" >&2
    exit 2
}

# take_arguments WHAT ARGUMENT...: ends the script with the comment at its head where --help is among the arguments, and
# refuses those that are not in WHAT: names of options (--quick), of options with a value (--json=), -D for CMake's, and a
# word in capitals for each argument that is no option. To be called before anything is done.
take_arguments() {
    script=scripts/$(basename "$0")
    [ -e "$script" ] || script=.ci/$(basename "$0")
    what=" $1 " left=$(printf '%s\n' "$1" | tr ' ' '\n' | grep -c '^[A-Z]') || true
    shift
    for argument in "$@"; do
        case $argument in
        --help | -h)
            sed -n '/^#!/d; /^# SPDX/d; /^#/!q; s/^#$//p; s/^# //p' "$script" | sed '1{/^$/d}'
            exit 0
            ;;
        esac
    done
    while [ $# -gt 0 ]; do
        case $1 in
        -D?*=*) case $what in *" -D "*) ;; *) refuse "there is no option $1" ;; esac ;;
        -*)
            case $what in
            *" $1 "*) ;;
            *" $1= "*)
                [ $# -gt 1 ] || refuse "$1 lacks its value"
                shift
                ;;
            *) refuse "there is no option $1" ;;
            esac
            ;;
        *)
            left=$((left - 1))
            [ "$left" -ge 0 ] || refuse "'$1' is one argument too many"
            ;;
        esac
        shift
    done
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

build_packages="gcc g++ libc6-dev make cmake pkg-config libopenblas-dev libpango1.0-dev libunistring-dev fonts-dejavu-core"
test_packages="libcmocka-dev libopenblas0-openmp libopenblas0-serial libopenblas64-0 libblas-dev libblas64-3 python3 python3-numpy python3-cffi mandoc rustc cargo"
check_packages="git clang clang-format clang-tidy shellcheck ninja-build rustfmt chromium"
# What the sanitizers and the fuzzer of clang need beside it: Debian 12 has version 14.
clang_packages="clang libclang-rt-14-dev ninja-build"
cross_packages="gcc-aarch64-linux-gnu qemu-user"
debian_packages="debootstrap autopkgtest"

# What the library is held against in tests, by version, and where install_witnesses puts it.
torch_package="torch==2.13.0"
witnesses="$torch_package numpy onnx==1.23.2 keras==3.15.1 ml_dtypes expecttest pytest matplotlib jax sacrebleu scipy"
witnesses_tree=build/witnesses

# install_witnesses: an environment for Python with PyTorch, with what ONNX, PyTorch and Keras test their attention with, and
# with what else the Python binding works with; tests/witness.sh finds it. Made once, below build/.
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

# julia_works: there is a Julia, and it survives an exception.
julia_works() {
    [ "$(sh -c "julia --startup-file=no -e 'f(x) = g(x); try f(1) catch; print(2) end'" 2> /dev/null)" = 2 ]
}

# no_julia what...: says why there is none, and takes back what apt has been told.
no_julia() {
    as_root rm -f "$julia_source" "$julia_pin"
    echo "No Julia: $*" >&2
    return 1
}

julia_source=/etc/apt/sources.list.d/attn-julia.sources
julia_pin=/etc/apt/preferences.d/attn-julia

# install_julia: Julia, unless there is one that works. Debian 12 has none, so it is Debian 11's, 1.5.3, from the mirror that
# apt knows; pinned below everything, so that nothing else ever comes from there. It dies of every exception with a later
# libunwind than its own: that is put beside it, for it alone, and /usr/local/bin/julia runs it so.
install_julia() {
    ! julia_works || return 0
    if ! command -v apt-get > /dev/null; then
        say "This is no Debian or Ubuntu. What the tests of the Julia binding need: julia, 1.5 or later"
        return 0
    fi
    say "Installing julia"
    as_root apt-get update -qq
    if ! LC_ALL=C apt-cache policy julia | grep -q 'Candidate: [0-9]'; then
        # shellcheck disable=SC2016 # apt's own variable
        mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' |
            head -n 1)
        [ -n "$mirror" ] || { no_julia "apt has none, and knows no mirror of Debian's"; return 1; }
        printf 'Package: *\nPin: release n=bullseye\nPin-Priority: 50\n' | as_root tee "$julia_pin" > /dev/null
        printf 'Types: deb\nURIs: %s\nSuites: bullseye\nComponents: main\nSigned-By: %s\n' "$mirror" \
            /usr/share/keyrings/debian-archive-keyring.gpg | as_root tee "$julia_source" > /dev/null
        as_root apt-get update -qq || { no_julia "apt's mirror has no Debian 11"; return 1; }
    fi
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends julia > /dev/null ||
        { no_julia "apt could not install it"; return 1; }
    if ! julia_works; then
        unwind=$(mktemp -d)
        (cd "$unwind" && as_root apt-get download -qq libunwind8/bullseye && dpkg -x libunwind8_*.deb .) 2> /dev/null ||
            { no_julia "Debian 11's libunwind8 could not be had"; return 1; }
        as_root mkdir -p /usr/local/lib/julia-libunwind
        as_root cp -P "$unwind"/usr/lib/*/libunwind.so.8* /usr/local/lib/julia-libunwind
        rm -rf "$unwind"
        # shellcheck disable=SC2016 # for the script that is written
        printf '#!/bin/sh\nexport LD_LIBRARY_PATH=/usr/local/lib/julia-libunwind${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}\nexec /usr/bin/julia "$@"\n' |
            as_root tee /usr/local/bin/julia > /dev/null
        as_root chmod 755 /usr/local/bin/julia
        hash -r
    fi
    julia_works || { no_julia "the one that apt has does not run"; return 1; }
    julia --version
}

# build preset [option...]: configures and builds one of CMakePresets.json.
build() {
    preset=$1
    shift
    say "Building the preset $preset"
    cmake --preset "$preset" "$@" > /dev/null
    cmake --build --preset "$preset" --parallel "$(jobs)"
}

# build_example NAME preset [option...]: builds examples/NAME against what the preset has built, installed below it, as a project
# outside would be.
build_example() {
    example=$1 clients=build/$2/clients
    shift 2
    say "Building $example, with what is installed in $clients/prefix"
    cmake --install "${clients%/clients}" --prefix "$clients/prefix" > /dev/null
    cmake -S "examples/$example" -B "$clients/$example" -DCMAKE_PREFIX_PATH="$PWD/$clients/prefix" "$@" > /dev/null
    cmake --build "$clients/$example" --parallel "$(jobs)"
}
