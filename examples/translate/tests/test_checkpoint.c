/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_checkpoint.c: what is written is read again, damage is found wherever it is, and a training that is taken up
 * goes on to the same numbers. */
#include "refuse.h"
#include "train/threads.h"
#include "train/trainer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { PAIRS = 40 };

/* Sentences of a tiny language, and what is trained on them. */
static pair_list sentences(void)
{
    pair_list list = {0};
    random_stream stream = random_begin(3, 0, 0);
    for (int i = 0; i < PAIRS; i++) {
        sentence_pair pair = {0};
        const int count = 1 + (int)random_below(&stream, 6);
        for (int k = 0; k < count; k++) {
            const char word[] = {(char)('a' + (int)random_below(&stream, 9)), '\0'},
                       other[] = {(char)(word[0] - 32), '\0'};
            pair_add_source(&pair, word);
            pair_add_target(&pair, other);
        }
        pair_list_take(&list, &pair);
    }
    return list;
}

static checkpoint start(const pair_list *pairs, const char *kind)
{
    checkpoint c = {.setup = setup_default(kind)};
    c.setup.model.embed = 8, c.setup.model.states = 8, c.setup.model.hidden = 8, c.setup.model.feed_forward = 16;
    c.setup.training.rows = 7, c.setup.training.steps = 40, c.setup.training.dropout = 0.2;
    c.source = vocabulary_of(pairs, true, 100, 1);
    c.target = vocabulary_of(pairs, false, 100, 1);
    c.setup.model.source_words = c.source.count, c.setup.model.target_words = c.target.count;
    c.model = model_create(&c.setup.model);
    parameters_draw(&c.model->parameters, 1);
    return c;
}

static void train(checkpoint *c, const pair_list *pairs, int steps)
{
    dataset data = dataset_of(pairs, &c->source, &c->target, false);
    trainer t = trainer_begin(c, &data);
    for (int i = 0; i < steps; i++) trainer_step(&t);
    c->data = data.fingerprint;
    trainer_free(&t);
    dataset_free(&data);
}

static char path[64];

static int begin(void **state)
{
    (void)state;
    snprintf(path, sizeof path, "/tmp/translate-test-%ld", (long)getpid());
    return 0;
}

static int end(void **state)
{
    (void)state;
    unlink(path);
    return 0;
}

static void assert_equal(const checkpoint *a, const checkpoint *b)
{
    const size_t bytes = a->model->parameters.total * sizeof(real);
    assert_int_equal(a->step, b->step);
    assert_memory_equal(a->model->parameters.value, b->model->parameters.value, bytes);
    assert_memory_equal(a->first, b->first, bytes);
    assert_memory_equal(a->second, b->second, bytes);
}

static void a_training_that_is_taken_up_goes_on_to_the_same_numbers(void **state)
{
    (void)state;
    const char *const kinds[] = {"none", "bahdanau", "general", "local-p", "transformer"};
    pair_list pairs = sentences();
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        checkpoint whole = start(&pairs, kinds[k]), first = start(&pairs, kinds[k]);
        train(&whole, &pairs, 17);
        train(&first, &pairs, 8); /* in the middle of an epoch */
        checkpoint_write(&first, path);
        checkpoint second = checkpoint_read(path);
        assert_equal(&first, &second);
        for (int i = 0; i < setup_field_count; i++) {
            char a[64], b[64];
            setup_text(&first.setup, &setup_fields[i], a, sizeof a);
            setup_text(&second.setup, &setup_fields[i], b, sizeof b);
            assert_string_equal(a, b);
        }
        assert_true(first.data == second.data);
        train(&second, &pairs, 9);
        assert_equal(&whole, &second);
        checkpoint_free(&whole);
        checkpoint_free(&first);
        checkpoint_free(&second);
    }
    pair_list_free(&pairs);
}

static void a_seed_makes_a_difference_and_the_same_seed_none(void **state)
{
    (void)state;
    pair_list pairs = sentences();
    checkpoint a = start(&pairs, "dot"), b = start(&pairs, "dot"), c = start(&pairs, "dot");
    c.setup.training.seed = 2;
    train(&a, &pairs, 5);
    train(&b, &pairs, 5);
    train(&c, &pairs, 5);
    assert_equal(&a, &b);
    assert_memory_not_equal(a.model->parameters.value, c.model->parameters.value,
                            a.model->parameters.total * sizeof(real));
    checkpoint_free(&a);
    checkpoint_free(&b);
    checkpoint_free(&c);
    pair_list_free(&pairs);
}

/* Reads the path in a child, and says how that ended. */
static int status_of_reading(void)
{
    const pid_t child = fork();
    if (child == 0) {
        if (freopen("/dev/null", "w", stderr) == NULL) _exit(99);
        checkpoint c = checkpoint_read(path);
        checkpoint_free(&c);
        _exit(0);
    }
    int status;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void write_bytes(const char *bytes, size_t count)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, count, file), count);
    fclose(file);
}

static void damage_is_found_wherever_it_is(void **state)
{
    (void)state;
    pair_list pairs = sentences();
    checkpoint c = start(&pairs, "bahdanau");
    train(&c, &pairs, 1);
    checkpoint_write(&c, path);
    checkpoint_free(&c);
    pair_list_free(&pairs);
    assert_int_equal(status_of_reading(), 0);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    static char bytes[1 << 20], changed[1 << 20];
    const size_t count = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    assert_true(count > 10000 && count < sizeof bytes);
    random_stream stream = random_begin(1, 1, 1);
    int refused = 0, cut = 0;
    enum { TRIES = 60 };
    for (int i = 0; i < TRIES; i++) { /* a byte of the arrays, any bit */
        memcpy(changed, bytes, count);
        changed[count - 1 - random_below(&stream, 8000)] ^= (char)(1 << random_below(&stream, 8));
        write_bytes(changed, count);
        refused += status_of_reading() == 2;
        write_bytes(bytes, (size_t)random_below(&stream, count));
        cut += status_of_reading() == 2;
    }
    assert_int_equal(refused, TRIES);
    assert_int_equal(cut, TRIES);
    for (int i = 0; i < 200; i++) { /* the head: it may still be right, but nothing may crash */
        memcpy(changed, bytes, count);
        changed[random_below(&stream, 1500)] ^= (char)(1 << random_below(&stream, 8));
        write_bytes(changed, count);
        const int status = status_of_reading();
        assert_true(status == 0 || status == 2);
    }
    memcpy(changed, bytes, count);
    changed[count] = 'x';
    write_bytes(changed, count + 1);
    assert_int_equal(status_of_reading(), 2);
}

int main(void)
{
    threads_prepare();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_training_that_is_taken_up_goes_on_to_the_same_numbers),
        cmocka_unit_test(a_seed_makes_a_difference_and_the_same_seed_none),
        cmocka_unit_test(damage_is_found_wherever_it_is),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
