# The libraries that are installed, and the package around them.
include(CMakePackageConfigHelpers)

set(GRAFT_CMAKE_DIR "${CMAKE_INSTALL_LIBDIR}/cmake/graft")
string(REGEX MATCH "^([0-9]+)\\.([0-9]+)" _ "${GRAFT_TORCH_VERSION}")
set(GRAFT_TORCH_VERSION_MAJOR "${CMAKE_MATCH_1}")
set(GRAFT_TORCH_VERSION_MINOR "${CMAKE_MATCH_2}")

# An installed program or shared library finds LibTorch where it was when building, unless LD_LIBRARY_PATH says otherwise.
function(graft_run_path target)
  set_target_properties(${target} PROPERTIES INSTALL_RPATH "${ARGN};${GRAFT_TORCH_PREFIX}/lib")
endfunction()

# One library of the package. graft_libraries sets what it reads.
function(_graft_add_library target export_name)
  add_library(${target} ${kind})
  graft_compile_options(${target})
  set_target_properties(${target} PROPERTIES
    LINKER_LANGUAGE CXX VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR} EXPORT_NAME ${export_name}
    ARCHIVE_OUTPUT_DIRECTORY "${CMAKE_CURRENT_BINARY_DIR}/${folder}"
    LIBRARY_OUTPUT_DIRECTORY "${CMAKE_CURRENT_BINARY_DIR}/${folder}")
  graft_run_path(${target} "\$ORIGIN")
  if(kind STREQUAL "SHARED" AND NOT APPLE)
    target_link_options(${target} PRIVATE "LINKER:--version-script,${PROJECT_SOURCE_DIR}/cmake/graft.map")
    set_property(TARGET ${target} APPEND PROPERTY LINK_DEPENDS "${PROJECT_SOURCE_DIR}/cmake/graft.map")
  endif()
  target_include_directories(${target} PUBLIC "$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>"
                                              "$<BUILD_INTERFACE:${PROJECT_BINARY_DIR}/include>"
                                              "$<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>")
endfunction()

function(_graft_install_package)
  set(GRAFT_KIND ${kind})
  set(GRAFT_SUFFIX "${suffix}")
  set(generated "${PROJECT_BINARY_DIR}/package${suffix}")
  configure_package_config_file("${PROJECT_SOURCE_DIR}/cmake/graftConfig.cmake.in" "${generated}/graftConfig.cmake"
                                INSTALL_DESTINATION "${GRAFT_CMAKE_DIR}" NO_SET_AND_CHECK_MACRO NO_CHECK_REQUIRED_COMPONENTS_MACRO)
  write_basic_package_version_file("${generated}/graftConfigVersion.cmake" COMPATIBILITY SameMinorVersion)

  file(RELATIVE_PATH GRAFT_PC_TO_PREFIX "/prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/prefix")
  set(GRAFT_PC_REQUIRES "")
  set(GRAFT_PC_LIBS "")
  if(kind STREQUAL "STATIC")
    set(GRAFT_PC_REQUIRES "libcrypto")
    foreach(library IN LISTS GRAFT_IMAGE_LIBRARIES)
      if(library STREQUAL "JPEG::JPEG")
        string(APPEND GRAFT_PC_REQUIRES ", libjpeg")
      elseif(library STREQUAL "PNG::PNG")
        string(APPEND GRAFT_PC_REQUIRES ", libpng")
      else()
        string(APPEND GRAFT_PC_LIBS "-l${library} ")
      endif()
    endforeach()
    if(GRAFT_TEXT_LIBRARIES)
      string(APPEND GRAFT_PC_REQUIRES ", icu-uc")
    endif()
    string(APPEND GRAFT_PC_LIBS "-pthread ")
  endif()
  set(GRAFT_PC_TORCH_LIBS "-ltorch -ltorch_cpu -lc10")
  if(EXISTS "${GRAFT_TORCH_PREFIX}/lib/libtorch_cuda.so")
    # As GraftTorch.cmake does it, and for the same reasons.
    string(APPEND GRAFT_PC_TORCH_LIBS " -Wl,--allow-shlib-undefined,--push-state,--no-as-needed -ltorch_cuda -lc10_cuda -Wl,--pop-state")
  endif()
  configure_file("${PROJECT_SOURCE_DIR}/cmake/graft.pc.in" "${generated}/graft.pc" @ONLY)

  install(DIRECTORY "${PROJECT_SOURCE_DIR}/include/graft" "${PROJECT_BINARY_DIR}/include/graft"
          DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" ${component} PATTERN opencv.h EXCLUDE PATTERN mpi.h EXCLUDE)
  install(FILES "${generated}/graftConfig.cmake" "${generated}/graftConfigVersion.cmake" "${PROJECT_SOURCE_DIR}/cmake/GraftTorch.cmake"
          DESTINATION "${GRAFT_CMAKE_DIR}" ${component})
  install(FILES "${generated}/graft.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig" ${component})
  install(TARGETS graft${suffix} EXPORT graftTargets${suffix} ${component})
  install(EXPORT graftTargets${suffix} NAMESPACE graft:: DESTINATION "${GRAFT_CMAKE_DIR}" ${component})
  foreach(extra IN LISTS GRAFT_COMPONENTS)
    install(FILES "${PROJECT_SOURCE_DIR}/include/graft/${extra}.h" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/graft" ${component})
    install(TARGETS graft_${extra}${suffix} EXPORT graft_${extra}_targets${suffix} ${component})
    install(EXPORT graft_${extra}_targets${suffix} NAMESPACE graft:: DESTINATION "${GRAFT_CMAKE_DIR}" ${component})
  endforeach()
endfunction()

# A library beside libgraft that links more than it does, for graft_libraries.
macro(_graft_add_component extra visibility library)
  _graft_add_library(graft_${extra}${suffix} ${extra})
  target_sources(graft_${extra}${suffix} PRIVATE $<TARGET_OBJECTS:graft_${extra}_objects>)
  set_target_properties(graft_${extra}${suffix} PROPERTIES OUTPUT_NAME graft_${extra})
  target_link_libraries(graft_${extra}${suffix} PUBLIC graft${suffix} ${visibility} ${library})
  list(APPEND GRAFT_COMPONENTS ${extra})
endmacro()

# graft_libraries(SUFFIX KIND): libgraft and, where OpenCV and MPI are, libgraft_opencv and libgraft_mpi from the rooms'
# objects, as targets whose names end in SUFFIX, and the package that they are installed as. Without a suffix they are the build's own libraries;
# with one they are installed only when their component, graft<SUFFIX>, is asked for.
function(graft_libraries suffix kind)
  set(folder "")
  set(component "")
  if(suffix)
    set(folder "package${suffix}")
    set(component COMPONENT graft${suffix} EXCLUDE_FROM_ALL)
  endif()

  _graft_add_library(graft${suffix} graft)
  get_property(rooms GLOBAL PROPERTY GRAFT_ROOMS)
  foreach(room IN LISTS rooms)
    target_sources(graft${suffix} PRIVATE $<TARGET_OBJECTS:graft_${room}>)
  endforeach()
  set_target_properties(graft${suffix} PROPERTIES OUTPUT_NAME graft)
  target_link_libraries(graft${suffix} PUBLIC graft_torch PRIVATE OpenSSL::Crypto Threads::Threads ${GRAFT_IMAGE_LIBRARIES}
                        ${GRAFT_TEXT_LIBRARIES})

  set(GRAFT_COMPONENTS "")
  if(GRAFT_HAVE_OPENCV_LIBRARY)
    _graft_add_component(opencv PUBLIC opencv_core)
  endif()
  if(GRAFT_HAVE_MPI)
    _graft_add_component(mpi PRIVATE MPI::MPI_CXX)
  endif()

  if(NOT suffix)
    add_library(graft::graft ALIAS graft)
    foreach(extra IN LISTS GRAFT_COMPONENTS)
      add_library(graft::${extra} ALIAS graft_${extra})
    endforeach()
  endif()
  if(GRAFT_INSTALL)
    _graft_install_package()
  endif()
endfunction()
