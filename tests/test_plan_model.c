/* The arithmetic of plans: limits that can be worked out by hand, and directions that must hold. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/plan_model.h"

/* Two layers of 100 experts, 10 at work; 1 ms an expert, 5 ms a layer's trunk, 2 ms the head. */
static sluice_plan_work sample(void)
{
    return (sluice_plan_work){
        .layers = 2,
        .experts = 100,
        .top_k = 10,
        .record_bytes = 1e6,
        .cache_bytes = 50e6,
        .bank_bytes = 200e6,
        .disk_speed = 1e9,
        .stream_speed = 1e9,
        .points = {{1, 0.010, 1, 0.001}, {16, 0.040, 10, 0.004}, {64, 0.120, 40, 0.012}},
        .head_seconds = 0.002,
        .shared_share = 0};
}

static void near(double value, double expected)
{
    if (fabs(value - expected) > 1e-9 * (1 + fabs(expected)))
        fail_msg("%g, not %g", value, expected);
}

static void uniform_choice_finds_the_share_that_fits(void **state)
{
    (void)state;
    sluice_plan_work work = sample();
    near(sluice_plan_hits_uniform(&work), 0.25);
    work.cache_bytes = 1e9;
    near(sluice_plan_hits_uniform(&work), 1);
}

static void recency_meets_the_points_of_the_field_and_is_never_worse(void **state)
{
    (void)state;
    sluice_plan_work work = sample();
    double before = 0;
    work.cache_bytes = work.bank_bytes / 8;
    near(sluice_plan_hits_recency(&work), 0.67);
    work.cache_bytes = work.bank_bytes / 4;
    near(sluice_plan_hits_recency(&work), 0.81);
    for (double share = 0; share <= 1.0001; share += 0.001) {
        work.cache_bytes = work.bank_bytes * share;
        double hits = sluice_plan_hits_recency(&work);
        assert_true(hits >= sluice_plan_hits_uniform(&work) && hits <= 1 && hits >= before);
        before = hits;
    }
    near(before, 1);
}

static void a_token_with_everything_in_memory_takes_what_computing_takes(void **state)
{
    (void)state;
    sluice_plan_work work = sample();
    bool disk_bound = true;
    near(sluice_plan_decode(&work, 10, 1, &disk_bound), 0.010 + 0.002 + 2 * 10 * 0.001);
    assert_false(disk_bound);
    near(sluice_plan_decode(&work, 4, 1, NULL), 0.010 + 0.002 + 2 * 4 * 0.001);
}

static void a_slow_disk_decides_and_the_last_expert_comes_on_top(void **state)
{
    (void)state;
    sluice_plan_work work = sample();
    bool disk_bound = false;
    work.stream_speed = 1e8;
    near(sluice_plan_decode(&work, 10, 0, &disk_bound), 0.010 + 0.002 + 2 * (0.100 + 0.001));
    assert_true(disk_bound);
    near(sluice_plan_decode(&work, 10, 0.5, NULL), 0.010 + 0.002 + 2 * (0.050 + 0.001));
}

static void reads_go_on_while_the_shared_expert_is_computed(void **state)
{
    (void)state;
    sluice_plan_work work = sample();
    work.stream_speed = 1e8;
    work.shared_share = 0.4; /* 2 ms of each layer's 5 */
    near(sluice_plan_decode(&work, 10, 0, NULL), 0.010 + 0.002 + 2 * (0.100 - 0.002 + 0.001));
}

static void right_guesses_are_read_beforehand_and_wrong_ones_keep_the_disk_busy(void **state)
{
    (void)state;
    sluice_plan_work work = sample();
    work.stream_speed = 1e9; /* 1 ms an expert, as long as computing one */
    work.guesses = 4;
    work.precision = 0.75;
    /* 7 ms of demand reads and the last expert's 1 ms hide behind 10 ms of computing. */
    near(sluice_plan_decode(&work, 10, 0, NULL), 0.002 + 2 * (0.005 + 0.010));
    /* At 2 ms a read: 14 ms of demand reads and the last expert; the disk itself needs 22. */
    work.stream_speed = 0.5e9;
    near(sluice_plan_decode(&work, 10, 0, NULL), 0.002 + 2 * 0.022);
    work.guesses = 3;
    work.precision = 1;
    near(sluice_plan_decode(&work, 10, 0, NULL), 0.002 + 2 * 0.020);
    work.guesses = 0;
    near(sluice_plan_decode(&work, 10, 0, NULL), 0.002 + 2 * (0.005 + 0.020 + 0.001));
}

static void no_more_is_guessed_than_can_be_read_in_time(void **state)
{
    (void)state;
    sluice_plan_work work = sample();
    work.stream_speed = 0.05e9; /* 20 ms a read, 5 ms before the next demand: 1.25 guesses */
    work.guesses = 4;
    double few = sluice_plan_decode(&work, 2, 0, NULL);
    work.guesses = 1.25;
    near(sluice_plan_decode(&work, 2, 0, NULL), few);
}

static void a_prompt_sweeps_ahead_while_the_mixer_runs(void **state)
{
    (void)state;
    sluice_plan_work work = sample();
    work.disk_speed = 1e8; /* 10 ms a read; 60 ms of a layer's trunk for 64 rows */
    double without = sluice_plan_prefill(&work, 64, 64);
    work.sweep_records = 4;
    double hits = 0.25 * 0.25;
    near(sluice_plan_prefill(&work, 64, 64), without - 2 * 4 * (1 - hits) * 0.010);
    work.sweep_records = 50; /* more than there is time for */
    near(sluice_plan_prefill(&work, 64, 64), without - 2 * 0.060);
}

static void better_machines_are_never_slower(void **state)
{
    (void)state;
    for (double share = 0; share <= 1; share += 0.05)
        for (double k = 1; k <= 10; k++) {
            sluice_plan_work work = sample(), better = sample();
            double seconds = sluice_plan_decode(&work, k, share, NULL);
            better.stream_speed *= 2;
            assert_true(sluice_plan_decode(&better, k, share, NULL) <= seconds);
            better = work;
            better.points[0].expert_seconds /= 2;
            assert_true(sluice_plan_decode(&better, k, share, NULL) <= seconds);
            assert_true(sluice_plan_decode(&work, k, share + 0.01, NULL) <= seconds);
            assert_true(sluice_plan_decode(&work, k - 0.5, share, NULL) < seconds);
        }
}

static void a_measured_token_tells_the_speed_that_explains_it(void **state)
{
    (void)state;
    sluice_plan_work work = sample();
    work.disk_speed = 0.2e9;
    for (double part = 0.3; part < 1; part += 0.1) {
        work.stream_speed = part * work.disk_speed;
        double seconds = sluice_plan_decode(&work, work.top_k, 0.2, NULL);
        double speed = sluice_plan_stream_speed(&work, 0.2, seconds);
        assert_true(fabs(speed / work.stream_speed - 1) < 1e-6);
    }
    /* What no speed of this disk explains leaves it at its bounds. */
    assert_true(fabs(sluice_plan_stream_speed(&work, 0.2, 1e-6) / work.disk_speed - 1.25) < 1e-6);
    assert_true(fabs(sluice_plan_stream_speed(&work, 0.2, 1e6) / work.disk_speed - 0.25) < 1e-6);
}

static void guesses_are_less_often_right_when_fewer_experts_are_wanted(void **state)
{
    (void)state;
    sluice_plan_work work = sample(), perfect = sample();
    work.guesses = perfect.guesses = 4;
    work.stream_speed = perfect.stream_speed = 1e8; /* the disk decides */
    perfect.precision = 1;
    double ten = sluice_plan_decode(&work, 10, 0, NULL) / sluice_plan_decode(&perfect, 10, 0, NULL);
    double four = sluice_plan_decode(&work, 4, 0, NULL) / sluice_plan_decode(&perfect, 4, 0, NULL);
    assert_true(ten > 1 && four > ten && four < 2);
}

static void a_prompt_reads_each_expert_once_a_chunk(void **state)
{
    (void)state;
    sluice_plan_work work = sample();
    work.disk_speed = 1e6; /* a second an expert: nothing else matters */
    work.cache_bytes = 0;
    double one = sluice_plan_prefill(&work, 512, 512), two = sluice_plan_prefill(&work, 512, 256);
    assert_true(fabs(one - 200) < 1);
    assert_true(fabs(two - 400) < 2);
    /* The chunk that is left over counts as one of its size. */
    double rest = sluice_plan_prefill(&work, 513, 512) - one;
    assert_true(rest > 19 && rest < 21);
}

static void a_prompt_with_a_fast_disk_takes_what_computing_takes(void **state)
{
    (void)state;
    sluice_plan_work work = sample();
    work.disk_speed = 1e15;
    work.experts = work.top_k = 10; /* all rows choose all experts */
    near(sluice_plan_prefill(&work, 16, 64), 0.040 + 0.002 + 2 * 10 * (0.004 + 6 * 0.008 / 30));
    near(sluice_plan_prefill(&work, 64, 64), 0.120 + 0.002 + 2 * 10 * (0.012 + 24 * 0.008 / 30));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(uniform_choice_finds_the_share_that_fits),
        cmocka_unit_test(recency_meets_the_points_of_the_field_and_is_never_worse),
        cmocka_unit_test(a_token_with_everything_in_memory_takes_what_computing_takes),
        cmocka_unit_test(a_slow_disk_decides_and_the_last_expert_comes_on_top),
        cmocka_unit_test(reads_go_on_while_the_shared_expert_is_computed),
        cmocka_unit_test(right_guesses_are_read_beforehand_and_wrong_ones_keep_the_disk_busy),
        cmocka_unit_test(no_more_is_guessed_than_can_be_read_in_time),
        cmocka_unit_test(a_prompt_sweeps_ahead_while_the_mixer_runs),
        cmocka_unit_test(better_machines_are_never_slower),
        cmocka_unit_test(a_measured_token_tells_the_speed_that_explains_it),
        cmocka_unit_test(guesses_are_less_often_right_when_fewer_experts_are_wanted),
        cmocka_unit_test(a_prompt_reads_each_expert_once_a_chunk),
        cmocka_unit_test(a_prompt_with_a_fast_disk_takes_what_computing_takes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
