# Headers, library, pkg-config and CMake package: `cmake --install build --prefix P`.
include(CMakePackageConfigHelpers)

install(DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR}/include/dmq
        DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")
install(TARGETS dmq EXPORT dmq LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/dmq)
install(EXPORT dmq NAMESPACE dmq:: FILE dmqTargets.cmake DESTINATION ${package_dir})
configure_package_config_file(${CMAKE_CURRENT_SOURCE_DIR}/dmqConfig.cmake.in
    ${CMAKE_CURRENT_BINARY_DIR}/dmqConfig.cmake INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/dmqConfigVersion.cmake
    VERSION ${PROJECT_VERSION} COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/dmqConfig.cmake
              ${CMAKE_CURRENT_BINARY_DIR}/dmqConfigVersion.cmake DESTINATION ${package_dir})
# The prefix is that of the file's own place, so that an installed tree can be moved.
file(RELATIVE_PATH DMQ_PC_TO_PREFIX "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")
configure_file(${CMAKE_CURRENT_SOURCE_DIR}/dmq.pc.in ${CMAKE_CURRENT_BINARY_DIR}/dmq.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/dmq.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
