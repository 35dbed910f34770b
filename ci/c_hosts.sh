#!/usr/bin/env bash
# Proves that C programs use libtea by its header alone: they build without a warning, pass, leak nothing and touch nothing that is not theirs.
#
#   ci/c_hosts.sh [FOLDER]     FOLDER has libtea.so, and perhaps libtea.a; default: core/target/debug, built first
#
# Builds and runs examples/c, tests/c and the program of docs/embedding-c.md, dynamically and (with a libtea.a) statically linked, under valgrind if it is
# installed, and under AddressSanitizer and UBSan; builds the conformance adapter, build/c/tea-adapter. Two programs
# with a mistake in them prove that valgrind and the sanitizers would see one. Needs: cc, c++, nm.
set -euo pipefail
cd "$(dirname "$0")/.."
cc=${CC:-cc} cxx=${CXX:-c++} out=build/c
if [ $# = 0 ]; then
    cargo build --manifest-path core/Cargo.toml -p tea
    set -- core/target/debug
fi
folder=$(realpath "$1")
mkdir -p "$out"

flags=(-std=c11 -g -O1 -Wall -Wextra -Werror -Wpedantic -D_POSIX_C_SOURCE=200809L -Iinclude -Itests/c)
link=(-L"$folder" -ltea -Wl,-rpath,"$folder" -pthread -lm)
shared=(tests/c/check.c tests/c/store.c)
tests=() passed=0 failed=0

# A program's source files.
sources() {
    if [[ $1 == bakery ]]; then echo examples/c/bakery.c; elif [[ $1 == page ]]; then echo "$out/page.c"; else echo "tests/c/$1.c ${shared[*]}"; fi
}

# Runs a program (label, command); counts what it says of itself, or one for a program that only has an exit code.
check() {
    local label=$1 log=$out/$1.log status=0 line
    shift
    "$@" >"$log" 2>&1 || status=$?
    line=$(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$log" | tail -1 || true)
    [ -n "$line" ] || line="$((status == 0)) passed, $((status != 0)) failed"
    printf '%-24s %s%s\n' "$label" "$line" "$([ "$status" = 0 ] || echo ", exit code $status")"
    passed=$((passed + ${line%% *})) line=${line#*, } failed=$((failed + ${line%% *}))
    if [ "$status" != 0 ]; then
        [ "${line%% *}" != 0 ] || failed=$((failed + 1))
        tail -40 "$log"
    fi
}

# A program with a mistake must be caught (label, what the log must say, command).
caught() {
    local label=$1 words=$2 log=$out/$1.log
    shift 2
    if "$@" >"$log" 2>&1 || ! grep -q "$words" "$log"; then
        printf '%-24s not caught\n' "$label"
        failed=$((failed + 1))
    else
        printf '%-24s caught, as it must be\n' "$label"
        passed=$((passed + 1))
    fi
}

# The header alone, as C and as C++.
printf '#include "tea.h"\nint main(void) { tea_buffer b = {0, 0, 0}; tea_buffer_free(&b); return 0; }\n' >"$out/alone.c"
for standard in c11 c17; do
    "$cc" -std=$standard -Wall -Wextra -Werror -Wpedantic -Wstrict-prototypes -Iinclude "$out/alone.c" -o "$out/alone" "${link[@]}"
    check "header, $standard" "$out/alone"
done
for standard in c++11 c++17; do
    "$cxx" -x c++ -std=$standard -Wall -Wextra -Werror -Wpedantic -Iinclude "$out/alone.c" -x none -o "$out/alone" "${link[@]}"
    check "header, $standard" "$out/alone"
done

# What the library exports is what the header declares.
nm -D --defined-only "$folder/libtea.so" | awk '{print $NF}' | LC_ALL=C sort >"$out/exported"
LC_ALL=C sort include/tea.symbols >"$out/declared"
check symbols diff "$out/declared" "$out/exported"

# The first C block of the page is a whole program.
awk '/^```c$/ {on = 1; next} /^```$/ {if (on) exit} on' docs/embedding-c.md >"$out/page.c"
programs=(bakery page)
for file in tests/c/*.c; do
    grep -q '^int main' "$file" && programs+=("$(basename "$file" .c)")
done
for program in "${programs[@]}"; do
    # shellcheck disable=SC2046
    "$cc" "${flags[@]}" $(sources "$program") -o "$out/$program" "${link[@]}"
    check "$program" "$out/$program"
done
"$cc" "${flags[@]}" tests/conformance/c_adapter/*.c -o "$out/tea-adapter" "${link[@]}"
check adapter bash -c "echo '{\"op\":\"hello\",\"protocol\":1}' | $out/tea-adapter | grep live-graph"

if [ -e "$folder/libtea.a" ]; then
    # The list is rustc's own: `note: native-static-libs: ...`.
    native=$(rustc --print native-static-libs --crate-type staticlib --crate-name none -o "$out/none.a" - </dev/null 2>&1 |
        sed -n 's/.*native-static-libs: //p')
    for program in bakery run; do
        # shellcheck disable=SC2046,SC2086
        "$cc" "${flags[@]}" $(sources "$program") -o "$out/$program-static" "$folder/libtea.a" -pthread $native
        check "$program, static" "$out/$program-static"
        check "$program, no libtea.so" bash -c "! ldd '$out/$program-static' | grep libtea"
    done
fi

cat >"$out/leak.c" <<'C'
#include "tea.h"
int main(void) {
  tea_engine *engine = 0;
  tea_engine_new(&engine, 0);
  engine = 0;
  return 0;
}
C
# The library itself is not instrumented: the mistake is the program's, with memory of the library.
cat >"$out/after.c" <<'C'
#include "tea.h"
int main(void) {
  tea_error *err = 0;
  tea_graph_new(0, (tea_str){0, 0}, 0, &err);
  tea_str message = tea_error_message(err);
  tea_error_free(err);
  return message.ptr[0] == 0;
}
C

if command -v valgrind >/dev/null; then
    valgrind=(valgrind --quiet --leak-check=full --error-exitcode=99 --suppressions=tests/c/valgrind.supp --fair-sched=yes)
    for mistake in leak after; do
        "$cc" "${flags[@]}" "$out/$mistake.c" -o "$out/$mistake" "${link[@]}"
    done
    caught "leak, valgrind" "definitely lost" "${valgrind[@]}" "$out/leak"
    caught "after, valgrind" "Invalid read" "${valgrind[@]}" "$out/after"
    for program in "${programs[@]}"; do
        check "$program, valgrind" "${valgrind[@]}" "$out/$program"
    done
else
    echo "c-hosts: valgrind is not installed, programs run without it"
fi

asan=(-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
export ASAN_OPTIONS=detect_leaks=1:detect_stack_use_after_return=1
for mistake in leak after; do
    "$cc" "${flags[@]}" "${asan[@]}" "$out/$mistake.c" -o "$out/$mistake-asan" "${link[@]}"
done
caught "leak, asan" "LeakSanitizer: detected memory leaks" "$out/leak-asan"
caught "after, asan" "AddressSanitizer: heap-use-after-free" "$out/after-asan"
for program in "${programs[@]}"; do
    # shellcheck disable=SC2046
    "$cc" "${flags[@]}" "${asan[@]}" $(sources "$program") -o "$out/$program-asan" "${link[@]}"
    check "$program, asan" "$out/$program-asan"
done

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
