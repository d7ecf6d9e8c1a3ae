#!/usr/bin/env bash
# Installs the library into a fresh prefix, builds a consumer of it outside the tree and runs that.
#   package_test.sh BUILD_DIR CXX TORCH_DIR
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cmake --install "$1" --prefix "$work/prefix" > "$work/install.log"
cp -r "$root/tests/package" "$work/consumer"
cmake -S "$work/consumer" -B "$work/build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_CXX_COMPILER="$2" \
  -DCMAKE_PREFIX_PATH="$work/prefix" -DTorch_DIR="$3" > "$work/configure.log" || { cat "$work/configure.log"; exit 1; }
cmake --build "$work/build" > "$work/build.log" || { cat "$work/build.log"; exit 1; }
output="$("$work/build/consumer" "$work/prefix/share/graft/models/graft_mini.pt" "$root/examples/images/star.png")"
echo "$output"
[[ "$output" == graft*": star" ]]
