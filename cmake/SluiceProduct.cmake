# What users get: libsluice.a (all rooms in one archive), its headers and pkg-config file, the program, and Nano.
# The program sees include/ alone, so that it cannot use anything that other programs could not.

set(objects "")
set(libraries "")
foreach(room IN LISTS SLUICE_ROOMS)
    get_target_property(type sluice_${room} TYPE)
    if(type STREQUAL "STATIC_LIBRARY")
        list(APPEND objects "$<TARGET_OBJECTS:sluice_${room}>")
    endif()
    list(APPEND libraries ${sluice_room_libraries_${room}})
endforeach()
list(REMOVE_DUPLICATES libraries)

add_library(libsluice STATIC ${objects})
set_target_properties(libsluice PROPERTIES OUTPUT_NAME sluice LINKER_LANGUAGE C)
target_include_directories(libsluice INTERFACE "${PROJECT_SOURCE_DIR}/include")
target_link_libraries(libsluice INTERFACE ${libraries})

file(GLOB sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/programs/*.c"
     "${PROJECT_SOURCE_DIR}/programs/server/*.c")
if(sources)
    add_executable(sluice ${sources})
    set_target_properties(sluice PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}")
    target_link_libraries(sluice PRIVATE libsluice sluice_flags sluice_dep_jansson sluice_dep_microhttpd)
    target_include_directories(sluice PRIVATE "${PROJECT_SOURCE_DIR}/include" "${PROJECT_SOURCE_DIR}/programs")
    # Where Nano is: in the checkout that the program was built from, else where it was installed.
    target_compile_definitions(sluice PRIVATE
        SLUICE_VERSION="${PROJECT_VERSION}"
        SLUICE_SOURCE_DIR="${PROJECT_SOURCE_DIR}"
        SLUICE_DATA_DIR="${CMAKE_INSTALL_FULL_DATADIR}/sluice")
    if(TARGET sluice_dep_edit)
        target_link_libraries(sluice PRIVATE sluice_dep_edit)
        target_compile_definitions(sluice PRIVATE SLUICE_HAVE_EDIT=1)
    endif()
    if(TARGET sluice_dep_curl)
        target_link_libraries(sluice PRIVATE sluice_dep_curl)
        target_compile_definitions(sluice PRIVATE SLUICE_HAVE_CURL=1)
    endif()
    install(TARGETS sluice RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")
    install(FILES "${PROJECT_SOURCE_DIR}/doc/sluice.1" DESTINATION "${CMAKE_INSTALL_MANDIR}/man1")
    configure_file("${PROJECT_SOURCE_DIR}/cmake/sluice.service.in" "${PROJECT_BINARY_DIR}/sluice.service" @ONLY)
    install(FILES "${PROJECT_BINARY_DIR}/sluice.service" DESTINATION "lib/systemd/system")
endif()

# The examples of the documentation: built against include/ and the merged library, as a user would, and run as tests.
file(GLOB sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/doc/examples/*.c")
foreach(source IN LISTS sources)
    get_filename_component(name "${source}" NAME_WE)
    add_executable(example_${name} "${source}")
    target_link_libraries(example_${name} PRIVATE libsluice sluice_flags)
    list(APPEND SLUICE_EXAMPLES ${name})
endforeach()

set(SLUICE_PC_REQUIRES "jansson libpcre2-8 libutf8proc zlib")
if(SLUICE_HAVE_URING)
    string(APPEND SLUICE_PC_REQUIRES " liburing")
endif()
# From the file's own folder, so that an installed tree may be moved.
file(RELATIVE_PATH SLUICE_PC_PREFIX "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")
configure_file("${PROJECT_SOURCE_DIR}/cmake/sluice.pc.in" "${PROJECT_BINARY_DIR}/sluice.pc" @ONLY)

install(TARGETS libsluice ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}")
install(DIRECTORY "${PROJECT_SOURCE_DIR}/include/sluice" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}"
        FILES_MATCHING PATTERN "*.h")
install(FILES "${PROJECT_BINARY_DIR}/sluice.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
install(DIRECTORY "${PROJECT_SOURCE_DIR}/models/nano" DESTINATION "${CMAKE_INSTALL_DATADIR}/sluice/models")
