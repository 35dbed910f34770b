#!/usr/bin/env bash
# Proves that libtea builds for aarch64 Linux, and prints what it was built with and its stripped size.
#
#   ci/cross_aarch64.sh [PYTHON]     PYTHON has ci/requirements.txt installed (for zig and the audit)
#
# The aarch64 standard library comes from rustup where that works, else from Debian's packages; the linker is zig
# (PyPI ziglang) where that works, else Debian's gcc-aarch64-linux-gnu. TEA_CROSS=zig|gcc|debian forces a way.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$(realpath -s "${1:-.venv/bin/python}")
crate=${TEA_CROSS_CRATE:-core/capi}
target=aarch64-unknown-linux-gnu
way=${TEA_CROSS:-}
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/core/target}
export CARGO_PROFILE_RELEASE_STRIP=symbols

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }

has_std() { # does this cargo's compiler have the aarch64 standard library?
    local root
    root=$("${RUSTC:-rustc}" --print sysroot 2>/dev/null) || return 1
    compgen -G "$root/lib/rustlib/$target/lib/libstd-*.rlib" >/dev/null
}

has_zig() { "$python" -m ziglang version >/dev/null 2>&1 && [ -x "$(dirname "$python")/cargo-zigbuild" ]; }

if [ "$way" != debian ] && ! has_std && command -v rustup >/dev/null; then
    echo "cross: asking rustup for the standard library of $target"
    timeout 300 rustup target add "$target" || echo "cross: rustup could not; falling back to Debian's packages"
fi

if [ -z "$way" ]; then
    if ! has_std; then way=debian
    elif has_zig; then way=zig
    else way=gcc
    fi
fi

# Prefix maps: no path of this machine may end up in an artefact.
export RUSTFLAGS="--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo --remap-path-prefix=$PWD=/libtea"

case $way in
zig)
    # 2.17: the oldest glibc that Rust's own target supports; zig brings the stubs of every version.
    tool="zig $("$python" -m ziglang version), cargo-zigbuild, rustup target"
    PATH=$(dirname "$python"):$PATH "$(dirname "$python")/cargo-zigbuild" zigbuild \
        --release --lib --manifest-path "$crate/Cargo.toml" --target "$target.2.17"
    ;;
gcc | debian)
    export DEBIAN_FRONTEND=noninteractive
    if ! command -v aarch64-linux-gnu-gcc >/dev/null; then
        as_root apt-get update -q
        as_root apt-get install -q -y --no-install-recommends gcc-aarch64-linux-gnu libc6-dev-arm64-cross
    fi
    tool="$(aarch64-linux-gnu-gcc --version | head -n 1), rustup target"
    cargo=cargo
    if [ "$way" = debian ]; then
        as_root dpkg --add-architecture arm64
        as_root apt-get update -q
        as_root apt-get install -q -y --no-install-recommends rustc-web cargo-web libstd-rust-web-dev:arm64
        cargo=/usr/bin/cargo
        export RUSTC=/usr/bin/rustc
        tool="$(aarch64-linux-gnu-gcc --version | head -n 1), Debian's $("$RUSTC" --version)"
    fi
    export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
    export CC_aarch64_unknown_linux_gnu=aarch64-linux-gnu-gcc AR_aarch64_unknown_linux_gnu=aarch64-linux-gnu-ar
    "$cargo" build --release --lib --manifest-path "$crate/Cargo.toml" --target "$target"
    ;;
*)
    echo "cross: TEA_CROSS is '$way', expected zig, gcc or debian" >&2
    exit 1
    ;;
esac

library=$(compgen -G "$CARGO_TARGET_DIR/$target/release/lib*.so" | head -n 1)
if [ -e include/tea.symbols ] && [ "$crate" = core/capi ]; then
    "$python" ci/verify_wheel.py --library "$library" --machine AArch64
fi
echo "cross: built with $tool"
echo "cross: $(basename "$library") for aarch64, stripped: $(stat -c %s "$library") bytes"
