# SPDX-License-Identifier: BSD-3-Clause
#
# cmake -D NAME=name -D FROM=file -D TO=file.c -D HEADER=file.h -P embed.cmake: a file as an array of bytes, for ISO C
# promises no string literal above 4095 characters.
file(READ "${FROM}" bytes HEX)
string(REGEX REPLACE "(................................................)" "\\1\n" bytes "${bytes}")
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
get_filename_component(source "${FROM}" NAME)
file(WRITE "${TO}" "/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Made from ${source} by embed.cmake.
 */
#include \"${HEADER}\"

const unsigned char ${NAME}[] = {
${bytes}
};
const size_t ${NAME}_bytes = sizeof ${NAME};
")
