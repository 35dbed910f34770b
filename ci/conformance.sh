#!/usr/bin/env bash
# Proves that hosts behave as the shared conformance cases say, for the areas that are finished.
#
#   ci/conformance.sh [PYTHON]     PYTHON has the wheel installed
#
# The cases are in $TEA_SHARED/conformance, by default ../shared/conformance beside this checkout.
# The C adapter is $TEA_C_ADAPTER, by default the one that ci/c_hosts.sh built.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$(realpath -s "${1:-.venv/bin/python}")
shared=${TEA_SHARED:-../shared}
runner=$shared/conformance/run.py

# Finished areas of each host; a new area is one more word here.
api=(graph-api graph-api-routing graph-api-errors graph-api-interrupts)
yaml=(graph routing goto loops errors conditions templates template-corpus template-language yaml-rules variables
    yaml-scalars extends-overlay python-nodes visualization stream-events checkpoint-resume integration examples lua)

# Actions that are not there yet: cases that need them are left out, by feature or, where a case does not say it, by id.
missing=(--without http --without openai)
not_yet=(err-missing-parameter) # http.get

if [ ! -e "$runner" ]; then
    echo "conformance: no $runner; put the shared folder beside the checkout or set TEA_SHARED" >&2
    exit 1
fi

run() { # name, areas, then the options of the host
    local name=$1 areas=$2 area id options=() cases=()
    shift 2
    for area in $areas; do options+=(--area "$area"); done
    mapfile -t cases < <("$python" "$runner" --host none --list "${options[@]}" | awk '{print $2}')
    options=()
    for id in "${cases[@]}"; do
        [[ " ${not_yet[*]} " == *" $id "* ]] || options+=(--case "$id")
    done
    echo "conformance, host $name: $areas (without ${not_yet[*]})"
    "$python" "$runner" "$@" "${options[@]}" --junit "build/conformance-$name.xml"
}

mkdir -p build
run python "${api[*]} ${yaml[*]}" --host python "${missing[@]}"

adapter=${TEA_C_ADAPTER:-build/c/tea-adapter}
if [ ! -x "$adapter" ]; then
    echo "conformance: no C adapter $adapter; run ci/c_hosts.sh first" >&2
    exit 1
fi
run c "${api[*]}" --host "$PWD/$adapter"

cargo build --quiet --manifest-path core/Cargo.toml -p tea-cli -p tea-engine --bins --examples
run tea "${yaml[*]}" --host "$PWD/core/target/debug/examples/agent_adapter" --cli "$PWD/core/target/debug/tea" "${missing[@]}"
