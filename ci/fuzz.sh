#!/usr/bin/env bash
# Fuzzes the readers of foreign text: each target of core/fuzz gets at least a minute of one core.
#
#   ci/fuzz.sh [TARGET...]     default: all targets; FUZZ_SECONDS (60): processor seconds of each, at least
#
# Starts from the committed corpus, core/fuzz/corpus. What a run adds goes to build/fuzz, and so does an input that
# crashes, hangs (30 s) or takes 2 GiB. Needs cargo-fuzz (installed into build/tools if it is missing) and a nightly
# compiler, for AddressSanitizer; without nightly the stable compiler builds the same targets without that.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD out=$PWD/build/fuzz
seconds=${FUZZ_SECONDS:-60}
if [ $# = 0 ]; then set -- yaml_load template value_json; fi

PATH=$PATH:$root/build/tools/bin
if ! command -v cargo-fuzz >/dev/null; then
    echo "fuzz: installing cargo-fuzz into build/tools"
    cargo install cargo-fuzz --quiet --locked --root build/tools
fi
if ! cargo +nightly --version >/dev/null 2>&1 && command -v rustup >/dev/null; then
    timeout 300 rustup toolchain install nightly --profile minimal || echo "fuzz: rustup cannot fetch a nightly compiler"
fi
if cargo +nightly --version >/dev/null 2>&1; then
    toolchain=+nightly sanitizer=address
else
    toolchain=+stable sanitizer=none
fi
echo "fuzz: $(cargo $toolchain --version), $(cargo-fuzz --version), sanitizer: $sanitizer"

rustfmt --check --edition 2024 core/fuzz/fuzz_targets/*.rs
triple=$(rustc $toolchain -vV | sed -n 's/^host: //p')
built=$root/core/target/fuzz
(cd core && cargo $toolchain fuzz build --sanitizer $sanitizer --target "$triple" --target-dir "$built")

# All targets at once: as long as the cores need to give each its share.
cores=$(nproc)
total=$((cores < $# ? seconds * $# / cores + 1 : seconds))
mkdir -p "$out"
running=() failed=0
for target in "$@"; do
    mkdir -p "$out/corpus/$target"
    # The first folder is where new inputs go. Recursion is limited by depth, so the ordinary stack must do.
    "$built/$triple/release/$target" -max_total_time=$total -timeout=30 -rss_limit_mb=2048 -max_len=4096 \
        -print_final_stats=1 -artifact_prefix="$out/$target-" "$out/corpus/$target" "core/fuzz/corpus/$target" \
        >"$out/$target.log" 2>&1 &
    running+=("$!")
done
for target in "$@"; do
    if wait "${running[0]}"; then
        runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$out/$target.log")
        # A run that found nothing because it did nothing is a failure too.
        if [ "${runs:-0}" -gt 0 ]; then
            echo "fuzz: $target: $runs inputs in $total s, none failed"
        else
            failed=1
            echo "fuzz: $target: no input was run; see build/fuzz/$target.log" >&2
        fi
    else
        failed=1
        tail -40 "$out/$target.log" >&2
        echo "fuzz: $target failed; run $built/$triple/release/$target with the input named above" >&2
    fi
    running=("${running[@]:1}")
done
exit $failed
