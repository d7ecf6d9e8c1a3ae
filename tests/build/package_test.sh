#!/usr/bin/env bash
# Installs the library, static and shared, into a fresh prefix outside the tree, moves that, and builds and runs consumers
# of it: by find_package, with and without the component opencv, and by pkg-config. Then what must not fit: another
# LibTorch, the old C++ ABI.
#   package_test.sh BUILD_DIR CXX TORCH_DIR
source "$(dirname "${BASH_SOURCE[0]}")/consumer.sh"
torch="$(cd "$torch_dir/../../.." && pwd)"
shared="$(sed -n 's/^BUILD_SHARED_LIBS:[A-Z]*=//p' "$build/CMakeCache.txt")"
if [[ "${shared^^}" =~ ^(ON|TRUE|YES|1)$ ]]; then own=shared other=static; else own=static other=shared; fi
opencv=opencv
[[ -f "$build/package/graftConfig.cmake" && -n "$(find "$build/src" -maxdepth 1 -name 'libgraft_opencv.*')" ]] || opencv=""
mpi=""
[[ -z "$(find "$build/src" -maxdepth 1 -name 'libgraft_mpi.*')" ]] || mpi=mpi

quietly cmake --install "$build" --prefix "$work/first/$own"
quietly cmake --install "$build" --prefix "$work/first/$other" --component graft_other
mv "$work/first" "$work/moved"
step "installed: $own and, out of the same objects, $other"

for kind in static shared; do
  prefix="$work/moved/$kind"
  files="$(find "$prefix" -name '*.cmake' -o -name '*.pc')"
  # shellcheck disable=SC2086
  if grep -nF -e "$build" -e "$root" -e "$torch" -e "$work/first" $files; then echo "paths of this machine in what was installed"; exit 1; fi

  out="$work/$kind"
  quietly configure "$out" -DCMAKE_PREFIX_PATH="$prefix" -DTorch_DIR="$torch_dir" -DGRAFT_COMPONENTS="$opencv;$mpi"
  quietly cmake --build "$out"
  classifies "$out/consumer"
  [[ -z "$opencv" ]] || round_trips "$out/opencv_consumer"
  [[ -z "$mpi" ]] || quietly mpirun --allow-run-as-root --oversubscribe -np 2 "$out/mpi_consumer"
  step "$kind: find_package"

  export PKG_CONFIG_PATH="$prefix/lib/pkgconfig:$prefix/lib/$("$cxx" -dumpmachine)/pkgconfig"
  # shellcheck disable=SC2046
  quietly "$cxx" -std=c++20 "$root/tests/package/main.cpp" -o "$work/by_pkg_config" $(pkg-config --define-variable=torch_prefix="$torch" --cflags --libs graft) \
    "-Wl,-rpath,$(pkg-config --variable=libdir graft)"
  classifies "$work/by_pkg_config"
  step "$kind: pkg-config"

  # The process runs with another LibTorch than the library was built with: one that says so, as real ones do not load.
  echo 'extern "C" unsigned long aoti_torch_abi_version() { return 2ul << 56 | 1ul << 48 | 3ul << 40; }' > "$work/older.cpp"
  quietly "$cxx" -shared -fPIC "$work/older.cpp" -o "$work/older.so"
  fails env LD_PRELOAD="$work/older.so" "$out/consumer" "$model" "$picture"
  has "the program runs with 2.1.3; the major and minor version must be the same" "$work/log"
done

# A shared library shows Graft's public names, and all of them begin with graft::.
for library in "$work/moved/shared/lib"*/libgraft*.so "$work/moved/shared/lib"*/*/libgraft*.so; do
  [[ -f "$library" ]] || continue
  # clang++ shows the resolvers of target_clones whatever visibility is asked for.
  nm -DC --defined-only "$library" | sed -E 's/^[0-9a-f]+ //' | { grep -vF '[clone .resolver]' || true; } > "$work/names"
  if grep -vE '^[A-Za-z] ((typeinfo|typeinfo name|vtable) for )?graft::' "$work/names"; then echo "$library shows more than graft::"; exit 1; fi
  if grep -E "graft::($(find "$root/src" -mindepth 1 -maxdepth 1 -type d -printf '%f|')anonymous)::" "$work/names"; then
    echo "$library shows names of its rooms"
    exit 1
  fi
  step "$(basename "$library") shows $(wc -l < "$work/names") names"
done
nm -DC --defined-only "$work/moved/shared/lib"*/libgraft.so > "$work/names"
has "graft::Model::load(" "$work/names"
has "typeinfo for graft::Error" "$work/names"

# The installed program runs as it is.
if [[ -x "$work/moved/$own/bin/graft" ]]; then
  "$work/moved/$own/bin/graft" classify "$work/moved/$own/share/graft/models/graft_mini.pt" "$picture" > "$work/answer" 2>&1
  has "star" "$work/answer"
  if [[ -f "$build/graft_parquet.so" ]]; then
    quietly "$work/moved/$own/bin/graft" classify "$work/moved/$own/share/graft/models/graft_mini.pt" "$picture" --out "$work/answers" --format parquet
    [[ "$(head -c 4 "$work/answers/part-0000000.parquet")" == PAR1 ]]
  fi
  step "the installed program"
fi

# Components that are not there.
prefix="$work/moved/static"
given=(-DCMAKE_PREFIX_PATH="$prefix")
fails configure "$work/no_component" "${given[@]}" -DTorch_DIR="$torch_dir" -DGRAFT_COMPONENTS=audio
has "Graft has no component audio; it has: opencv, mpi." "$work/log"
find "$prefix" -name 'graft_*_targets*.cmake' -exec mv {} {}.away \;
fails configure "$work/no_component" "${given[@]}" -DTorch_DIR="$torch_dir" -DGRAFT_COMPONENTS=opencv
has "this Graft was built without its component opencv (cv::Mat in and out). Install OpenCV (Debian: libopencv-dev)" "$work/log"
fails configure "$work/no_component" "${given[@]}" -DTorch_DIR="$torch_dir" -DGRAFT_COMPONENTS=mpi
has "this Graft was built without its component mpi (processes that mpirun starts). Install Open MPI (Debian: libopenmpi-dev openmpi-bin)" "$work/log"
step "components that are missing"

# LibTorch that does not fit, when configuring. Nothing of these is used but what is looked at.
fake_torch() {  # NAME VERSION: with the libc10 of the real one
  local major minor patch
  mkdir -p "$work/$1/share/cmake/Torch" "$work/$1/include/torch/headeronly" "$work/$1/lib"
  touch "$work/$1/share/cmake/Torch/TorchConfig.cmake"
  IFS=. read -r major minor patch <<< "$2"
  printf '#define TORCH_VERSION_MAJOR %s\n#define TORCH_VERSION_MINOR %s\n#define TORCH_VERSION_PATCH %s\n' "$major" "$minor" "$patch" \
    > "$work/$1/include/torch/headeronly/version.h"
  ln -s "$torch/lib/libc10.so" "$work/$1/lib/libc10.so"
}
refused() {  # NAME MESSAGE
  fails configure "$work/misfit" "${given[@]}" -DTorch_DIR="$work/$1/share/cmake/Torch"
  has "$2" "$work/log"
}
version="$(sed -n 's/.*GRAFT_TORCH_BUILT_WITH "\([0-9.]*\)".*/\1/p' "$build/package/graftConfig.cmake")"
IFS=. read -r major minor _ <<< "$version"
fake_torch newer "$major.$((minor + 1)).0"
refused newer "This Graft was built with LibTorch $version and works with $major.$minor only: found LibTorch $major.$((minor + 1)).0 in $work/newer. Give that one"
fake_torch old 1.13.1
refused old "LibTorch 1.13.1 in $work/old is too old: expected 2.11 or newer."
rm "$work/old/include/torch/headeronly/version.h"
refused old "LibTorch of unknown version in $work/old is too old"
fake_torch old_abi "$version"
rm "$work/old_abi/lib/libc10.so"
refused old_abi "is not whole: lib/libc10.so is missing."
echo '#include <string>
namespace c10 { void takes(const std::string&) {} }' > "$work/c10.cpp"
quietly "$cxx" -D_GLIBCXX_USE_CXX11_ABI=0 -shared -fPIC "$work/c10.cpp" -o "$work/old_abi/lib/libc10.so"
refused old_abi "was built with libstdc++'s old ABI (_GLIBCXX_USE_CXX11_ABI=0)"
# The same where Graft itself is configured.
fails cmake -S "$root" -B "$work/own" -G Ninja -DCMAKE_CXX_COMPILER="$cxx" -DTorch_DIR="$work/old_abi/share/cmake/Torch"
has "was built with libstdc++'s old ABI (_GLIBCXX_USE_CXX11_ABI=0)" "$work/log"
step "LibTorch that does not fit: configuring"

# And when compiling, however the headers were found.
includes=(-I"$prefix/include" -I"$torch/include" -I"$torch/include/torch/csrc/api/include")
echo '#include <graft/version.h>' > "$work/version.cpp"
quietly "$cxx" -std=c++20 -fsyntax-only "${includes[@]}" "$work/version.cpp"
fails "$cxx" -std=c++20 -fsyntax-only -I"$work/newer/include" "${includes[@]}" "$work/version.cpp"
has "This Graft was built with LibTorch $version; the headers on the include path are of another version." "$work/log"
fails "$cxx" -std=c++20 -fsyntax-only -D_GLIBCXX_USE_CXX11_ABI=0 "${includes[@]}" "$work/version.cpp"
has "compile without -D_GLIBCXX_USE_CXX11_ABI=0" "$work/log"
step "LibTorch that does not fit: compiling"
