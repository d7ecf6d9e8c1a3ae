#!/usr/bin/env bash
# Builds the fuzzers with clang and lets each run for some seconds. Skipped without clang.
#
#   fuzzers_test.sh BUILD_DIR CXX TORCH_DIR      GRAFT_FUZZ_SECONDS=N: each that long
set -euo pipefail
build="$1/fuzz"
torch="$3"
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
if ! command -v clang++ >/dev/null; then
  echo "no clang++"
  exit 77
fi
seconds="${GRAFT_FUZZ_SECONDS:-10}"
cmake --preset fuzz -B "$build" -DTorch_DIR="$torch" -DGRAFT_BUILD_BENCHMARKS=OFF
cmake --build "$build" --target fuzzers -j 2
corpora="$(mktemp -d)"
trap 'rm -rf "$corpora"' EXIT
python3 tests/fuzz/make_corpora.py "$corpora"
export ASAN_OPTIONS=detect_leaks=0
for name in archive image safetensors text; do
  if ! (cd "$corpora" && "$build/tests/fuzz/${name}_fuzzer" "$name" -max_total_time="$seconds" -max_len=20000 -timeout=5 -print_final_stats=1) >"$corpora/log" 2>&1; then
    tail -50 "$corpora/log"
    exit 1
  fi
  echo "$name: $(sed -n 's/stat::number_of_executed_units: *//p' "$corpora/log") inputs"
done
