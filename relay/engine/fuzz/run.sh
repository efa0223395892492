#!/bin/sh
# Fuzzes each parser of network bytes for FUZZ_SECONDS (default 60). Called by `make fuzz`.
# What it finds lies in artifacts/; what it learned stays beside the build, so that the committed
# corpora stay small.
set -eu
cd "$(dirname "$0")"

tools="${PANCAR_TOOLS:-$HOME/.cache/pancar-tools}"
PATH="$tools/bin:$PATH"
if ! cargo +nightly --version >/dev/null 2>&1; then
    echo "fuzzing needs a nightly toolchain: rustup toolchain install nightly --profile minimal" >&2
    exit 1
fi
command -v cargo-fuzz >/dev/null || cargo install cargo-fuzz --locked --quiet --root "$tools"

build="${CARGO_TARGET_DIR:-$PWD/target}/fuzz"
cargo +nightly fuzz build --target-dir "$build"
for target in $(cargo +nightly fuzz list); do
    echo "== $target, ${FUZZ_SECONDS:-60} s"
    mkdir -p "$build/corpus/$target"
    # A leak of memory is as much a finding as a crash: hence the limits.
    cargo +nightly fuzz run --target-dir "$build" "$target" "$build/corpus/$target" "corpus/$target" -- \
        -max_total_time="${FUZZ_SECONDS:-60}" -max_len=4096 -timeout=5 -rss_limit_mb=1024 \
        -malloc_limit_mb=64 -verbosity=0 -print_final_stats=1
done
