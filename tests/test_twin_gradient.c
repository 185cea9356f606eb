/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_twin_gradient.c: the reference of the gradients (reference/twin_gradient.h) against difference quotients of the
 * reference of the results (reference/twin.h): every score with every modifier, element by element. The library has no
 * part in this.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "reference/twin_gradient.h"
#include "support.h"

/* The modifiers, and what else there is to vary, one bit each. */
enum {
    SCALE = 1,
    SOFTCAP = 2,
    TEMPERATURE = 4,
    BIAS = 8, /* some of them minus infinity */
    ALIBI = 16,
    MASK = 32,
    LENGTHS = 64, /* one of them 0 */
    CAUSAL = 128,
    WINDOW = 256,
    KEYS_ARE_VALUES = 512,
    WITHOUT_W = 1024, /* the rest for additive */
    WITHOUT_U = 2048,
    WITH_B = 4096,
    WITH_G = 8192,
    BITS = 14,
    FOR_ADDITIVE = 15360
};

enum { FLOW_CONTEXT = 1, FLOW_WEIGHTS = 2, FLOW_LOGSUMEXP = 4, ALL_FLOWS = 7 };

enum { B = 2, HQ = 4, HK = 2, TQ = 3, TK = 4, D = 3, DK = 2, DV = 2, A = 3, ROWS = B * HQ * TQ, MOST = 128 };

/* All that a loss depends on, where it can be moved: of gradient g the numbers in of[g]. */
struct subject {
    struct twin_problem p;
    double of[TWIN_GRADIENTS][MOST], d_context[ROWS * D], d_weights[ROWS * TK], d_logsumexp[ROWS];
    unsigned char mask[ROWS * TK];
    int64_t lengths[B];
    struct twin_flow flow;
};

static void create(struct subject *s, enum twin_score score, unsigned has, unsigned flows, uint64_t seed)
{
    struct rng rng = {seed};
    struct twin_problem *p = &s->p;
    const bool dot = score == TWIN_DOT || score == TWIN_SCALED_DOT, hidden = score == TWIN_ADDITIVE;

    memset(s, 0, sizeof *s);
    for (int g = 0; g < TWIN_GRADIENTS; g++) {
        for (int i = 0; i < MOST; i++) s->of[g][i] = rng_normal(&rng);
    }
    *p = (struct twin_problem){.score = score,
                               .batch = B,
                               .query_heads = HQ,
                               .key_heads = HK,
                               .queries = TQ,
                               .keys = TK,
                               .query_dim = D,
                               .key_dim = dot || (has & WITHOUT_U) ? D : DK,
                               .value_dim = DV,
                               .hidden_dim = A};
    p->query = s->of[TWIN_D_QUERY];
    p->key = s->of[TWIN_D_KEY];
    p->value = has & KEYS_ARE_VALUES ? NULL : s->of[TWIN_D_VALUE];
    p->W = dot || (has & WITHOUT_W) ? NULL : s->of[TWIN_D_W];
    p->U = hidden && !(has & WITHOUT_U) ? s->of[TWIN_D_U] : NULL;
    p->v = s->of[TWIN_D_V];
    p->b = has & WITH_B ? s->of[TWIN_D_B] : NULL;
    p->g = has & WITH_G ? s->of[TWIN_D_G] : NULL;
    p->scale_given = has & SCALE;
    p->scale = -0.7;
    p->softcap = has & SOFTCAP ? 1.3 : 0.0;
    p->temperature = has & TEMPERATURE ? 0.6 : 0.0;
    p->bias = has & BIAS ? s->of[TWIN_D_BIAS] : NULL;
    for (int i = 0; i < ROWS * TK; i++) {
        s->mask[i] = rng_chance(&rng, 0.7);
        s->d_weights[i] = rng_normal(&rng);
        if (rng_chance(&rng, 0.2) && has & BIAS) s->of[TWIN_D_BIAS][i] = -INFINITY;
    }
    for (int i = 0; i < ROWS * D; i++) s->d_context[i] = rng_normal(&rng);
    for (int i = 0; i < ROWS; i++) s->d_logsumexp[i] = rng_normal(&rng);
    s->lengths[1] = TK - 1;
    p->mask = has & MASK ? s->mask : NULL;
    p->key_lengths = has & LENGTHS ? s->lengths : NULL;
    p->query_start = 1;
    p->causal = has & CAUSAL ? TWIN_TOP_LEFT : TWIN_NONE;
    p->window = has & WINDOW ? TWIN_BOTTOM_RIGHT : TWIN_NONE;
    p->left = 1;
    p->alibi = has & ALIBI ? TWIN_BOTTOM_RIGHT : TWIN_NONE;
    p->slopes = s->of[TWIN_D_SLOPES];
    s->flow.d_context = flows & FLOW_CONTEXT ? s->d_context : NULL;
    s->flow.d_weights = flows & FLOW_WEIGHTS ? s->d_weights : NULL;
    s->flow.d_logsumexp = flows & FLOW_LOGSUMEXP ? s->d_logsumexp : NULL;
}

static double loss(const struct subject *s)
{
    const int64_t dim = s->p.value ? s->p.value_dim : s->p.key_dim;
    struct twin_result r;
    double sum = 0.0;
    twin_run(&s->p, &r);
    for (int64_t i = 0; i < ROWS * dim && s->flow.d_context; i++) sum += s->d_context[i] * r.context[i];
    for (int64_t i = 0; i < ROWS * TK && s->flow.d_weights; i++) sum += s->d_weights[i] * r.scores[TWIN_WEIGHTS][i];
    for (int64_t i = 0; i < ROWS && s->flow.d_logsumexp; i++) {
        if (r.logsumexp[i] != -INFINITY) sum += s->d_logsumexp[i] * r.logsumexp[i];
    }
    twin_free(&r);
    return sum;
}

/* Four points; the error is about step^4 / 30 times the fifth derivative, and 1e-15 / step by rounding. */
static double slope_of_loss(struct subject *s, double *number)
{
    const double at = *number, step = 1e-3;
    double around[4];
    for (int i = 0; i < 4; i++) {
        *number = at + step * (i < 2 ? i - 2 : i - 1);
        around[i] = loss(s);
    }
    *number = at;
    return (around[0] - 8.0 * around[1] + 8.0 * around[2] - around[3]) / (12.0 * step);
}

static double worst; /* of a test, relative to 1 + |gradient| */
static int64_t not_zero;

static void check(enum twin_score score, unsigned has, unsigned flows, uint64_t seed)
{
    static const char *const names[] = {"query", "key", "value", "bias", "slopes", "W", "U", "v", "b", "g"};
    const double tolerance = 1e-7;
    struct subject s;
    struct twin_result forward;
    struct twin_gradient_result got;
    create(&s, score, has, flows, seed);
    twin_run(&s.p, &forward);
    twin_gradient_run(&s.p, &forward, &s.flow, &got);
    for (int g = 0; g < TWIN_GRADIENTS; g++) {
        assert_in_range(got.count[g], 0, MOST);
        if (g == TWIN_D_BIAS && !s.p.bias) continue;
        for (int64_t i = 0; i < got.count[g]; i++) {
            const bool blocked = s.of[g][i] == -INFINITY;
            const double want = blocked ? 0.0 : slope_of_loss(&s, &s.of[g][i]), have = got.value[g][i];
            const double difference = fabs(have - want) / (1.0 + fabs(want));
            if (!(difference <= tolerance) || (blocked && have != 0.0)) {
                fail_msg("d_%s[%d] is %.12g, not %.12g: has %#x, flows %d", names[g], (int)i, have, want, has,
                         (int)flows);
            }
            /* Each result has been rounded once, at the least. */
            if (!(got.magnitude[g][i] >= fabs(have))) {
                fail_msg("d_%s[%d] is %g, its magnitude %g", names[g], (int)i, have, got.magnitude[g][i]);
            }
            not_zero += fabs(have) > 1e-3;
            if (difference > worst) worst = difference;
        }
    }
    twin_gradient_free(&got);
    twin_free(&forward);
}

static void gradients_of_the_twin_are_its_difference_quotients(void **state)
{
    const enum twin_score score = *(const enum twin_score *)*state;
    const unsigned sensible = (1U << BITS) - 1 - (score == TWIN_ADDITIVE ? 0 : FOR_ADDITIVE);
    struct rng rng = {(uint64_t)score};
    worst = 0.0;
    not_zero = 0;
    for (unsigned flows = 1; flows <= ALL_FLOWS; flows++) check(score, 0, flows, flows);
    for (int bit = 0; bit < BITS; bit++) {
        if (sensible >> bit & 1) check(score, 1U << bit, ALL_FLOWS, 100 + (uint64_t)bit);
    }
    for (uint64_t i = 0; i < (few_cases() ? 2 : 20); i++) {
        const unsigned flows = (unsigned)rng_integer(&rng, 1, ALL_FLOWS);
        check(score, (unsigned)rng_bits(&rng) & sensible, flows, 200 + i);
    }
    print_message("%lld gradients that are not 0, worst difference %.2g\n", (long long)not_zero, worst);
    assert_true(not_zero > 1000);
}

int main(void)
{
    static const enum twin_score scores[] = {TWIN_DOT,      TWIN_SCALED_DOT, TWIN_GENERAL,
                                             TWIN_ADDITIVE, TWIN_CONCAT,     TWIN_LOCATION};
    static const char *const names[] = {"dot", "scaled-dot", "general", "additive", "concat", "location"};
    struct CMUnitTest tests[6];
    static char full[6][80];
    for (int i = 0; i < 6; i++) {
        snprintf(full[i], sizeof full[i], "gradients_of_the_twin_are_its_difference_quotients: %s", names[i]);
        tests[i] = (struct CMUnitTest){full[i], gradients_of_the_twin_are_its_difference_quotients, NULL, NULL,
                                       (void *)(uintptr_t)&scores[i]};
    }
    return cmocka_run_group_tests_name("twin_gradient", tests, NULL, NULL);
}
