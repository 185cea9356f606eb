# SPDX-License-Identifier: BSD-3-Clause
#
# Installs the library, the headers, the pkg-config file and the CMake package. Nothing installed holds an absolute
# path, so the prefix can be moved.

include(CMakePackageConfigHelpers)
set(package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/attn")

set(libraries attn)
if(ATTN_BUILD_STATIC)
  list(APPEND libraries attn_static)
endif()
install(TARGETS ${libraries} EXPORT attn
        LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}" ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}"
        INCLUDES DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
install(DIRECTORY "${PROJECT_SOURCE_DIR}/include/attn" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}"
        FILES_MATCHING PATTERN "*.h" PATTERN "*.hpp")
install(EXPORT attn NAMESPACE attn:: FILE attn-targets.cmake DESTINATION "${package_dir}")

configure_package_config_file("${PROJECT_SOURCE_DIR}/cmake/attn-config.cmake.in"
  "${PROJECT_BINARY_DIR}/attn-config.cmake" INSTALL_DESTINATION "${package_dir}")
# Before 1.0 a minor release may break what is built on the one before.
write_basic_package_version_file("${PROJECT_BINARY_DIR}/attn-config-version.cmake" COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/attn-config.cmake" "${PROJECT_BINARY_DIR}/attn-config-version.cmake"
  "${PROJECT_SOURCE_DIR}/cmake/FindCBLAS.cmake" DESTINATION "${package_dir}")

# ${pcfiledir} is where attn.pc lies; the prefix is found from there, so that it can be moved. Not so in /usr, where
# pkg-config must recognise the system's directories by their names, or where directories are given absolutely.
if(CMAKE_INSTALL_PREFIX STREQUAL "/usr" OR IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}" OR IS_ABSOLUTE "${CMAKE_INSTALL_INCLUDEDIR}")
  set(pc_prefix "${CMAKE_INSTALL_PREFIX}")
  set(pc_libdir "${CMAKE_INSTALL_FULL_LIBDIR}")
  set(pc_includedir "${CMAKE_INSTALL_FULL_INCLUDEDIR}")
else()
  file(RELATIVE_PATH pc_to_prefix "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")
  string(REGEX REPLACE "/$" "" pc_to_prefix "${pc_to_prefix}")
  set(pc_prefix "\${pcfiledir}/${pc_to_prefix}")
  set(pc_libdir "\${prefix}/${CMAKE_INSTALL_LIBDIR}")
  set(pc_includedir "\${prefix}/${CMAKE_INSTALL_INCLUDEDIR}")
endif()
configure_file("${PROJECT_SOURCE_DIR}/pkgconfig/attn.pc.in" "${PROJECT_BINARY_DIR}/attn.pc" @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/attn.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
