# SPDX-License-Identifier: BSD-3-Clause
#
# Refuses a BLAS that takes 64-bit integers (ILP64) where its header, cblas.h, says that they have 32 bits: everything would
# build, and every product would be wrong. The library asks again when an engine is made, since the BLAS that is loaded
# then may be another.

include(CheckCSourceRuns)

# A cross build has nothing to run this on. What was found out about one BLAS says nothing about another.
if(NOT CMAKE_CROSSCOMPILING)
  set(blas "${CBLAS_LIBRARY};${BLAS_LIBRARIES};${CBLAS_INCLUDE_DIR}")
  if(NOT "${blas}" STREQUAL "${ATTN_CHECKED_BLAS}")
    unset(ATTN_BLAS_TAKES_OUR_INTEGERS CACHE)
    set(ATTN_CHECKED_BLAS "${blas}" CACHE INTERNAL "The BLAS that ATTN_BLAS_TAKES_OUR_INTEGERS is about")
  endif()
  set(CMAKE_REQUIRED_INCLUDES "${PROJECT_SOURCE_DIR}/src")
  set(CMAKE_REQUIRED_LIBRARIES CBLAS::CBLAS)
  check_c_source_runs("
    #include \"runtime/blas_integers.c\"
    int main(void) { return attn_i_blas_takes_our_integers() ? 0 : 64; }" ATTN_BLAS_TAKES_OUR_INTEGERS)
  unset(CMAKE_REQUIRED_INCLUDES)
  unset(CMAKE_REQUIRED_LIBRARIES)
  # Any other status says nothing about integers: that the program could not start, for example.
  if(ATTN_BLAS_TAKES_OUR_INTEGERS_EXITCODE EQUAL 64)
    list(JOIN BLAS_LIBRARIES " " blas)
    message(FATAL_ERROR "The BLAS ${blas} takes 64-bit integers (ILP64), but ${CBLAS_INCLUDE_DIR}/cblas.h declares 32-bit "
      "ones. Name the BLAS with 32-bit integers in -DBLAS_LIBRARIES=, or in -DCBLAS_INCLUDE_DIR= the folder of the header that "
      "belongs to this one.")
  endif()
endif()
