# The target docs: an API reference of include/graft/*.h as HTML, in api/html under the build folder. Warnings are errors.
# Also a script, which the target runs:
#   cmake -DGRAFT_DOXYGEN=/usr/bin/doxygen -DGRAFT_DOCS_INCLUDE=DIR -DGRAFT_DOCS_OUTPUT=DIR -P GraftDocs.cmake
if(NOT CMAKE_SCRIPT_MODE_FILE)
  find_program(GRAFT_DOXYGEN doxygen)
  if(GRAFT_DOXYGEN)
    add_custom_target(docs COMMAND "${CMAKE_COMMAND}" "-DGRAFT_DOXYGEN=${GRAFT_DOXYGEN}" "-DGRAFT_DOCS_VERSION=${PROJECT_VERSION}"
                                   "-DGRAFT_DOCS_INCLUDE=${PROJECT_SOURCE_DIR}/include" "-DGRAFT_DOCS_OUTPUT=${PROJECT_BINARY_DIR}/api"
                                   -P "${CMAKE_CURRENT_LIST_FILE}"
                      VERBATIM)
  else()
    message(STATUS "Doxygen was not found: there is no target docs")
  endif()
  return()
endif()

file(REMOVE_RECURSE "${GRAFT_DOCS_OUTPUT}")
file(MAKE_DIRECTORY "${GRAFT_DOCS_OUTPUT}")
configure_file("${CMAKE_CURRENT_LIST_DIR}/Doxyfile.in" "${GRAFT_DOCS_OUTPUT}/Doxyfile" @ONLY)
execute_process(COMMAND "${GRAFT_DOXYGEN}" "${GRAFT_DOCS_OUTPUT}/Doxyfile" COMMAND_ERROR_IS_FATAL ANY)
file(STRINGS "${GRAFT_DOCS_OUTPUT}/warnings.txt" warnings)

# What a declaration says by itself needs no comment: a field or an enumerator with its name and default, copying and moving,
# comparing, and `name() const`. Classes, enumerations, types and all other functions do.
list(FILTER warnings EXCLUDE REGEX "\\((variable|enumvalue)\\) of .* is not documented")
list(FILTER warnings EXCLUDE REGEX "Member operator=.* is not documented")
list(FILTER warnings EXCLUDE REGEX "Member ([A-Z][A-Za-z]*)\\((const )?[A-Z][A-Za-z]* &&?\\).* is not documented")
list(FILTER warnings EXCLUDE REGEX "Member [a-z][a-z_0-9]*\\(\\) const.* is not documented")
if(warnings)
  list(REMOVE_DUPLICATES warnings)
  list(JOIN warnings "\n" text)
  message(NOTICE "${text}")
  message(FATAL_ERROR "The API reference has warnings, and warnings are errors.")
endif()
message(STATUS "API reference: ${GRAFT_DOCS_OUTPUT}/html/index.html")
