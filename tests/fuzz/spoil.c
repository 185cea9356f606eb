/* SPDX-License-Identifier: BSD-3-Clause
 *
 * spoil.c: calls that must be refused (spoil.h).
 */
#include "spoil.h"

#include <math.h>
#include <string.h>

/* One input or output of the call, by number, copied so that it may be spoilt. */
static const attn_tensor **slot(attn_forward_args *args, unsigned which)
{
    const attn_tensor **all[] = {&args->query,  &args->key,         &args->value,      &args->mask,
                                 &args->bias,   &args->key_lengths, &args->context,    &args->weights,
                                 &args->scores, &args->logsumexp,   &args->key_scales, &args->value_scales};
    return all[which % (args->key_scales != NULL || args->value_scales != NULL ? 12 : 10)];
}

/* Makes args wrong; false where this way does not apply. `tensors` is room for what is changed. */
static bool spoil(const struct problem *p, attn_forward_args *args, unsigned way, struct bytes *b, attn_tensor *tensors)
{
    const attn_tensor **of = NULL;
    switch (way % 16) {
    case 0: /* any tensor, in any way */
    case 1:
    case 2:
    case 3:
        of = slot(args, take(b));
        if (*of == NULL) return false;
        tensors[0] = **of;
        *of = &tensors[0];
        /* Over integers a query may be of halves. */
        return spoil_tensor_of(p->has_integers ? ATTN_F16 : p->scene.dtype, &tensors[0], take(b));
    case 4:
        args->struct_size = take(b) % 2 == 0 ? 0 : args->struct_size - 1;
        return true;
    case 5:
        args->query = NULL;
        return true;
    case 6:
        if (args->key == NULL) return false;
        args->key = args->value = NULL;
        return true;
    case 7:
        args->context = args->weights = args->scores = args->logsumexp = NULL;
        return true;
    case 8: { /* one more of some dimension of an output, which then fits nothing */
        of = slot(args, 6 + take(b) % 4);
        if (*of == NULL) return false;
        tensors[0] = **of;
        *of = &tensors[0];
        tensors[0].shape[take(b) % (unsigned)tensors[0].ndim] += 1 + take(b) % 3;
        return true;
    }
    case 9: { /* an output on an input, or on another output */
        of = slot(args, 6 + take(b) % 4);
        const attn_tensor *on = *slot(args, take(b));
        if (*of == NULL || on == NULL || on == *of || tensor_count(on) == 0 || tensor_count(*of) == 0) return false;
        if (((uintptr_t)on->data & 7) != 0) return false;
        tensors[0] = **of;
        *of = &tensors[0];
        tensors[0].data = on->data;
        return true;
    }
    case 10: { /* elements of an output on each other */
        of = slot(args, 6 + take(b) % 4);
        if (*of == NULL || tensor_count(*of) == 0) return false;
        tensors[0] = **of;
        *of = &tensors[0];
        const unsigned d = take(b) % (unsigned)tensors[0].ndim;
        if (tensors[0].shape[d] < 2) return false;
        tensors[0].stride[d] = 0;
        return true;
    }
    case 11: { /* valid keys that are not there */
        static int64_t lengths[2];
        if (args->key_lengths == NULL || p->shape[0] == 0) return false;
        lengths[0] = lengths[1] = 0;
        lengths[p->shape[0] - 1] = take(b) % 2 == 0 ? p->shape[3] + 1 : -1;
        tensors[0] = (attn_tensor){lengths, ATTN_I64, 1, {p->shape[0]}, {1}};
        args->key_lengths = &tensors[0];
        return true;
    }
    case 12: {
        static const double wrong[] = {1.0, -0.25, NAN, 2.0, INFINITY};
        args->dropout = wrong[take(b) % 5];
        return true;
    }
    case 13:
        if (args->scores == NULL) return false;
        args->scores_stage = take(b) % 2 == 0 ? 4 : -1;
        return true;
    case 14:
        args->query_start = take(b) % 2 == 0 ? INT64_MAX : -((int64_t)1 << 60) - 1;
        return true;
    default: /* a query of other heads, dimensions or sequences than the rest */
        if (args->weights == NULL && args->context == NULL) return false;
        tensors[0] = *args->query;
        args->query = &tensors[0];
        tensors[0].shape[take(b) % (unsigned)tensors[0].ndim] += 1;
        return true;
    }
}

static void check_refused(const struct forward_call *call, attn_status status, const char *what, unsigned way)
{
    CHECK(status != ATTN_OK, "%s succeeded though spoilt in way %u", what, way);
    fuzz_check_sentence(status);
    for (int o = 0; o < OUTPUTS; o++) {
        CHECK(!(call->wanted >> o & 1) || fuzz_untouched(&call->outputs[o]), "%s, refused, has written", what);
    }
}

void spoil_forward(struct problem *p, const struct forward_call *call, struct bytes *b)
{
    struct forward_call other = forward_outputs_again(call);
    attn_tensor tensors[2];
    const unsigned way = take(b);
    size_t bytes = 12345;
    forward_bind(&other);
    const attn_mechanism *mechanism = problem_mechanism(p, call->engine);

    if (way >= 240) { /* a workspace of one byte less than is needed */
        OK(attn_forward_workspace(mechanism, &other.args, &bytes));
        if (bytes == 0 || bytes > 1 << 18) return;
        other.args.workspace = fuzz_block(b, bytes - 1);
        other.args.workspace_size = bytes - 1;
        check_refused(&other, attn_forward(mechanism, &other.args), "attn_forward", way);
        return;
    }
    if (!spoil(p, &other.args, way, b, tensors)) return;
    const attn_status status = attn_forward(mechanism, &other.args);
    check_refused(&other, status, "attn_forward", way % 16);
    const attn_status workspace_status = attn_forward_workspace(mechanism, &other.args, &bytes);
    CHECK(workspace_status == status, "%s, but for the workspace %s", attn_status_string(status),
          attn_status_string(workspace_status));
    CHECK(bytes == 12345, "a refused call has written a size");
}
