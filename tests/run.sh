#!/usr/bin/env bash
# Sets up, builds with warnings as errors, and runs all tests. Closes with ctest's lines.
#
#   tests/run.sh [ctest options]      for instance -L model, or -LE slow
#
# With GRAFT_DATA set to a folder of real pictures and networks (see docs/testing.md) more tests run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash cmake/setup.sh
if [[ -z "${GRAFT_DATA:-}" && -d ../shared/data ]]; then
  GRAFT_DATA="$(cd ../shared/data && pwd)"
  export GRAFT_DATA
fi
cmake --preset ci
cmake --build --preset ci
ctest --preset ci "$@"
