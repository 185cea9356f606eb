# SPDX-License-Identifier: BSD-3-Clause
#
# The parts that need more than a C compiler and a BLAS: the command and the tests. Each has an option that is ON, OFF or
# AUTO: built where its needs are there, else left out with a line that says so. Afterwards the variables
# ATTN_BUILD_TOOLS and ATTN_BUILD_TESTS are true or false.

set(default OFF)
if(attn_is_top_level)
  set(default AUTO)
endif()
set(ATTN_BUILD_TOOLS ${default} CACHE STRING "Build the command attn: ON, OFF, or AUTO, where Pango with cairo, and libunistring are")
if(DEFINED BUILD_TESTING AND NOT BUILD_TESTING) # CMake's own word for it, which packagers know
  set(default OFF)
endif()
set(ATTN_BUILD_TESTS ${default} CACHE STRING "Build the tests: ON, OFF, or AUTO, where cmocka is")
set_property(CACHE ATTN_BUILD_TOOLS ATTN_BUILD_TESTS PROPERTY STRINGS AUTO ON OFF)

# attn_decide(option part found what package [found what package...]): turns the option into ON or OFF in the caller's scope.
# Of each need there is the variable that is true where it was found, what it is, and Debian's package.
function(attn_decide option part)
  set(missing "")
  while(ARGN)
    list(POP_FRONT ARGN found what package)
    if(NOT ${found})
      list(APPEND missing "${what} (${package})")
    endif()
  endwhile()
  list(JOIN missing ", " missing)
  if(NOT missing)
    set(${option} ON PARENT_SCOPE)
  elseif(${option} STREQUAL "AUTO")
    message(STATUS "Left out: ${part}, for want of ${missing}")
    set(${option} OFF PARENT_SCOPE)
  else()
    message(FATAL_ERROR "${part} cannot be built for want of ${missing}. Install that (the packages' names are Debian's), or "
      "build without: -D${option}=OFF")
  endif()
endfunction()

if(ATTN_BUILD_TOOLS OR ATTN_BUILD_TESTS)
  find_package(PkgConfig QUIET)
endif()
if(ATTN_BUILD_TOOLS)
  if(PKG_CONFIG_FOUND)
    pkg_check_modules(PANGOCAIRO QUIET IMPORTED_TARGET pangocairo)
  endif()
  find_path(UNISTRING_INCLUDE_DIR unistr.h)
  find_library(UNISTRING_LIBRARY unistring)
  attn_decide(ATTN_BUILD_TOOLS "The command attn"
    PKG_CONFIG_FOUND pkg-config pkgconf PANGOCAIRO_FOUND pangocairo libpango1.0-dev
    UNISTRING_INCLUDE_DIR unistr.h libunistring-dev UNISTRING_LIBRARY libunistring libunistring-dev)
endif()
if(ATTN_BUILD_TESTS)
  if(PKG_CONFIG_FOUND)
    pkg_check_modules(CMOCKA QUIET IMPORTED_TARGET cmocka)
  endif()
  attn_decide(ATTN_BUILD_TESTS "The test suite" PKG_CONFIG_FOUND pkg-config pkgconf CMOCKA_FOUND cmocka libcmocka-dev)
endif()
