#!/usr/bin/env bash
# Fuzzes the targets of rust/nvr-fuzz with libFuzzer: scripts/fuzz.sh SECONDS [TARGET...]
#
# With FUZZ_SEED=1 the inputs are the same ones every time, as far as the time reaches.
#
# Two at a time, each from seeds made by our own writers, from the inputs in rust/nvr-fuzz/corpus, and
# from what earlier runs found, which is kept in target/fuzz/corpus. An input that fails is left in
# target/fuzz/failed and told; put it into rust/nvr-fuzz/corpus/<target> with the fix. Why this way:
# docs/decisions/0027-libfuzzer-on-stable.md.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
seconds=${1:?usage: scripts/fuzz.sh SECONDS [TARGET...]}
shift
if ! command -v c++ >/dev/null; then
    echo "libFuzzer needs a C++ compiler: run 'make test-deps', or install g++" >&2
    exit 2
fi
work="${CARGO_TARGET_DIR:-$PWD/target}/fuzz"
host=$(rustc -vV | sed -n 's/^host: //p')

# Coverage of every edge and comparison, by LLVM's pass; arithmetic that overflows is a fault here.
flags="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4"
flags+=" -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table"
flags+=" -Cllvm-args=-sanitizer-coverage-trace-compares"
flags+=" -Cdebug-assertions=on -Coverflow-checks=on -Ccodegen-units=1"
echo "building the fuzz targets" >&2
RUSTFLAGS="$flags" CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_OPT_LEVEL=2 \
    cargo build --quiet --locked --release --target "$host" --target-dir "$work" \
    -p nvr-fuzz --features libfuzzer --bin fuzz
fuzz="$work/$host/release/fuzz"
# Without the options: it has nobody who counts.
rm -rf "$work/seeds"
cargo run --quiet --locked -p nvr-fuzz --bin make-corpus -- "$work/seeds"

targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
    mapfile -t targets < <(ls "$work/seeds")
fi
# Some targets write files: in memory, where that is possible.
if [ -z "${TMPDIR:-}" ] && [ -w /dev/shm ]; then
    export TMPDIR=/dev/shm
fi

run() {
    local target=$1 corpus="$work/corpus/$1" failed="$work/failed/$1" log="$work/$1.log"
    mkdir -p "$corpus" "$failed" "$work/none"
    local kept="rust/nvr-fuzz/corpus/$target"
    [ -d "$kept" ] || kept="$work/none"
    # An input of 30 s hangs, also on a busy machine; 1 GiB is memory without bound.
    if NVR_FUZZ_TARGET=$target "$fuzz" "$corpus" "$kept" "$work/seeds/$target" \
        -seed="${FUZZ_SEED:-0}" -max_total_time="$seconds" -timeout=30 -rss_limit_mb=1024 -malloc_limit_mb=512 -max_len=16384 \
        -use_value_profile=1 -artifact_prefix="$failed/" -print_final_stats=1 >"$log" 2>&1; then
        printf '%-14s %s inputs\n' "$target" "$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")"
    else
        printf '%s failed:\n' "$target" >&2
        grep -vE '^(#|INFO:|NEW)' "$log" | head -n 40 >&2
        return 1
    fi
}
export -f run
export work fuzz seconds
printf '%s\0' "${targets[@]}" | xargs -0 -n 1 -P 2 bash -c 'run "$1"' run
