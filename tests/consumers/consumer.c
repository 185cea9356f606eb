/* SPDX-License-Identifier: BSD-3-Clause
 *
 * consumer.c: the least program that uses the installed library; C11 and C++17 alike. */
#include <attn/attn.h>

#include <stdio.h>

int main(void)
{
    float data[4] = {1, 2, 3, 4}, context[4];
    const int64_t shape[2] = {2, 2};
    attn_tensor in, out;
    attn_engine *engine;
    attn_mechanism *mechanism;
    if (attn_tensor_init(&in, data, ATTN_F32, 2, shape) != ATTN_OK) return 1;
    if (attn_tensor_init(&out, context, ATTN_F32, 2, shape) != ATTN_OK) return 1;
    if (attn_engine_create(NULL, &engine) != ATTN_OK) return 1;
    if (attn_mechanism_create_scaled_dot(engine, &mechanism) != ATTN_OK) return 1;
    attn_forward_args args = ATTN_FORWARD_ARGS_INIT;
    args.query = args.key = &in;
    args.context = &out;
    attn_status status = attn_forward(mechanism, &args);
    attn_mechanism_destroy(mechanism);
    attn_engine_destroy(engine);
    if (status != ATTN_OK) return 1;
    printf("attn %s: %.4f %.4f %.4f %.4f\n", attn_version(), (double)context[0], (double)context[1], (double)context[2],
           (double)context[3]);
    return 0;
}
