/* SPDX-License-Identifier: BSD-3-Clause
 *
 * npy.c: reading and writing .npy files. Memory is asked for as data arrives: a header that claims more than the file
 * holds costs nothing.
 */
#include "npy.h"

#include "fail.h"
#include "input.h"
#include "npy_header.h"
#include "output.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* "\x93NUMPY", major, minor; then the header's length, 2 bytes in format 1.0 and 4 later, little-endian. */
static const unsigned char magic[6] = {0x93, 'N', 'U', 'M', 'P', 'Y'};
enum { PREAMBLE = 8, LONGEST_HEADER = 40000, ALIGNMENT = 64 };

/* Reads exactly bytes bytes. */
static void *read_whole(const input *in, size_t bytes, const char *what)
{
    size_t got;
    void *data = input_read(in, bytes, &got);
    if (got != bytes) fail("%s ends within its %s: %zu bytes of %zu are there", in->name, what, got, bytes);
    return data;
}

static npy_header read_header(const input *in, attn_dtype u2)
{
    unsigned char *preamble = read_whole(in, PREAMBLE, ".npy preamble");
    if (memcmp(preamble, magic, sizeof magic) != 0) fail("%s is not a .npy file", in->name);
    unsigned major = preamble[6], minor = preamble[7];
    if (major < 1 || major > 3 || minor != 0) {
        fail("%s has .npy format %u.%u; attn reads 1.0, 2.0 and 3.0", in->name, major, minor);
    }
    size_t length_bytes = major == 1 ? 2 : 4, length = 0;
    unsigned char *digits = read_whole(in, length_bytes, ".npy preamble");
    for (size_t i = length_bytes; i-- > 0;) length = length << 8 | digits[i];
    if (length > LONGEST_HEADER) {
        fail("%s has a .npy header of %zu bytes; attn reads at most %d", in->name, length, LONGEST_HEADER);
    }
    char *text = read_whole(in, length, ".npy header");
    npy_header header = npy_parse_header(in->name, major, text, length, u2);
    free(preamble);
    free(digits);
    free(text);
    return header;
}

static void swap_bytes(unsigned char *data, size_t bytes, size_t element)
{
    for (unsigned char *end = data + bytes; data < end; data += element) {
        for (size_t i = 0; i < element / 2; ++i) {
            unsigned char byte = data[i];
            data[i] = data[element - 1 - i];
            data[element - 1 - i] = byte;
        }
    }
}

attn_tensor npy_read(const char *path, attn_dtype u2)
{
    input in = input_open(path);
    npy_header header = read_header(&in, u2);
    unsigned char *data = read_whole(&in, header.payload_bytes, "array");
    if (fgetc(in.stream) != EOF) fail("%s goes on after its array; attn reads files of one array", in.name);
    input_close(&in);
    if (header.swapped) swap_bytes(data, header.payload_bytes, header.element_bytes);

    attn_tensor tensor;
    require(attn_tensor_init(&tensor, data, header.dtype, header.ndim, header.shape));
    if (header.fortran_order) {
        int64_t stride = 1;
        for (int32_t i = 0; i < tensor.ndim; ++i) {
            tensor.stride[i] = stride;
            if (tensor.shape[i] != 0) stride *= tensor.shape[i]; /* cannot overflow: the header was measured so */
        }
    }
    return tensor;
}

static size_t elements_of(int32_t ndim, const int64_t *shape)
{
    size_t elements = 1;
    for (int32_t i = 0; i < ndim; ++i) {
        size_t dimension = (size_t)shape[i];
        if (dimension != 0 && elements > PTRDIFF_MAX / dimension) fail("an output is too large to be addressed");
        elements *= dimension;
    }
    return elements;
}

attn_tensor npy_create(attn_dtype dtype, int32_t ndim, const int64_t *shape)
{
    attn_tensor tensor;
    void *data = allocate(elements_of(ndim, shape), npy_element_bytes(dtype));
    require(attn_tensor_init(&tensor, data, dtype, ndim, shape));
    return tensor;
}

void npy_write(FILE *stream, const attn_tensor *tensor)
{
    char order = npy_machine_is_little_endian() ? '<' : '>';
    char shape[4 * 24] = "";
    size_t used = 0;
    for (int32_t i = 0; i < tensor->ndim; ++i) {
        used += (size_t)snprintf(shape + used, sizeof shape - used, "%s%lld%s", i > 0 ? " " : "",
                                 (long long)tensor->shape[i], i + 1 < tensor->ndim || i == 0 ? "," : "");
    }
    char text[4 * ALIGNMENT];
    size_t element = npy_element_bytes(tensor->dtype);
    char letter = tensor->dtype == ATTN_I64 ? 'i' : tensor->dtype == ATTN_BF16 ? 'V' : 'f';
    int length = snprintf(text, sizeof text, "{'descr': '%c%c%zu', 'fortran_order': False, 'shape': (%s), }", order,
                          letter, element, shape);
    /* Spaces and a newline bring the array to a multiple of 64 bytes. */
    size_t start = PREAMBLE + 2, total = start + (size_t)length + 1;
    size_t header = (total + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT - start;
    memset(text + length, ' ', header - (size_t)length);
    text[header - 1] = '\n';
    const unsigned char preamble[4] = {1, 0, (unsigned char)(header & 0xff), (unsigned char)(header >> 8)};
    output_write(stream, magic, sizeof magic);
    output_write(stream, preamble, sizeof preamble);
    output_write(stream, text, header);
    output_write(stream, tensor->data, elements_of(tensor->ndim, tensor->shape) * element);
}
