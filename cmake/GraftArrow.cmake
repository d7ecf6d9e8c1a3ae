# Finds Apache Arrow and makes the target graft_arrow, for the program's module that writes Parquet files; sets GRAFT_HAVE_PARQUET,
# and GRAFT_ARROW_RUN_PATH, where a wheel's libraries are.
# Taken, in this order:
#   the pyarrow package that GRAFT_PYARROW_DIR names;
#   Arrow's own CMake package (a distribution's, conda's, vcpkg's; CMAKE_PREFIX_PATH, Parquet_DIR);
#   the pyarrow package beside LibTorch's wheel: it has headers and libraries, but no CMake package.

set(GRAFT_PYARROW_DIR "" CACHE PATH "A pyarrow package, with include/ and libparquet.so.*, to take Apache Arrow from")

# Imports the libraries of a pyarrow package, or says in `problem` what it lacks.
function(_graft_import_pyarrow package problem)
  set(config "${package}/include/arrow/util/config.h")
  if(NOT EXISTS "${config}" OR NOT EXISTS "${package}/include/parquet/arrow/writer.h")
    set(${problem} "${package} has no headers of Arrow and Parquet" PARENT_SCOPE)
    return()
  endif()
  file(STRINGS "${config}" version REGEX "define ARROW_SO_VERSION ")
  string(REGEX MATCH "[0-9]+" version "${version}")
  foreach(name arrow parquet)
    if(NOT EXISTS "${package}/lib${name}.so.${version}")
      set(${problem} "${package} has no lib${name}.so.${version}" PARENT_SCOPE)
      return()
    endif()
  endforeach()
  foreach(name arrow parquet)
    add_library(graft_pyarrow_${name} SHARED IMPORTED)
    set_target_properties(graft_pyarrow_${name} PROPERTIES IMPORTED_LOCATION "${package}/lib${name}.so.${version}")
    target_include_directories(graft_pyarrow_${name} SYSTEM INTERFACE "${package}/include")
  endforeach()
  set(${problem} "" PARENT_SCOPE)
endfunction()

# Whether these libraries compile and link here: Arrow's headers may want a newer C++, its libraries may have libstdc++'s old ABI.
function(_graft_check_arrow result where)
  include(CheckCXXSourceCompiles)
  set(CMAKE_REQUIRED_FLAGS "${CMAKE_CXX20_STANDARD_COMPILE_OPTION}")
  set(CMAKE_REQUIRED_LIBRARIES ${ARGN})
  set(CMAKE_REQUIRED_QUIET ON)
  if(NOT where STREQUAL GRAFT_ARROW_CHECKED)
    unset(GRAFT_ARROW_FITS CACHE)
    set(GRAFT_ARROW_CHECKED "${where}" CACHE INTERNAL "What GRAFT_ARROW_FITS is about")
  endif()
  check_cxx_source_compiles("
    #include <arrow/api.h>
    #include <parquet/properties.h>
    int main() {
      parquet::WriterProperties::Builder().created_by(std::string())->build();
      return arrow::key_value_metadata({{\"key\", \"value\"}})->size() == 1 ? 0 : 1;
    }" GRAFT_ARROW_FITS)
  set(${result} "${GRAFT_ARROW_FITS}" PARENT_SCOPE)
endfunction()

set(GRAFT_HAVE_PARQUET OFF)
if(GRAFT_BUILD_CLI AND NOT GRAFT_WITH_PARQUET STREQUAL "OFF")
  set(graft_arrow_libraries "")
  set(GRAFT_ARROW_RUN_PATH "")
  if(NOT GRAFT_PYARROW_DIR)
    find_package(Parquet CONFIG QUIET)
    if(TARGET Parquet::parquet_shared)
      set(graft_arrow_where "${Parquet_DIR}")
      set(graft_arrow_libraries Parquet::parquet_shared Arrow::arrow_shared)
    endif()
  endif()
  if(NOT graft_arrow_libraries)
    set(graft_arrow_where "${GRAFT_PYARROW_DIR}")
    if(NOT graft_arrow_where)
      get_filename_component(graft_arrow_where "${GRAFT_TORCH_PREFIX}/../pyarrow" ABSOLUTE)
    endif()
    _graft_import_pyarrow("${graft_arrow_where}" graft_arrow_problem)
    if(NOT graft_arrow_problem)
      set(graft_arrow_libraries graft_pyarrow_parquet graft_pyarrow_arrow)
      set(GRAFT_ARROW_RUN_PATH "${graft_arrow_where}")
    endif()
  endif()
  if(graft_arrow_libraries)
    _graft_check_arrow(GRAFT_HAVE_PARQUET "${graft_arrow_where}" ${graft_arrow_libraries})
    set(graft_arrow_problem "${graft_arrow_where} does not compile or link with this compiler (libstdc++'s new ABI, C++20)")
  endif()
  if(GRAFT_HAVE_PARQUET)
    add_library(graft_arrow INTERFACE IMPORTED)
    target_link_libraries(graft_arrow INTERFACE ${graft_arrow_libraries})
    message(STATUS "Parquet: with Apache Arrow of ${graft_arrow_where}")
  elseif(GRAFT_WITH_PARQUET STREQUAL "ON")
    message(FATAL_ERROR "GRAFT_WITH_PARQUET=ON, but there is no Apache Arrow that can be used: ${graft_arrow_problem}. Install pyarrow with pip beside LibTorch, or Arrow's and Parquet's development packages, or give -DGRAFT_PYARROW_DIR=.../site-packages/pyarrow")
  else()
    message(STATUS "Parquet: no (${graft_arrow_problem})")
  endif()
endif()
