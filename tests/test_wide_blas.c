/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_wide_blas.c: run with a BLAS of 64-bit integers where the library was built for one of 32-bit integers: no
 * engine may be made, whichever way it is to compute. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "support.h"

static void an_engine_over_a_blas_with_64_bit_integers_is_refused(void **state)
{
    static const attn_way ways[] = {ATTN_WAY_AUTOMATIC, ATTN_WAY_BLAS, ATTN_WAY_TILES};
    (void)state;
    for (int i = 0; i < 3; i++) {
        attn_engine_options options = ATTN_ENGINE_OPTIONS_INIT;
        attn_engine *untouched = (attn_engine *)&options, *made = untouched;
        options.way = ways[i];
        assert_int_equal(attn_engine_create(&options, &made), ATTN_ERR_BACKEND);
        assert_ptr_equal(made, untouched);
        assert_non_null(strstr(attn_last_error(), "attn_engine_create: the BLAS in /"));
        assert_non_null(strstr(attn_last_error(), "takes 64-bit integers"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_engine_over_a_blas_with_64_bit_integers_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
