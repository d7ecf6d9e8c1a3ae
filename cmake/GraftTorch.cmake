# Finds LibTorch and gives the target graft_torch. Looked for in Torch_DIR and CMAKE_PREFIX_PATH first, then where
# Python's torch package is.
if(NOT Torch_DIR AND NOT GRAFT_TORCH_FROM_PREFIX)
  find_package(Python3 COMPONENTS Interpreter QUIET)
  if(Python3_FOUND)
    execute_process(
      COMMAND "${Python3_EXECUTABLE}" -c "import torch.utils; print(torch.utils.cmake_prefix_path)"
      OUTPUT_VARIABLE graft_torch_prefix OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
    list(APPEND CMAKE_PREFIX_PATH "${graft_torch_prefix}")
  endif()
endif()
find_package(Torch REQUIRED)
message(STATUS "LibTorch ${Torch_VERSION} from ${TORCH_INSTALL_PREFIX}")
add_library(graft_torch INTERFACE)
target_link_libraries(graft_torch INTERFACE torch)
