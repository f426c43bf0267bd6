# How test, fuzz and benchmark programs are made. Each links the rooms whose headers it includes and no others,
# so that a test of one room builds while another room is broken.

# The libraries behind the #include lines of some files: "base/x.h" is room base, "support/x.h" the tests' own helpers,
# "sluice/status.h" room base, "sluice/text.h" room tokenizer, "sluice/grammar.h" room grammar, any other "sluice/x.h"
# the engine, <jansson.h> jansson.
function(sluice_libraries_of out)
    set(libraries "")
    foreach(file IN LISTS ARGN)
        set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${file}")
        file(STRINGS "${file}" lines REGEX "^#include ")
        foreach(line IN LISTS lines)
            if(line MATCHES "\"sluice/status.h\"")
                set(library sluice_base)
            elseif(line MATCHES "\"sluice/text.h\"")
                set(library sluice_tokenizer)
            elseif(line MATCHES "\"sluice/grammar.h\"")
                set(library sluice_grammar)
            elseif(line MATCHES "\"sluice/convert.h\"")
                set(library sluice_format)
            elseif(line MATCHES "\"sluice/(eval|benchmarks).h\"")
                set(library sluice_eval)
            elseif(line MATCHES "\"sluice/train.h\"")
                set(library sluice_train)
            elseif(line MATCHES "\"sluice/")
                set(library sluice_engine)
            elseif(line MATCHES "\"support/")
                set(library sluice_test_support)
            elseif(line MATCHES "\"([a-z0-9_]+)/")
                set(library sluice_${CMAKE_MATCH_1})
            elseif(line MATCHES "<jansson.h>")
                set(library sluice_dep_jansson)
            else()
                continue()
            endif()
            list(APPEND libraries ${library})
        endforeach()
    endforeach()
    list(REMOVE_DUPLICATES libraries)
    set(found "")
    foreach(library IN LISTS libraries)
        if(TARGET ${library})
            list(APPEND found ${library})
        endif()
    endforeach()
    set(${out} ${found} PARENT_SCOPE)
endfunction()

# An executable from sources, with the rooms that they include and extra libraries.
function(sluice_add_checker target)
    cmake_parse_arguments(arg "" "" "SOURCES;LIBRARIES" ${ARGN})
    add_executable(${target} ${arg_SOURCES})
    sluice_libraries_of(libraries ${arg_SOURCES})
    target_link_libraries(${target} PRIVATE ${libraries} ${arg_LIBRARIES} sluice_flags m)
    target_include_directories(${target} PRIVATE "${PROJECT_SOURCE_DIR}/tests" "${PROJECT_SOURCE_DIR}/src"
                               "${PROJECT_SOURCE_DIR}/include")
    target_compile_definitions(${target} PRIVATE SLUICE_SOURCE_DIR="${PROJECT_SOURCE_DIR}"
                               SLUICE_SHARED="${SLUICE_SHARED}")
endfunction()

# Registers a test: status 77 means skipped (tools/run-ctest.sh lists what was skipped and why).
# Skipping is never recognised by output, which would hide a failure beside a skipped case.
function(sluice_register_test name)
    cmake_parse_arguments(arg "" "TIMEOUT" "COMMAND;ENVIRONMENT;LABELS" ${ARGN})
    if(NOT arg_TIMEOUT)
        set(arg_TIMEOUT 300)
    endif()
    add_test(NAME ${name} COMMAND ${arg_COMMAND} WORKING_DIRECTORY "${PROJECT_BINARY_DIR}")
    set_tests_properties(${name} PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT ${arg_TIMEOUT}
        LABELS "${arg_LABELS}"
        ENVIRONMENT "SLUICE_SOURCE_DIR=${PROJECT_SOURCE_DIR};SLUICE_SHARED=${SLUICE_SHARED};XDG_CACHE_HOME=${PROJECT_BINARY_DIR}/cache;${arg_ENVIRONMENT}")
endfunction()
