# An overlay port: vcpkg install graft --overlay-ports=cmake/vcpkg
# It lies in a clone of the project and takes the release's tag from where that was cloned from.
# LibTorch: Torch_DIR=/path/to/libtorch/share/cmake/Torch in the environment, or the torch package of the Python found.
find_program(GIT git REQUIRED)
execute_process(COMMAND "${GIT}" -C "${CURRENT_PORT_DIR}" rev-parse "v${VERSION}^{commit}"
                OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE failed)
if(failed)
  message(FATAL_ERROR "The clone around ${CURRENT_PORT_DIR} has no tag v${VERSION}: git fetch --tags")
endif()
execute_process(COMMAND "${GIT}" -C "${CURRENT_PORT_DIR}" remote get-url origin
                OUTPUT_VARIABLE repository OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)

vcpkg_from_git(OUT_SOURCE_PATH SOURCE_PATH URL "${repository}" REF "${commit}" FETCH_REF "v${VERSION}")
set(with_opencv OFF)
if("opencv" IN_LIST FEATURES)
  set(with_opencv ON)
endif()
set(with_icu OFF)
if("text" IN_LIST FEATURES)
  set(with_icu ON)
endif()
vcpkg_cmake_configure(
  SOURCE_PATH "${SOURCE_PATH}"
  OPTIONS -DGRAFT_BUILD_CLI=OFF -DGRAFT_BUILD_EXAMPLES=OFF -DGRAFT_BUILD_TESTS=OFF
          -DGRAFT_WITH_OPENCV=${with_opencv} -DGRAFT_BUILD_OPENCV=${with_opencv} -DGRAFT_WITH_ICU=${with_icu})
vcpkg_cmake_install()
vcpkg_cmake_config_fixup(CONFIG_PATH lib/cmake/graft)
vcpkg_fixup_pkgconfig()
file(REMOVE_RECURSE "${CURRENT_PACKAGES_DIR}/debug/include" "${CURRENT_PACKAGES_DIR}/debug/share")
vcpkg_install_copyright(FILE_LIST "${SOURCE_PATH}/LICENSE")
