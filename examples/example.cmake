# SPDX-License-Identifier: BSD-3-Clause
#
# What the examples that are projects of their own begin with: the installed library, the BLAS by the module that comes with
# that, and example_options, which every program is compiled and linked with.
if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Release, Debug, RelWithDebInfo or MinSizeRel" FORCE)
endif()
option(EXAMPLE_TESTS "Build the tests; they need cmocka" OFF)
option(EXAMPLE_WERROR "Treat warnings as errors" OFF)

find_package(attn 0.1 CONFIG REQUIRED)
list(APPEND CMAKE_MODULE_PATH "${attn_DIR}")
find_package(CBLAS REQUIRED)
find_package(Threads REQUIRED)
if(EXAMPLE_TESTS)
  enable_testing()
  find_package(PkgConfig REQUIRED)
  pkg_check_modules(CMOCKA REQUIRED IMPORTED_TARGET cmocka)
endif()

add_library(example_options INTERFACE)
target_compile_definitions(example_options INTERFACE _POSIX_C_SOURCE=200809L _DEFAULT_SOURCE)
target_compile_features(example_options INTERFACE c_std_11)
target_compile_options(example_options INTERFACE -fno-math-errno -fopenmp-simd -Wall -Wextra -Wshadow -Wconversion
                       -Wstrict-prototypes -Wmissing-prototypes)
# Of loops that it leaves as they are Clang warns where it is asked for vectors.
if(CMAKE_C_COMPILER_ID MATCHES "Clang")
  target_compile_options(example_options INTERFACE -Wno-pass-failed)
endif()
if(EXAMPLE_WERROR)
  target_compile_options(example_options INTERFACE -Werror)
endif()
target_include_directories(example_options INTERFACE "${CMAKE_CURRENT_SOURCE_DIR}")
target_link_libraries(example_options INTERFACE attn::attn CBLAS::CBLAS Threads::Threads m)
