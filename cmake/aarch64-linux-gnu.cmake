# Cross build for aarch64 with Debian's compiler; what it builds is run by qemu-user.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
# Static, so that the emulator needs no arm64 system libraries beside it.
set(CMAKE_EXE_LINKER_FLAGS_INIT -static)
find_program(SLUICE_QEMU_AARCH64 NAMES qemu-aarch64-static qemu-aarch64)
if(SLUICE_QEMU_AARCH64 AND NOT CMAKE_HOST_SYSTEM_PROCESSOR STREQUAL "aarch64")
    set(CMAKE_CROSSCOMPILING_EMULATOR "${SLUICE_QEMU_AARCH64};-cpu;max")
endif()
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
