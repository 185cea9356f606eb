# SPDX-License-Identifier: BSD-3-Clause
#
# Finds a BLAS with the cblas interface. Defines the target CBLAS::CBLAS, CBLAS_LINK (what a linker is told by hand) and
# CBLAS_IS_OPENBLAS.
#
# OpenBLAS is looked for unless BLA_VENDOR says otherwise; BLA_VENDOR=Generic links what the system calls libblas,
# which on Debian is the alternative libblas.so.3.

if(NOT DEFINED BLA_VENDOR)
  set(BLA_VENDOR OpenBLAS)
endif()
find_package(BLAS QUIET)
find_path(CBLAS_INCLUDE_DIR cblas.h PATH_SUFFIXES openblas)

if(BLAS_FOUND)
  include(CheckFunctionExists)
  set(CMAKE_REQUIRED_LIBRARIES BLAS::BLAS)
  check_function_exists(cblas_sgemm CBLAS_IN_BLAS)
  check_function_exists(openblas_get_corename CBLAS_TELLS_OPENBLAS)
  unset(CMAKE_REQUIRED_LIBRARIES)
  if(NOT CBLAS_IN_BLAS)
    find_library(CBLAS_LIBRARY cblas)
  endif()
endif()

set(CBLAS_WANTED BLAS_LIBRARIES CBLAS_INCLUDE_DIR)
if(NOT CBLAS_IN_BLAS)
  list(APPEND CBLAS_WANTED CBLAS_LIBRARY)
endif()
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(CBLAS REQUIRED_VARS ${CBLAS_WANTED} REASON_FAILURE_MESSAGE
  "a BLAS with the cblas interface is wanted, here BLA_VENDOR=${BLA_VENDOR}. OpenBLAS is in Debian's libopenblas-dev. \
BLA_VENDOR=Generic takes any, BLAS_LIBRARIES and CBLAS_INCLUDE_DIR name one by hand")

# Linked by its own name it cannot turn out to be another BLAS when the program starts.
if(BLA_VENDOR STREQUAL "OpenBLAS" AND CBLAS_TELLS_OPENBLAS)
  set(CBLAS_IS_OPENBLAS ON)
endif()

if(CBLAS_FOUND AND NOT TARGET CBLAS::CBLAS)
  add_library(CBLAS::CBLAS INTERFACE IMPORTED)
  target_link_libraries(CBLAS::CBLAS INTERFACE ${CBLAS_LIBRARY} BLAS::BLAS)
  target_include_directories(CBLAS::CBLAS INTERFACE "${CBLAS_INCLUDE_DIR}")
  # By name where the linker finds it by that: lib, the name, .so or .a. What has a version behind that is named in full.
  set(CBLAS_LINK "")
  foreach(library IN LISTS CBLAS_LIBRARY BLAS_LIBRARIES)
    if(IS_ABSOLUTE "${library}")
      get_filename_component(directory "${library}" DIRECTORY)
      get_filename_component(name "${library}" NAME)
      if(NOT directory IN_LIST CMAKE_C_IMPLICIT_LINK_DIRECTORIES)
        list(APPEND CBLAS_LINK "-L${directory}")
      endif()
      if(name MATCHES "^lib(.+)\\.(so|a)$")
        set(library "-l${CMAKE_MATCH_1}")
      else()
        set(library "-l:${name}")
      endif()
    elseif(NOT library MATCHES "^-")
      set(library "-l${library}")
    endif()
    list(APPEND CBLAS_LINK "${library}")
  endforeach()
  list(REMOVE_DUPLICATES CBLAS_LINK)
  list(JOIN CBLAS_LINK " " CBLAS_LINK)
endif()
