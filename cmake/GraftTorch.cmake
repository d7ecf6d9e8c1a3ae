# Finds LibTorch and makes the target graft_torch. Taken, in this order:
#   the target torch, if the project around has it already;
#   Torch_DIR; CMAKE_PREFIX_PATH (the official zip, unpacked); a virtual environment .venv in the source tree;
#   the torch package of the Python found.
# A CUDA build's own TorchConfig.cmake demands a CUDA toolkit, which Graft, having no device code of its own, does not need:
# there the targets are made here from its libraries.
#
# Also installed, so that an application finds LibTorch the same way. The package sets GRAFT_TORCH_BUILT_WITH, the version
# that the library was compiled with, and reads GRAFT_TORCH_PROBLEM: why there is no graft_torch, or nothing.

set(GRAFT_TORCH_MINIMUM 2.11)

# The folder that holds include/ and lib/, or nothing.
function(_graft_find_torch_prefix result)
  if(TARGET torch)
    foreach(property IMPORTED_LOCATION IMPORTED_LOCATION_RELEASE)
      get_target_property(library torch ${property})
      if(library)
        get_filename_component(prefix "${library}/../.." ABSOLUTE)
        set(${result} "${prefix}" PARENT_SCOPE)
        return()
      endif()
    endforeach()
  endif()
  find_path(GRAFT_TORCH_CONFIG_DIR TorchConfig.cmake
            HINTS ${Torch_DIR} ENV Torch_DIR PATH_SUFFIXES share/cmake/Torch NO_CACHE)
  if(NOT GRAFT_TORCH_CONFIG_DIR)
    set(pythons "")
    if(EXISTS "${CMAKE_SOURCE_DIR}/.venv/bin/python")
      list(APPEND pythons "${CMAKE_SOURCE_DIR}/.venv/bin/python")
    endif()
    find_package(Python3 COMPONENTS Interpreter QUIET)
    if(Python3_FOUND)
      list(APPEND pythons "${Python3_EXECUTABLE}")
    endif()
    foreach(python IN LISTS pythons)
      execute_process(COMMAND "${python}" -c "import importlib.util as u; print(u.find_spec('torch').submodule_search_locations[0])"
                      OUTPUT_VARIABLE package OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
      if(NOT failed AND EXISTS "${package}/share/cmake/Torch/TorchConfig.cmake")
        set(GRAFT_TORCH_CONFIG_DIR "${package}/share/cmake/Torch")
        break()
      endif()
    endforeach()
  endif()
  set(prefix "")
  if(GRAFT_TORCH_CONFIG_DIR)
    get_filename_component(prefix "${GRAFT_TORCH_CONFIG_DIR}/../../.." ABSOLUTE)
  endif()
  set(${result} "${prefix}" PARENT_SCOPE)
endfunction()

function(_graft_torch_version prefix result)
  set(version "of unknown version")
  # The second is where it was before 2.9.
  foreach(header torch/headeronly/version.h torch/csrc/api/include/torch/version.h)
    if(EXISTS "${prefix}/include/${header}")
      file(STRINGS "${prefix}/include/${header}" lines REGEX "define TORCH_VERSION_(MAJOR|MINOR|PATCH) ")
      string(REGEX MATCHALL "[0-9]+" numbers "${lines}")
      list(JOIN numbers "." version)
      break()
    endif()
  endforeach()
  set(${result} "${version}" PARENT_SCOPE)
endfunction()

# Why the LibTorch in prefix does not fit, or nothing.
function(_graft_torch_misfit prefix version result)
  set(found "LibTorch ${version} in ${prefix}")
  set(misfit "")
  set(built_with "${GRAFT_TORCH_BUILT_WITH}")
  string(REGEX MATCH "^[0-9]+\\.[0-9]+" series "${version}")
  string(REGEX MATCH "^[0-9]+\\.[0-9]+" built_with_series "${built_with}")
  # Functions of libc10 that take a std::string carry the ABI in their names.
  set(new_abi "")
  if(EXISTS "${prefix}/lib/libc10.so")
    file(STRINGS "${prefix}/lib/libc10.so" new_abi REGEX "_ZN3c10.*7__cxx11" LIMIT_COUNT 1)
  endif()
  if(NOT series OR version VERSION_LESS GRAFT_TORCH_MINIMUM)
    set(misfit "${found} is too old: expected ${GRAFT_TORCH_MINIMUM} or newer.")
  elseif(NOT EXISTS "${prefix}/lib/libc10.so")
    set(misfit "${found} is not whole: lib/libc10.so is missing.")
  elseif(NOT new_abi)
    set(misfit "${found} was built with libstdc++'s old ABI (_GLIBCXX_USE_CXX11_ABI=0): expected the new one, as in the wheels of pip and in the zips whose names have \"cxx11-abi\" or, since 2.7, no ABI at all.")
  elseif(built_with AND NOT series STREQUAL built_with_series)
    set(misfit "This Graft was built with LibTorch ${built_with} and works with ${built_with_series} only: found ${found}. Give that one (-DTorch_DIR=.../share/cmake/Torch), or build Graft with this one.")
  endif()
  set(${result} "${misfit}" PARENT_SCOPE)
endfunction()

# torch, torch_cpu, c10 and their CUDA companions as imported targets, without TorchConfig.cmake.
function(_graft_import_torch prefix)
  foreach(name c10 torch_cpu torch c10_cuda torch_cuda)
    if(EXISTS "${prefix}/lib/lib${name}.so" AND NOT TARGET ${name})
      add_library(${name} SHARED IMPORTED GLOBAL)
      set_target_properties(${name} PROPERTIES IMPORTED_LOCATION "${prefix}/lib/lib${name}.so")
    endif()
  endforeach()
  # The CUDA libraries are found by the wheel's own run paths when the program starts; the linker need not see them. The
  # wheel exports parts of std::filesystem that do not work in every program: the system's come first.
  target_link_options(torch INTERFACE "LINKER:--allow-shlib-undefined" "LINKER:--push-state,--no-as-needed" "-lstdc++"
                                      "LINKER:--pop-state")
  target_include_directories(torch SYSTEM INTERFACE "${prefix}/include" "${prefix}/include/torch/csrc/api/include")
  target_link_libraries(torch INTERFACE torch_cpu c10)
  if(TARGET torch_cuda)
    # Nothing refers to it, but loading it registers the CUDA kernels.
    target_link_libraries(torch INTERFACE "-Wl,--push-state,--no-as-needed" torch_cuda c10_cuda "-Wl,--pop-state")
  endif()
endfunction()

# A macro: what find_package(Torch) sets belongs to whoever includes this file.
macro(_graft_find_torch)
  set(GRAFT_TORCH_PROBLEM "")
  _graft_find_torch_prefix(GRAFT_TORCH_PREFIX)
  if(NOT GRAFT_TORCH_PREFIX)
    string(CONCAT GRAFT_TORCH_PROBLEM
           "LibTorch was not found. Install it with pip (pip install torch, in a virtual environment .venv or the Python in "
           "use), or unpack the official zip and give -DCMAKE_PREFIX_PATH=/path/to/libtorch.")
  else()
    _graft_torch_version("${GRAFT_TORCH_PREFIX}" GRAFT_TORCH_VERSION)
    _graft_torch_misfit("${GRAFT_TORCH_PREFIX}" "${GRAFT_TORCH_VERSION}" GRAFT_TORCH_PROBLEM)
  endif()
  if(NOT GRAFT_TORCH_PROBLEM)
    set(_graft_torch_kind "CPU build")
    if(EXISTS "${GRAFT_TORCH_PREFIX}/lib/libtorch_cuda.so")
      set(_graft_torch_kind "CUDA build")
    endif()
    if(TARGET torch)
      set(_graft_torch_how "by the project around")
    elseif(_graft_torch_kind STREQUAL "CUDA build")
      set(_graft_torch_how "by its libraries, no CUDA toolkit needed")
      _graft_import_torch("${GRAFT_TORCH_PREFIX}")
    else()
      set(_graft_torch_how "by its own CMake package")
      # Where Graft is a part of another project, that one links LibTorch's targets through Graft's from folders beside.
      set(CMAKE_FIND_PACKAGE_TARGETS_GLOBAL ON)
      find_package(Torch REQUIRED HINTS "${GRAFT_TORCH_PREFIX}/share/cmake/Torch")
      unset(CMAKE_FIND_PACKAGE_TARGETS_GLOBAL)
    endif()
    if(NOT TARGET graft_torch)
      add_library(graft_torch INTERFACE IMPORTED)
      target_link_libraries(graft_torch INTERFACE torch)
      target_include_directories(graft_torch SYSTEM INTERFACE "${GRAFT_TORCH_PREFIX}/include"
                                                              "${GRAFT_TORCH_PREFIX}/include/torch/csrc/api/include")
    endif()
    if(NOT graft_FIND_QUIETLY)
      message(STATUS "LibTorch ${GRAFT_TORCH_VERSION} (${_graft_torch_kind}) ${_graft_torch_how}: ${GRAFT_TORCH_PREFIX}")
    endif()
  endif()
endmacro()

_graft_find_torch()
