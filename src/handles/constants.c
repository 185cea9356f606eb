/* SPDX-License-Identifier: BSD-3-Clause
 *
 * handles/constants.c: the header's constants by name, for languages that load the library without its header. */
#include "handles/status.h"

#include <string.h>

#define CONSTANT(name)                                                                                                 \
    {                                                                                                                  \
#name, name                                                                                                    \
    }
#define SIZEOF(type)                                                                                                   \
    {                                                                                                                  \
        "sizeof " #type, (int64_t)sizeof(type)                                                                         \
    }

static const struct {
    const char *name;
    int64_t value;
} constants[] = {
    CONSTANT(ATTN_VERSION_MAJOR),
    CONSTANT(ATTN_VERSION_MINOR),
    CONSTANT(ATTN_VERSION_PATCH),
    CONSTANT(ATTN_ABI_VERSION),
    CONSTANT(ATTN_OK),
    CONSTANT(ATTN_ERR_ARGUMENT),
    CONSTANT(ATTN_ERR_STRUCT_SIZE),
    CONSTANT(ATTN_ERR_SHAPE),
    CONSTANT(ATTN_ERR_DTYPE),
    CONSTANT(ATTN_ERR_OVERLAP),
    CONSTANT(ATTN_ERR_OVERFLOW),
    CONSTANT(ATTN_ERR_PARAMETER),
    CONSTANT(ATTN_ERR_BUFFER),
    CONSTANT(ATTN_ERR_NOMEM),
    CONSTANT(ATTN_ERR_BACKEND),
    CONSTANT(ATTN_ERR_UNSUPPORTED),
    CONSTANT(ATTN_F32),
    CONSTANT(ATTN_F64),
    CONSTANT(ATTN_F16),
    CONSTANT(ATTN_BF16),
    CONSTANT(ATTN_I8),
    CONSTANT(ATTN_BOOL),
    CONSTANT(ATTN_I32),
    CONSTANT(ATTN_I64),
    CONSTANT(ATTN_VIEW_BEYOND),
    CONSTANT(ATTN_VIEW_STRIDES),
    CONSTANT(ATTN_WAY_AUTOMATIC),
    CONSTANT(ATTN_WAY_BLAS),
    CONSTANT(ATTN_WAY_TILES),
    CONSTANT(ATTN_LOG_INFO),
    CONSTANT(ATTN_LOG_WARNING),
    CONSTANT(ATTN_ADDITIVE_BIAS),
    CONSTANT(ATTN_ADDITIVE_NORMALISED),
    CONSTANT(ATTN_ADDITIVE_QUERY_PROJECTED),
    CONSTANT(ATTN_ADDITIVE_KEY_PROJECTED),
    CONSTANT(ATTN_MEMORY_FIXED),
    CONSTANT(ATTN_MEMORY_KEYS_ALONE),
    CONSTANT(ATTN_MULTIHEAD_BIAS),
    CONSTANT(ATTN_MULTIHEAD_PACKED),
    CONSTANT(ATTN_SOFTMAX),
    CONSTANT(ATTN_HARDMAX),
    CONSTANT(ATTN_PRECISION_EXACT),
    CONSTANT(ATTN_PRECISION_FAST),
    CONSTANT(ATTN_ALIGN_NONE),
    CONSTANT(ATTN_ALIGN_TOP_LEFT),
    CONSTANT(ATTN_ALIGN_BOTTOM_RIGHT),
    CONSTANT(ATTN_SCORES_RAW),
    CONSTANT(ATTN_SCORES_CAPPED),
    CONSTANT(ATTN_SCORES_MASKED),
    CONSTANT(ATTN_SCORES_WEIGHTS),
    CONSTANT(ATTN_RELATIVE_NONE),
    CONSTANT(ATTN_RELATIVE_CLIPPED),
    CONSTANT(ATTN_RELATIVE_T5),
    CONSTANT(ATTN_RELATIVE_T5_CAUSAL),
    CONSTANT(ATTN_LOCAL_NONE),
    CONSTANT(ATTN_LOCAL_MONOTONIC),
    CONSTANT(ATTN_LOCAL_PREDICTIVE),
    CONSTANT(ATTN_LOCAL_PREDICTIVE_FLOOR),
    CONSTANT(ATTN_ROPE_INTERLEAVED),
    CONSTANT(ATTN_ROPE_HALVES),
    SIZEOF(attn_tensor),
    SIZEOF(attn_engine_options),
    SIZEOF(attn_param_info),
    SIZEOF(attn_weights_stats),
    SIZEOF(attn_forward_args),
    SIZEOF(attn_backward_args),
    SIZEOF(attn_memory_options),
    SIZEOF(attn_rope_options),
    SIZEOF(attn_attentional_args),
    SIZEOF(attn_merge_args),
    SIZEOF(attn_pages_append_args),
    SIZEOF(attn_decomposable_args),
    SIZEOF(attn_multihead_options),
    SIZEOF(attn_multihead_args),
    SIZEOF(attn_multihead_backward_args),
};

attn_status attn_constant(const char *name, int64_t *value)
{
    if (name == NULL || value == NULL) {
        return attn_i_fail(ATTN_ERR_ARGUMENT, "attn_constant: %s is NULL", name == NULL ? "name" : "value");
    }
    for (size_t i = 0; i < sizeof constants / sizeof *constants; i++) {
        if (strcmp(name, constants[i].name) == 0) {
            *value = constants[i].value;
            return ATTN_OK;
        }
    }
    return attn_i_fail(ATTN_ERR_ARGUMENT, "attn_constant: there is no \"%.60s\"", name);
}
