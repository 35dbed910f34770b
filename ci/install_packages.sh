#!/usr/bin/env bash
# Installs the system packages that the checks need and that are missing; needs root or sudo only then.
set -euo pipefail

missing=()
command -v make >/dev/null || missing+=(make)
command -v cc >/dev/null || missing+=(gcc libc6-dev)
command -v valgrind >/dev/null || missing+=(valgrind)
if [ ${#missing[@]} = 0 ]; then
    echo "packages: nothing is missing"
else
    echo "packages: installing ${missing[*]}"
    as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }
    export DEBIAN_FRONTEND=noninteractive
    as_root apt-get update -q
    as_root apt-get install -q -y --no-install-recommends "${missing[@]}"
fi

python=${PYTHON:-python3}
if ! command -v cargo >/dev/null; then
    echo "packages: cargo is not on PATH; install Rust 1.89 or newer from https://rustup.rs" >&2
    exit 1
fi
for component in fmt clippy; do
    if ! cargo "$component" --version >/dev/null 2>&1; then
        rustup component add "$([ $component = fmt ] && echo rustfmt || echo clippy)"
    fi
done
if ! "$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))'; then
    echo "packages: $python is no Python >= 3.10 with venv; set PYTHON to one" >&2
    exit 1
fi
include=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
if [ ! -e "$include/Python.h" ]; then
    echo "packages: $include/Python.h is missing; install the headers of $python (Debian: python3-dev)" >&2
    exit 1
fi
rustc --version
cargo --version
"$python" --version
cc --version | head -n 1
