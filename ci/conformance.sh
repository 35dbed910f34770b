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
python_areas=(graph-api graph-api-routing graph-api-errors graph-api-interrupts)
c_areas=(graph-api graph-api-routing graph-api-errors graph-api-interrupts)

if [ ! -e "$runner" ]; then
    echo "conformance: no $runner; put the shared folder beside the checkout or set TEA_SHARED" >&2
    exit 1
fi

run() { # name, areas, host command
    local name=$1 areas=$2 host=$3 area options=()
    for area in $areas; do options+=(--area "$area"); done
    echo "conformance, host $name: $areas"
    "$python" "$runner" --host "$host" "${options[@]}" --junit "build/conformance-$name.xml"
}

mkdir -p build
run python "${python_areas[*]}" python

adapter=${TEA_C_ADAPTER:-}
if [ -z "$adapter" ]; then
    for found in build/c/*adapter*; do
        [ -x "$found" ] && [[ $found != *.log ]] && adapter=$PWD/$found
    done
fi
if [ -n "$adapter" ]; then
    run c "${c_areas[*]}" "$adapter"
else
    echo "conformance: no C adapter in build/c; run ci/c_hosts.sh first" >&2
    exit 1
fi
