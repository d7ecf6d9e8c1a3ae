#!/usr/bin/env bash
# Consumers that build the library from its sources: add_subdirectory, static, and FetchContent, shared. The compiler cache,
# if there is one, has the objects from the build around: the build folders lie as deep as that one, which its keys need.
#   subproject_test.sh BUILD_DIR CXX TORCH_DIR
source "$(dirname "${BASH_SOURCE[0]}")/consumer.sh"
scratch="$build-subproject"
rm -rf "$scratch"
options=(-DGRAFT_SOURCE="$root" -DTorch_DIR="$torch_dir")
for option in CMAKE_BUILD_TYPE GRAFT_WERROR GRAFT_WITH_OPENCV GRAFT_BUILD_OPENCV; do
  options+=("-D$option=$(sed -n "s/^$option:[A-Z]*=//p" "$build/CMakeCache.txt")")
done
cache="$(command -v ccache || true)"
[[ -z "$cache" ]] || options+=(-DCMAKE_CXX_COMPILER_LAUNCHER="$cache")

for way in subdirectory:OFF fetch:ON; do
  quietly configure "$scratch" --fresh "${options[@]}" -DGRAFT_FROM="${way%:*}" -DBUILD_SHARED_LIBS="${way#*:}"
  quietly cmake --build "$scratch" --parallel 2
  classifies "$scratch/consumer"
  [[ ! -f "$scratch/opencv_consumer" ]] || round_trips "$scratch/opencv_consumer"
  [[ ! -f "$scratch/graft/graft" ]] || { echo "a program was built that nobody asked for"; exit 1; }
  step "${way%:*}, BUILD_SHARED_LIBS=${way#*:}"
done
