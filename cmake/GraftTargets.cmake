# Warnings, sanitizers and the two kinds of target this project is made of: rooms (object libraries) and their tests.
function(graft_compile_options target)
  target_compile_features(${target} PUBLIC cxx_std_20)
  set_target_properties(${target} PROPERTIES CXX_EXTENSIONS OFF POSITION_INDEPENDENT_CODE ON
                                             CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wpedantic -Wshadow $<$<BOOL:${GRAFT_WERROR}>:-Werror>)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    target_compile_options(${target} PRIVATE -Wno-restrict)  # false alarms on std::string: GCC bug 105651
  endif()
  if(GRAFT_SANITIZE)
    # LibTorch keeps the type information of some of its classes to itself, which the vptr check would need.
    target_compile_options(${target} PRIVATE -fsanitize=${GRAFT_SANITIZE} -fno-sanitize=vptr -fno-sanitize-recover=all -fno-omit-frame-pointer)
    target_link_options(${target} PUBLIC -fsanitize=${GRAFT_SANITIZE})
  endif()
endfunction()

# graft_objects(NAME FOLDER SOURCES file... [LIBRARIES target...]): files of src/FOLDER as the object library
# graft_NAME_objects, for a library of its own beside libgraft.
function(graft_objects name folder)
  cmake_parse_arguments(ROOM "" "" "SOURCES;LIBRARIES" ${ARGN})
  _graft_add_objects(graft_${name}_objects ${folder} "${ROOM_SOURCES}" "${ROOM_LIBRARIES}")
endfunction()

function(_graft_add_objects target folder sources libraries)
  list(TRANSFORM sources PREPEND "${PROJECT_SOURCE_DIR}/src/${folder}/")
  add_library(${target} OBJECT ${sources})
  graft_compile_options(${target})
  # Nothing of the build folder: a compiler cache then knows the objects again in another one.
  target_include_directories(${target} PUBLIC "${PROJECT_SOURCE_DIR}/include" "${PROJECT_SOURCE_DIR}/src")
  target_link_libraries(${target} PUBLIC graft_torch ${libraries})
endfunction()

# graft_room(NAME SOURCES file... [LIBRARIES target...]): src/NAME as the object library graft_NAME, part of libgraft. The
# objects are the same for a static and a shared library.
function(graft_room name)
  cmake_parse_arguments(ROOM "" "" "SOURCES;LIBRARIES" ${ARGN})
  _graft_add_objects(graft_${name} ${name} "${ROOM_SOURCES}" "${ROOM_LIBRARIES}")
  set_property(GLOBAL APPEND PROPERTY GRAFT_ROOMS ${name})
endfunction()

# What nearly all tests include takes most of the time to compile them: once for all. Optimising them gains nothing, for the
# work is done in the library.
function(_graft_precompile_headers target)
  if(NOT TARGET graft_precompiled)
    file(CONFIGURE OUTPUT "${PROJECT_BINARY_DIR}/precompiled.cpp" CONTENT "int main() {}\n")
    add_executable(graft_precompiled "${PROJECT_BINARY_DIR}/precompiled.cpp")  # as tests are: they are compiled with the same options
    set_target_properties(graft_precompiled PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests")
    graft_compile_options(graft_precompiled)
    target_compile_options(graft_precompiled PRIVATE -O0 $<$<CXX_COMPILER_ID:GNU>:-fpch-preprocess>)
    target_link_libraries(graft_precompiled PRIVATE graft_torch GTest::gmock)
    target_precompile_headers(graft_precompiled PRIVATE <ATen/ATen.h> <gmock/gmock.h> <gtest/gtest.h>)
  endif()
  target_compile_options(${target} PRIVATE -O0 $<$<CXX_COMPILER_ID:GNU>:-fpch-preprocess>)
  target_precompile_headers(${target} REUSE_FROM graft_precompiled)
endfunction()

# graft_test(ROOM SOURCES file... ROOMS room...): tests/ROOM as one program, linked with the objects of these rooms alone.
function(graft_test room)
  cmake_parse_arguments(TEST "" "" "SOURCES;ROOMS;LIBRARIES" ${ARGN})
  list(TRANSFORM TEST_SOURCES PREPEND "${PROJECT_SOURCE_DIR}/tests/${room}/")
  add_executable(${room}_test ${TEST_SOURCES})
  graft_compile_options(${room}_test)
  _graft_precompile_headers(${room}_test)
  target_compile_definitions(${room}_test PRIVATE GRAFT_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  target_include_directories(${room}_test PRIVATE "${PROJECT_SOURCE_DIR}/tests")
  foreach(used IN LISTS TEST_ROOMS)
    target_link_libraries(${room}_test PRIVATE graft_${used})
  endforeach()
  target_link_libraries(${room}_test PRIVATE GTest::gmock GTest::gtest_main ${TEST_LIBRARIES})
  gtest_discover_tests(${room}_test TEST_PREFIX "${room}." DISCOVERY_TIMEOUT 60 PROPERTIES LABELS ${room})
endfunction()
