# Sourced by package_test.sh and subproject_test.sh: a consumer of the library is configured, built and run.
#   COMMAND BUILD_DIR CXX TORCH_DIR
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
build="$1" cxx="$2" torch_dir="$3"
model="$root/models/graft_mini.pt" picture="$root/examples/images/star.png"
work="$(mktemp -d)"
trap 'rm -rf "$work" "${scratch:-}"' EXIT

# has TEXT FILE: the test fails without it. Line breaks and indents do not count: CMake wraps its messages.
has() {
  tr -s ' \n' ' ' < "$2" | grep -qF -- "$1" || { echo "expected \"$1\" in:"; cat "$2"; exit 1; }
}
# quietly COMMAND...: its output only if it fails.
quietly() { "$@" > "$work/log" 2>&1 || { cat "$work/log"; exit 1; }; }
# fails COMMAND...: its output goes to $work/log.
fails() { if "$@" > "$work/log" 2>&1; then echo "did not fail: $*"; exit 1; fi; }
# step TEXT: says what went well, and when.
step() { printf '%4d s  %s\n' "$SECONDS" "$*"; }

# configure OUT [-Dx=y...]
configure() {
  local out="$1"
  shift
  cmake -S "$root/tests/package" -B "$out" -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_CXX_COMPILER="$cxx" "$@"
}

# classifies PROGRAM: it knows the picture.
classifies() {
  "$1" "$model" "$picture" > "$work/answer" || { cat "$work/answer"; exit 1; }
  has "graft 0." "$work/answer"
  has ": star" "$work/answer"
}

# round_trips PROGRAM: a cv::Mat comes back as it was, and is classified.
round_trips() {
  "$1" "$model" "$picture" > "$work/answer" || { cat "$work/answer"; exit 1; }
  has "same, star; picture of OpenCV: expected two dimensions of CV_8UC1, CV_8UC3 or CV_8UC4, found CV_32FC3" "$work/answer"
}
