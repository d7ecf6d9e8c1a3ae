# Finds LibTorch and makes the target graft_torch. Looked for, in this order:
#   Torch_DIR; CMAKE_PREFIX_PATH (the official zip, unpacked); a virtual environment .venv in the source tree;
#   the torch package of the Python found.
# A CUDA build's own TorchConfig.cmake demands a CUDA toolkit, which Graft, having no device code of its own, does not need:
# there the targets are made here from its libraries. Also installed, so that an application finds LibTorch the same way.
include_guard(GLOBAL)

set(GRAFT_TORCH_MINIMUM 2.11)

# The folder that holds include/ and lib/.
function(_graft_find_torch_prefix result)
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
  if(NOT GRAFT_TORCH_CONFIG_DIR)
    message(FATAL_ERROR "LibTorch was not found. Install it with pip (pip install torch, in a virtual environment .venv or "
                        "the Python in use), or unpack the official zip and give -DCMAKE_PREFIX_PATH=/path/to/libtorch.")
  endif()
  get_filename_component(prefix "${GRAFT_TORCH_CONFIG_DIR}/../../.." ABSOLUTE)
  set(${result} "${prefix}" PARENT_SCOPE)
endfunction()

function(_graft_torch_version prefix result)
  file(STRINGS "${prefix}/include/torch/headeronly/version.h" lines REGEX "define TORCH_VERSION_(MAJOR|MINOR|PATCH)")
  string(REGEX MATCHALL "[0-9]+" numbers "${lines}")
  list(JOIN numbers "." version)
  set(${result} "${version}" PARENT_SCOPE)
endfunction()

# torch, torch_cpu, c10 and their CUDA companions as imported targets, without TorchConfig.cmake.
function(_graft_import_torch prefix)
  foreach(name c10 torch_cpu torch c10_cuda torch_cuda)
    if(EXISTS "${prefix}/lib/lib${name}.so" AND NOT TARGET ${name})
      add_library(${name} SHARED IMPORTED GLOBAL)
      set_target_properties(${name} PROPERTIES IMPORTED_LOCATION "${prefix}/lib/lib${name}.so")
    endif()
  endforeach()
  # The CUDA libraries are found by the wheel's own run paths when the program starts; the linker need not see them.
  target_link_options(torch INTERFACE "LINKER:--allow-shlib-undefined")
  target_include_directories(torch SYSTEM INTERFACE "${prefix}/include" "${prefix}/include/torch/csrc/api/include")
  target_link_libraries(torch INTERFACE torch_cpu c10)
  if(TARGET torch_cuda)
    # Nothing refers to it, but loading it registers the CUDA kernels.
    target_link_libraries(torch INTERFACE "-Wl,--push-state,--no-as-needed" torch_cuda c10_cuda "-Wl,--pop-state")
  endif()
endfunction()

macro(_graft_find_torch)
  _graft_find_torch_prefix(GRAFT_TORCH_PREFIX)
  _graft_torch_version("${GRAFT_TORCH_PREFIX}" GRAFT_TORCH_VERSION)
  if(GRAFT_TORCH_VERSION VERSION_LESS GRAFT_TORCH_MINIMUM)
    message(FATAL_ERROR "LibTorch ${GRAFT_TORCH_VERSION} in ${GRAFT_TORCH_PREFIX} is too old: expected ${GRAFT_TORCH_MINIMUM} or newer.")
  endif()
  set(_graft_torch_kind "CPU build")
  set(_graft_torch_how "by its own CMake package")
  if(EXISTS "${GRAFT_TORCH_PREFIX}/lib/libtorch_cuda.so")
    set(_graft_torch_kind "CUDA build")
    set(_graft_torch_how "by its libraries, no CUDA toolkit needed")
    _graft_import_torch("${GRAFT_TORCH_PREFIX}")
  else()
    find_package(Torch REQUIRED HINTS "${GRAFT_TORCH_PREFIX}/share/cmake/Torch")
  endif()
  if(NOT TARGET graft_torch)
    add_library(graft_torch INTERFACE IMPORTED GLOBAL)
    target_link_libraries(graft_torch INTERFACE torch)
    target_include_directories(graft_torch SYSTEM INTERFACE "${GRAFT_TORCH_PREFIX}/include"
                                                            "${GRAFT_TORCH_PREFIX}/include/torch/csrc/api/include")
  endif()
  message(STATUS "LibTorch ${GRAFT_TORCH_VERSION} (${_graft_torch_kind}) ${_graft_torch_how}: ${GRAFT_TORCH_PREFIX}")
endmacro()

_graft_find_torch()
