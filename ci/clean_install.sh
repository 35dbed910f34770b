#!/usr/bin/env bash
# Proves that the wheel installs and works in fresh environments without Rust, on every CPython 3.10+ found here.
#
#   ci/clean_install.sh WHEEL [--tests]     --tests: also runs tests/python there
set -euo pipefail
cd "$(dirname "$0")/.."
wheel=$(realpath "$1")
tests=${2:-}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Without Rust: only the system's own folders, and those only if no cargo lies in them.
path=""
for folder in /usr/local/bin /usr/bin /bin; do
    [ -x "$folder/cargo" ] || [ -x "$folder/rustc" ] || path=$path${path:+:}$folder
done

find_python() { # minor version -> path of a working interpreter, or nothing
    local candidate
    for candidate in "$HOME"/.pyenv/versions/3."$1".*/bin/python3."$1" "$(command -v "python3.$1" || true)" \
        "$(command -v python3 || true)"; do
        if [ -x "$candidate" ] && "$candidate" -c "import sys; sys.exit(sys.version_info[:2] != (3, $1))" 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
}

count=0 absent=()
for minor in 10 11 12 13; do
    python=$(find_python "$minor")
    if [ -z "$python" ]; then
        absent+=("3.$minor")
        continue
    fi
    echo "--- Python 3.$minor: $python"
    venv=$work/3.$minor
    "$python" -m venv "$venv"
    clean=(env -i HOME="$work" PATH="$path" LANG=C.UTF-8 PIP_DISABLE_PIP_VERSION_CHECK=1)
    for name in PIP_CERT SSL_CERT_FILE REQUESTS_CA_BUNDLE PIP_INDEX_URL HTTP_PROXY HTTPS_PROXY http_proxy https_proxy NO_PROXY no_proxy; do
        [ -n "${!name:-}" ] && clean+=("$name=${!name}")
    done
    "${clean[@]}" "$venv/bin/python" -c 'import shutil, sys; sys.exit(bool(shutil.which("cargo") or shutil.which("rustc")))'
    "${clean[@]}" "$venv/bin/python" -m pip install --quiet --only-binary :all: "$wheel"
    "${clean[@]}" "$venv/bin/python" -m pip list --format freeze | grep -v '^\(pip\|setuptools\)==' | paste -sd ' '
    (cd "$work" && "${clean[@]}" "$venv/bin/python" "$OLDPWD/ci/smoke.py")
    (cd "$work" && "${clean[@]}" "$venv/bin/python" "$OLDPWD/examples/triage/triage.py" --work "$work/demo-$minor" \
        >"$work/demo-$minor.log" 2>&1) || { cat "$work/demo-$minor.log"; exit 1; }
    tail -n 2 "$work/demo-$minor.log" | head -n 1
    if [ "$tests" = --tests ]; then
        grep -E '^(pytest|pytest-timeout|hypothesis|PyYAML|networkx|phart|pygraphviz)==' ci/requirements.txt >"$work/requirements.txt"
        "${clean[@]}" "$venv/bin/python" -m pip install --quiet -r "$work/requirements.txt"
        "${clean[@]}" "$venv/bin/python" -m pytest -q -p no:cacheprovider tests/python
    fi
    count=$((count + 1))
done

if [ "$count" = 0 ]; then
    echo "clean install: no CPython 3.10 to 3.13 found" >&2
    exit 1
fi
if [ ${#absent[@]} = 0 ]; then
    echo "clean install: passed on $count versions"
else
    echo "clean install: passed on $count versions; not found here: ${absent[*]}"
fi
