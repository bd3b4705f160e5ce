# One static library per folder of the tree, named by its path: libdmq/base -> dmq_base,
# broker/core -> broker_core. A folder without sources yet is a library without contents.
#
#   dmq_layer(<name> <folder> [DEPS lib...])
#
# Sources are all *.c of the folder but main.c. Every layer is position independent, so that
# libdmq.so can be linked from the same objects that the daemons and the simulator link.
function(dmq_layer name folder)
    cmake_parse_arguments(ARG "" "" "DEPS" ${ARGN})
    file(GLOB sources CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/${folder}/*.c")
    list(FILTER sources EXCLUDE REGEX "/main\\.c$")
    if(NOT sources)
        add_library(${name} INTERFACE)
        return()
    endif()
    add_library(${name} STATIC ${sources})
    target_link_libraries(${name} PUBLIC dmq_flags ${ARG_DEPS})
endfunction()

# dmq_tests(<folder> [DEPS lib...]): one cmocka program per tests/unit file, named by its path.
function(dmq_unit_tests folder)
    cmake_parse_arguments(ARG "" "" "DEPS" ${ARGN})
    file(GLOB_RECURSE sources CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/${folder}/test_*.c")
    foreach(source ${sources})
        file(RELATIVE_PATH path "${CMAKE_SOURCE_DIR}/${folder}" "${source}")
        string(REGEX REPLACE "\\.c$" "" path "${path}")
        string(REPLACE "/" "_" target "unit_${path}")
        add_executable(${target} ${source})
        target_link_libraries(${target} PRIVATE ${ARG_DEPS} cmocka)
        add_test(NAME "unit/${path}" COMMAND ${target})
        set_tests_properties("unit/${path}" PROPERTIES TIMEOUT 300)
    endforeach()
endfunction()
