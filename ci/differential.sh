#!/usr/bin/env bash
# Compares the engine with the libraries whose behaviour it reproduces: its YAML reader with PyYAML, its templates
# with Jinja2. A difference that is not listed with its reason fails.
#
#   ci/differential.sh [PYTHON]     PYTHON has ci/requirements.txt installed
#
# YAML_COUNT (5000) and TEMPLATE_COUNT (2500) are the numbers of generated documents and expressions; of the 105,000
# listed expressions each TEMPLATE_EVERY-th (4) is compared (1: all, for several minutes). DIFF_SEED (1) chooses which.
# Real YAML documents come from $TEA_SHARED/conformance, if that is there, and this repository.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$(realpath -s "${1:-.venv/bin/python}")
seed=${DIFF_SEED:-1}
shared=${TEA_SHARED:-../shared}

cargo build --quiet --manifest-path core/Cargo.toml -p tea-engine --example yaml_dump --example template_eval
programs=${CARGO_TARGET_DIR:-core/target}/debug/examples

documents=()
for folder in "$shared/conformance" examples tests; do
    [ ! -d "$folder" ] || documents+=("$folder")
done
failed=0
mkdir -p build
echo "differential: the YAML reader and PyYAML"
"$python" ci/yaml_diff.py --program "$programs/yaml_dump" --count "${YAML_COUNT:-5000}" --seed "$seed" "${documents[@]}" &
yaml=$!
"$python" ci/template_diff.py --adapter "$programs/template_eval" --count "${TEMPLATE_COUNT:-2500}" --seed "$seed" \
    --every "${TEMPLATE_EVERY:-4}" >build/template_diff.log 2>&1 || failed=1
wait $yaml || failed=1
echo "differential: templates and Jinja2"
if [ $failed = 0 ]; then tail -1 build/template_diff.log; else tail -60 build/template_diff.log; fi
exit $failed
