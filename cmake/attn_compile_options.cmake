# SPDX-License-Identifier: BSD-3-Clause
#
# What all C code of this project is compiled with: attn_compile_options(target).

# Flags for compiler and linker alike.
set(attn_instrument_flags "")
if(ATTN_SANITIZE)
  list(APPEND attn_instrument_flags -fsanitize=${ATTN_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
endif()
if(ATTN_COVERAGE)
  list(APPEND attn_instrument_flags --coverage -fprofile-update=atomic)
endif()

# What kernels are compiled with beside that. Counters for a fuzzer would make clang take minutes for single files, and
# calls ten times slower; what a kernel is called with is counted where it is called from.
set(attn_kernel_instrument_flags "")
# What counts for a fuzzer counts edges: inputs are choices, which nothing compares with numbers worth knowing, and to hear
# of every comparison costs two thirds of the speed.
set(attn_counting_flags "")
if(ATTN_SANITIZE MATCHES fuzzer)
  list(APPEND attn_kernel_instrument_flags -fno-sanitize=fuzzer-no-link -O2)
  list(APPEND attn_counting_flags -fno-sanitize-coverage=trace-cmp,indirect-calls)
endif()

function(attn_compile_options target)
  set_target_properties(${target} PROPERTIES
    C_STANDARD 11 C_STANDARD_REQUIRED ON C_EXTENSIONS OFF C_VISIBILITY_PRESET hidden)
  target_compile_options(${target} PRIVATE
    -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla
    $<$<BOOL:${ATTN_WERROR}>:-Werror> ${attn_instrument_flags})
  target_link_options(${target} PRIVATE ${attn_instrument_flags})
endfunction()
