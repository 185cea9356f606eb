# SPDX-License-Identifier: BSD-3-Clause
#
# What all C code of this project is compiled with: attn_compile_options(target).

set(attn_sanitizer_flags "")
if(ATTN_SANITIZE)
  set(attn_sanitizer_flags -fsanitize=${ATTN_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
endif()

function(attn_compile_options target)
  set_target_properties(${target} PROPERTIES
    C_STANDARD 11 C_STANDARD_REQUIRED ON C_EXTENSIONS OFF C_VISIBILITY_PRESET hidden)
  target_compile_options(${target} PRIVATE
    -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla
    $<$<BOOL:${ATTN_WERROR}>:-Werror> ${attn_sanitizer_flags}
    $<$<BOOL:${ATTN_COVERAGE}>:--coverage>)
  target_link_options(${target} PRIVATE ${attn_sanitizer_flags} $<$<BOOL:${ATTN_COVERAGE}>:--coverage>)
endfunction()
