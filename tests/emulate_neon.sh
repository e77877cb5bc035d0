#!/usr/bin/env bash
# mlclassify on aarch64, on a machine that is none: a cross compiler builds mlclassify._core, and an
# emulator runs an arm64 Python with it. No command needs root.
#   tests/emulate_neon.sh fetch                 that Python and its packages into .neon, once
#   tests/emulate_neon.sh check                 fails and says what is missing, if something is
#   tests/emulate_neon.sh build                 mlclassify._core, beside this machine's own
#   tests/emulate_neon.sh python [ARGUMENT]...  as `python ARGUMENT...` there
# PYTHON, default python3, is the one whose pip fetches.
set -euo pipefail
cd "$(dirname "$0")/.."
neon="$PWD/.neon"
root="$neon/root"

check_tools() {
    for tool in aarch64-linux-gnu-gcc qemu-aarch64; do
        command -v "$tool" >/dev/null || {
            echo "$tool is missing: install Debian's gcc-aarch64-linux-gnu and qemu-user" >&2
            return 1
        }
    done
}

check() {
    check_tools
    [ -e "$neon/ready" ] || {
        echo "no arm64 Python in .neon: tests/emulate_neon.sh fetch" >&2
        return 1
    }
}

# apt for arm64 with lists, cache and packages "installed" (none) of its own.
apt_arm64() {
    apt-get -qq -o APT::Architecture=arm64 -o APT::Architectures::=arm64 -o Dir::State="$neon/apt" \
        -o Dir::State::status="$neon/apt/status" -o Dir::Cache="$neon/apt" \
        -o APT::Sandbox::User= -o Debug::NoLocking=1 "$@"
}

# Programs that the emulated Python starts, as the compiler, run as they are.
python() {
    PYTHONPATH="$neon/site" CPPFLAGS="-I$root/usr/include" qemu-aarch64 -L "$root" \
        "$root/usr/bin/python3" "$@"
}

fetch() {
    check_tools
    [ -e "$neon/ready" ] && return
    rm -rf "$neon"
    mkdir -p "$neon"/apt/{lists,archives}/partial "$root/usr/lib"
    touch "$neon/apt/status"
    ln -s usr/lib "$root/lib"
    apt_arm64 update
    apt_arm64 install --download-only --no-install-recommends -y python3 libstdc++6
    (cd "$neon/apt/archives" && apt_arm64 download '^libpython3\.[0-9]+-dev$')
    for package in "$neon"/apt/archives/*.deb; do
        dpkg-deb --fsys-tarfile "$package" | tar -x --keep-directory-symlink -C "$root"
    done
    "${PYTHON:-python3}" -m pip install --quiet --target "$neon/site" --only-binary :all: \
        --python-version "$(python -c 'import platform; print(platform.python_version())')" \
        --platform manylinux_2_28_aarch64 --platform manylinux_2_17_aarch64 \
        --platform manylinux2014_aarch64 \
        setuptools numpy pillow safetensors tqdm pytest matplotlib
    rm -rf "$neon/apt"
    touch "$neon/ready"
}

build() {
    python setup.py -q build_ext --inplace
}

"$@"
