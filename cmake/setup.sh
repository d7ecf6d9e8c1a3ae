#!/usr/bin/env bash
# Installs what building and testing need: Debian or Ubuntu packages, and LibTorch with a few Python packages in .venv.
# Safe to repeat; does nothing the second time. Used by examples/quickstart.sh and tests/run.sh.
#
#   GRAFT_TORCH_INDEX   index URL that LibTorch's wheel is taken from (pip's --index-url). On a machine without a GPU,
#                       PyTorch's own CPU wheel index saves gigabytes: pytorch.org names it under "Start locally", CPU.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

torch_version=2.13.0
pyarrow_version=26.0.1
packages=(g++ clang libclang-rt-dev cmake ninja-build ccache git pkg-config python3 python3-venv libopencv-dev libjpeg-dev libpng-dev libstb-dev libicu-dev
          libgtest-dev libgmock-dev libcli11-dev nlohmann-json3-dev libssl-dev libopenmpi-dev openmpi-bin doxygen)

missing=()
for package in "${packages[@]}"; do
  [[ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" == installed ]] || missing+=("$package")
done
if ((${#missing[@]})); then
  if [[ "$(id -u)" != 0 ]]; then
    echo "These packages are missing. Install them, then run this again:" >&2
    echo "  sudo apt-get update && sudo apt-get install -y --no-install-recommends ${missing[*]}" >&2
    exit 1
  fi
  echo "-- installing ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

# A stamp tells what .venv holds, so that a second run costs nothing.
stamp="torch==$torch_version numpy pillow scikit-learn onnx onnxruntime tritonclient playwright axe-playwright-python tensorboard safetensors tokenizers pyarrow==$pyarrow_version"
if [[ "$(cat .venv/graft-stamp 2>/dev/null)" != "$stamp" ]]; then
  echo "-- installing LibTorch $torch_version (pip package torch) into .venv"
  [[ -x .venv/bin/python ]] || python3 -m venv .venv
  .venv/bin/python -m pip install -q --disable-pip-version-check ${GRAFT_TORCH_INDEX:+--index-url "$GRAFT_TORCH_INDEX"} "torch==$torch_version"
  .venv/bin/python -m pip install -q --disable-pip-version-check numpy pillow
  # For its data file of handwritten digits alone, so without its dependencies.
  .venv/bin/python -m pip install -q --disable-pip-version-check --no-deps scikit-learn
  # ONNX, to check models/export_onnx.py; Triton's client for its description of config.pbtxt alone.
  .venv/bin/python -m pip install -q --disable-pip-version-check onnx onnxruntime
  .venv/bin/python -m pip install -q --disable-pip-version-check --no-deps tritonclient
  # To read checkpoints as Python does.
  .venv/bin/python -m pip install -q --disable-pip-version-check safetensors
  # The reference that tokenisation is compared with; its dependency is for downloads alone.
  .venv/bin/python -m pip install -q --disable-pip-version-check --no-deps tokenizers
  # Apache Arrow, headers and libraries: the program writes Parquet files with it, and the tests read them.
  .venv/bin/python -m pip install -q --disable-pip-version-check "pyarrow==$pyarrow_version"
  # A driver for Chromium and a checker of accessibility for reports; TensorBoard's own reader for event files.
  .venv/bin/python -m pip install -q --disable-pip-version-check playwright absl-py
  .venv/bin/python -m pip install -q --disable-pip-version-check --no-deps axe-playwright-python tensorboard
  # The browser itself is worth no failure: without it those tests are skipped. (Ubuntu has it as a snap alone.)
  if ! command -v chromium >/dev/null; then
    { [[ "$(id -u)" == 0 ]] && apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null; } ||
      echo "-- no Chromium: reports are not tested in a browser"
  fi
  echo "$stamp" > .venv/graft-stamp
fi
