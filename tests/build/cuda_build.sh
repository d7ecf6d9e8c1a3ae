#!/usr/bin/env bash
# Compiles and links everything against LibTorch's CUDA wheel, which needs no GPU and no toolkit, and runs the tests; those
# for CUDA are skipped where there is none. The wheel and its libraries take some gigabytes: not a part of tests/run.sh.
#
#   tests/build/cuda_build.sh [TORCH_VERSION [ctest options]]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
bash cmake/setup.sh
version="${1:-2.11.0}"
venv=build/cuda-venv
python="$venv/bin/python"
if [[ "$(cat "$venv/graft-stamp" 2>/dev/null)" != "$version" ]]; then
  python3 -m venv "$venv"
  "$python" -m pip install -q --disable-pip-version-check "torch==$version" numpy
  cuda="$("$python" -c 'import torch; print(torch.version.cuda or "")')"
  if [[ -z "$cuda" ]]; then
    echo "torch $version is no CUDA build on this index" >&2
    exit 1
  fi
  # Headers of CUDA's runtime that the wheels beside LibTorch leave out, of the same release.
  "$python" -m pip install -q --disable-pip-version-check "nvidia-cuda-crt==$cuda.*" "nvidia-cuda-cccl==$cuda.*"
  echo "$version" > "$venv/graft-stamp"
fi
torch="$("$python" -c 'import torch.utils; print(torch.utils.cmake_prefix_path)')/Torch"
cmake -S . -B build/cuda -G Ninja -DCMAKE_BUILD_TYPE=Release -DGRAFT_WERROR=ON -DGRAFT_BUILD_BENCHMARKS=ON -DGRAFT_WITH_CUDA=ON -DGRAFT_WITH_MPI=AUTO -DTorch_DIR="$torch"
cmake --build build/cuda -j "${GRAFT_JOBS:-2}"
OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive ctest --test-dir build/cuda --output-on-failure -j 2 -LE 'slow|build' "${@:2}"
