#!/usr/bin/env bash
# Proves that C programs build against tea.h without a warning, run, and leak nothing (valgrind).
#
#   ci/c_smoke.sh [PYTHON]     PYTHON has the wheel installed; its libtea.so and tea.h are the ones tested
#
# Every file with a main() in examples/c, tests/c and the folders of tests/conformance is a program, and the other .c
# files of its folder are linked in; the program of docs/embedding-c.md is one more. Programs named *adapter* are only
# built: they wait for requests on standard input (ci/conformance.sh runs them).
# A program prog.c with a file prog.args beside it is run with those arguments (one line).
set -euo pipefail
cd "$(dirname "$0")/.."
python=${1:-.venv/bin/python}
cc=${CC:-cc}
out=build/c
native=$("$python" -c 'import the_edge_agent._native as n; print(list(n.__path__)[0])')
mkdir -p "$out"

# The first C block of the page is a whole program.
mkdir -p "$out/docs"
awk '/^```c$/ {on = 1; next} /^```$/ {if (on) exit} on' docs/embedding-c.md >"$out/docs/embedding_c.c"

shopt -s nullglob
programs=() failed=0
for folder in "$out/docs" examples/c tests/c tests/conformance/*/; do
    folder=${folder%/}
    shared=()
    for file in "$folder"/*.c; do
        grep -qE '^(int[[:space:]]+)?main[[:space:]]*\(' "$file" || shared+=("$file")
    done
    for file in "$folder"/*.c; do
        grep -qE '^(int[[:space:]]+)?main[[:space:]]*\(' "$file" || continue
        program=$out/$(basename "$file" .c)
        "$cc" -std=c11 -g -O1 -Wall -Wextra -Werror -D_POSIX_C_SOURCE=200809L -I"$native/include" -I"$folder" \
            -o "$program" "$file" "${shared[@]}" -L"$native" -ltea -Wl,-rpath,"$native" -pthread -lm
        echo "built $program"
        [[ $program == *adapter* ]] || programs+=("$file")
    done
done
valgrind=()
if command -v valgrind >/dev/null; then
    valgrind=(valgrind --quiet --error-exitcode=99 --leak-check=full --show-leak-kinds=definite,indirect,possible
        --errors-for-leak-kinds=definite,indirect,possible)
    [ -e tests/c/valgrind.supp ] && valgrind+=(--suppressions=tests/c/valgrind.supp)
else
    echo "c-smoke: valgrind is not installed, programs run without it"
fi

for file in "${programs[@]}"; do
    program=$PWD/$out/$(basename "$file" .c)
    arguments=()
    [ ! -e "${file%.c}.args" ] || read -ra arguments <"${file%.c}.args"
    for wrapper in none ${valgrind:+valgrind}; do
        command=("$program" ${arguments[@]+"${arguments[@]}"})
        [ "$wrapper" = valgrind ] && command=("${valgrind[@]}" "${command[@]}")
        log=$out/$(basename "$file" .c).$wrapper.log
        work=$(mktemp -d)
        if (cd "$work" && timeout 300 "${command[@]}") >"$log" 2>&1; then
            echo "ok    $file ($wrapper)"
        else
            echo "FAIL  $file ($wrapper), status $?; the end of $log:"
            tail -n 40 "$log"
            failed=$((failed + 1))
        fi
        rm -rf "$work"
    done
done
echo "c-smoke: ${#programs[@]} programs, $failed failures"
[ "$failed" = 0 ]
