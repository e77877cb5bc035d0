#!/usr/bin/env bash
# mlclassify under tools that watch every access to memory. What is built goes into build/sanitize.
#   tests/sanitize.sh check                  fails and says what is missing, if something is
#   tests/sanitize.sh build                  mlclassify._core for gcc's address and undefined
#                                            behaviour sanitizers, in a copy of the project
#   tests/sanitize.sh python [ARGUMENT]...   `python ARGUMENT...` in that copy
#   tests/sanitize.sh threads ISA...         tests/native/core.c with its thread sanitizer, the
#                                            kernels of these instruction sets watched too
#   tests/sanitize.sh memcheck ISA...        the same under valgrind, which knows no AVX-512
#   tests/sanitize.sh faults [ARGUMENT]...   tests/fault_runs.py, on mlclassify._core as it is
#   tests/sanitize.sh writes [ARGUMENT]...   tests/write_runs.py, with the package as it is
# PYTHON, default .venv/bin/python, is the one with what the tests need. A report ends the run, and
# stands in build/sanitize/report.*, or in the folder REPORTS.
set -euo pipefail
cd "$(dirname "$0")/.."
root="$PWD"
out="$root/build/sanitize"
reports="${REPORTS:-$out}"
python="$(realpath -s "${PYTHON:-.venv/bin/python}")"
if [ -z "${MLCLASSIFY_TEST_DATA:-}" ] && [ -d ../shared/data ]; then
    export MLCLASSIFY_TEST_DATA="$(cd ../shared/data && pwd)"
fi

check() {
    for library in asan ubsan tsan; do
        [ -e "$(gcc -print-file-name=lib$library.so)" ] || {
            echo "no lib$library: install gcc with its sanitizers" >&2
            return 1
        }
    done
    command -v valgrind >/dev/null || {
        echo "valgrind is missing" >&2
        return 1
    }
}

build() {
    rm -rf "$out/tree" "$out/site"
    mkdir -p "$out/tree"
    tar -c --exclude='*.so' --exclude=__pycache__ --exclude='.[a-z]*' --exclude=./build . |
        tar -x -C "$out/tree"
    printf '[build_ext]\nparallel = 2\n' >"$out/parallel.cfg"
    DIST_EXTRA_CONFIG="$out/parallel.cfg" LDFLAGS="-fsanitize=address,undefined" \
        MLCLASSIFY_CFLAGS="-O1 -g1 -fsanitize=address,undefined -fno-sanitize-recover=all
            -fno-omit-frame-pointer" \
        "$python" -m pip install --quiet --no-build-isolation --no-deps --target "$out/site" \
            "$out/tree"
    mv "$out"/site/mlclassify/_core*.so "$out/tree/mlclassify/"
}

# Python itself leaks and tests ask for more memory than there is: neither is a report.
python() {
    cd "$out/tree"
    local preload=""
    for library in asan ubsan stdc++; do preload+=" $(gcc -print-file-name=lib$library.so)"; done
    LD_PRELOAD="$preload" PYTHONPATH="$out/tree" \
        ASAN_OPTIONS="detect_leaks=0:allocator_may_return_null=1:log_path=$reports/report" \
        UBSAN_OPTIONS="print_stacktrace=1:log_path=$reports/report" "$python" "$@"
}

# core NAME FLAGS ISA...: build/sanitize/core-NAME, of which the kernels of ISA... get the flags too
core() {
    local name="$1" flags="$2" common="-g1 -std=gnu11 -ffp-contract=off -pthread -Wall -Wextra"
    local watched=" ${*:3} " objects="$out/$1"
    mkdir -p "$objects"
    for file in csrc/{base,isa,metrics,nn,image}/*.c tests/native/core.c; do
        local use="$flags" isa="$(basename "$file" .c)"
        [[ $file == csrc/isa/* && $isa != select && $watched != *" $isa "* ]] && use="-O1"
        echo "$common $use -c $file -o $objects/$(tr / _ <<<"$file").o"
    done | xargs -P2 -L1 gcc
    gcc -pthread $flags "$objects"/*.o -o "$out/core-$name" -lm
}

threads() {
    core threads "-O1 -fsanitize=thread" "$@"
    for isa in "$@"; do
        echo "threads, $isa"
        MLCLASSIFY_ISA="$isa" TSAN_OPTIONS="halt_on_error=1 second_deadlock_stack=1" \
            "$out/core-threads"
    done
}

memcheck() {
    core memcheck "-O1" "$@"
    for isa in "$@"; do
        echo "memcheck, $isa"
        MLCLASSIFY_ISA="$isa" valgrind --quiet --error-exitcode=9 --leak-check=full \
            --show-leak-kinds=definite,indirect --errors-for-leak-kinds=definite,indirect \
            "$out/core-memcheck" 1
    done
}

# preloaded LIBRARY SCRIPT [ARGUMENT]...: a script of tests with tests/native/LIBRARY.c before libc
preloaded() {
    mkdir -p "$out"
    gcc -O2 -std=gnu11 -Wall -Wextra -fno-builtin -fPIC -shared "tests/native/$1.c" -o "$out/$1.so"
    cd tests
    LD_PRELOAD="$out/$1.so" PYTHONPATH="$root" MLCLASSIFY_PROGRESS=0 \
        "$python" -W ignore::UserWarning "${@:2}"
}

faults() { preloaded faults fault_runs.py "$@"; }
writes() { preloaded writes write_runs.py "$@"; }

"$@"
