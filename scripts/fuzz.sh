#!/usr/bin/env bash
# Fuzzes each decoder for a while, one after the other; docs/fuzzing.md says what the targets do.
#
#   fuzz.sh [SECONDS [TARGET..]]    15 seconds each, all targets
#
# Works with any Rust that builds the project: what cargo-fuzz and a nightly compiler would add is AddressSanitizer, and the code under
# test has no `unsafe`. Inputs that reach new code are kept below the build folder and used again; fuzz/corpus holds the first ones.

. "$(dirname "$0")/common.sh"
cd "$project/fuzz"

seconds=${1:-15}
[[ $seconds =~ ^[1-9][0-9]*$ ]] || fail "usage: $0 [SECONDS [TARGET..]]"
targets=("${@:2}")
[ ${#targets[@]} -gt 0 ] || targets=(targets/*.rs)
triple=$(rustc -vV | sed -n 's/^host: //p')
# A folder of its own: these flags would push the everyday build out.
export CARGO_TARGET_DIR=$target/fuzz

# The flags of cargo-fuzz. With --target, they do not reach build scripts.
build() {
    local flags=(--cfg fuzzing -Cpasses=sancov-module -Ccodegen-units=1)
    for flag in level=4 inline-8bit-counters pc-table trace-compares; do
        flags+=("-Cllvm-args=-sanitizer-coverage-$flag")
    done
    RUSTFLAGS=${flags[*]} cargo build -q --locked --release --bins --target "$triple"
}

# run TARGET: ends with libFuzzer's last line; on a finding, with the input's place and a way to run it alone.
run() {
    local corpus=$CARGO_TARGET_DIR/corpus/$1 findings=$CARGO_TARGET_DIR/findings/ log=$CARGO_TARGET_DIR/$1.log
    local program=$CARGO_TARGET_DIR/$triple/release/$1 seeds=("corpus/$1")
    [ "$1" != config ] || seeds=(../docs/examples ../protocol/tests/config)
    mkdir -p "$corpus" "$findings"
    if ! "$program" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="$findings$1-" "$corpus" "${seeds[@]}" > "$log" 2>&1; then
        tail -n 30 "$log"
        fail "$1 failed: $log says how, and names the input, in $findings, if one did it. Again, alone: $program INPUT"
    fi
    grep -E '^#[0-9]+[[:space:]]+DONE' "$log"
}

step "build" build
for name in "${targets[@]}"; do
    name=$(basename "$name" .rs)
    step "$name" run "$name"
done
say "NOTHING FOUND in $((SECONDS)) s"
