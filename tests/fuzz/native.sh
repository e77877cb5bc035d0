#!/usr/bin/env bash
# The C code built by clang for libFuzzer, which is led by what of it is reached, with its address
# and undefined behaviour sanitizers. What is built goes into build/fuzz.
#   tests/fuzz/native.sh check                 fails and says what is missing, if something is
#   tests/fuzz/native.sh build                 build/fuzz/scores, image and net, of
#                                              tests/native/fuzz_*.c; and mlclassify._core in
#                                              build/fuzz/tree, a copy of the package
#   tests/fuzz/native.sh python [ARGUMENT]...  `python ARGUMENT...` with that package, and with the
#                                              libFuzzer and the sanitizer that atheris brings
# PYTHON, default .venv/bin/python, is the one with what the tests need; CLANG the compiler.
set -euo pipefail
cd "$(dirname "$0")/../.."
root="$PWD"
out="$root/build/fuzz"
python="$(realpath -s "${PYTHON:-.venv/bin/python}")"
clang="${CLANG:-clang}"
targets="scores image net"

check() {
    command -v "$clang" >/dev/null || {
        echo "clang is missing" >&2
        return 1
    }
    local program
    program="$(mktemp)"
    trap 'rm -f "$program"' RETURN
    echo 'int LLVMFuzzerTestOneInput(const char *data, long size) { return !data + !size; }' |
        "$clang" -x c -fsanitize=fuzzer,address -o "$program" - 2>/dev/null || {
        echo "clang has no libFuzzer: install libclang-rt-dev" >&2
        return 1
    }
}

# The kernels are all one inlined loop in another: checks that are calls, and fewer of them, or
# clang takes minutes for a file.
objects() {
    local common="-g1 -O1 -std=gnu11 -ffp-contract=off -fPIC -pthread -Wall -Wextra
        -fvisibility=hidden -fno-omit-frame-pointer -fno-sanitize-recover=all"
    local watched="-fsanitize=fuzzer-no-link,address,undefined,float-cast-overflow"
    local kernels="-fsanitize=fuzzer-no-link,address,shift,signed-integer-overflow
        -fsanitize=integer-divide-by-zero,float-cast-overflow
        -mllvm -asan-instrumentation-with-call-threshold=300 -fno-sanitize-address-use-after-scope"
    local headers
    headers="$("$python" -c 'import numpy, sysconfig
print("-I" + numpy.get_include(), "-I" + sysconfig.get_paths()["include"])')"
    for file in csrc/isa/*.c csrc/{base,metrics,nn,image,python}/*.c tests/native/fuzz_*.c; do
        local use="$watched"
        [[ $file == csrc/isa/* && $file != */select.c ]] && use="$kernels"
        echo $common $use $headers -c "$file" -o "$out/$(tr / _ <<<"$file").o"
    done | xargs -P2 -L1 "$clang"
}

build() {
    rm -rf "$out"
    mkdir -p "$out/tree"
    objects
    for target in $targets; do
        "$clang" -pthread -fsanitize=fuzzer,address,undefined \
            "$out"/csrc_{base,isa,metrics,nn,image}_*.o "$out/tests_native_fuzz_$target.c.o" \
            -o "$out/$target" -lm
    done
    tar -c --exclude='*.so' --exclude=__pycache__ mlclassify | tar -x -C "$out/tree"
    "$clang" -shared -pthread -fsanitize=fuzzer-no-link,address,undefined "$out"/csrc_*.o \
        -o "$out/tree/mlclassify/_core.so" -lm
    rm "$out"/*.o
}

# Python itself leaks, and a call may ask for more memory than there is: neither is a finding.
python() {
    local preload
    preload="$("$python" -c 'import atheris; print(atheris.path())')/asan_with_fuzzer.so"
    cd "$out/tree"
    LD_PRELOAD="$preload" PYTHONPATH="$out/tree" \
        ASAN_OPTIONS="detect_leaks=0:allocator_may_return_null=1" "$python" "$@"
}

"$@"
