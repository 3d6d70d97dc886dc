"""The verdicts hold their level with a look after every trial, and take fewer trials than a test of a fixed size."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest
from offboard_client.evaluation import Trial, compare_models, fixed_interval, mean_interval
from simulated_trials import (
    MODELS,
    barnard,
    false_verdicts,
    fisher,
    fixed_size,
    most,
    plan_for,
    scored,
    stopped,
    successes,
    trials,
    verdicts,
)

RATES = (0.05, 0.2, 0.35, 0.5, 0.65, 0.8, 0.95)
TOGETHER = (0.0, 0.6, -0.6)
#: Thirty points apart, and the smallest plans that find that in 90 of 100 evaluations.
APART = {(0.65, 0.35): 86, (0.8, 0.5): 73, (0.9, 0.6): 54, (0.95, 0.65): 42}


@pytest.mark.parametrize("together", TOGETHER)
def test_equally_good_models_get_few_verdicts(together):
    found = sum(false_verdicts(1, (rate, rate), together, 150, planned=20, starts=40) for rate in (0.2, 0.5, 0.9))
    assert 0 < found <= most(450)


def test_of_three_models_any_false_verdict_is_rare():
    found = false_verdicts(1, (0.5, 0.5, 0.5), 0.0, 300, planned=20, starts=40)
    found += false_verdicts(2, (0.9, 0.5, 0.5), 0.0, 150, planned=20, starts=40)
    assert 0 < found <= most(450)


@pytest.mark.slow
@pytest.mark.parametrize("together", TOGETHER)
@pytest.mark.parametrize("rate", RATES)
def test_five_thousand_comparisons_of_a_model_with_itself(rate, together):
    assert false_verdicts(3, (rate, rate), together, 5000, planned=50, starts=100) <= most(5000)


@pytest.mark.slow
@pytest.mark.parametrize("together", TOGETHER)
@pytest.mark.parametrize(
    "rates", [(0.2, 0.2, 0.2), (0.5, 0.5, 0.5), (0.8, 0.8, 0.8), (0.9, 0.5, 0.5), (0.6, 0.6, 0.6, 0.6)], ids=str
)
def test_five_thousand_evaluations_of_several_models(rates, together):
    assert false_verdicts(4, rates, together, 5000, planned=50, starts=100) <= most(5000)


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(0.2, 0.2), (1, 1), (8, 2)], ids=str)
@pytest.mark.parametrize("together", [0.0, 0.6])
def test_five_thousand_comparisons_of_partial_scores(shape, together):
    assert false_scores(5, shape, together, 5000, 60) <= most(5000)


def test_scores_of_equally_good_models_get_few_verdicts():
    # Most of a's scores are somewhat lower, and few much higher: by signs alone b would look better.
    assert false_scores(6, None, 0.0, 300, 60) <= most(300)


def false_scores(seed, shape, together, runs, starts):
    generator = np.random.default_rng(seed)
    found = 0
    for _ in range(runs):
        if shape is None:
            came = np.stack([np.where(generator.random(starts) < 0.1, 1.0, 0.1), np.full(starts, 0.19)], axis=1)
        else:
            came = generator.beta(*shape, size=(starts, 2))
            same = generator.random(starts) < together
            came[same, 1] = came[same, 0]
        [said] = compare_models(scored(came), ("a", "b"), 30, measure="score", ahead=False)
        found += said.better is not None
    return found


def outside(seed, rate, runs, starts, looks, interval):
    """How many of so many sequences have an interval without their rate at one of the looks."""
    generator = np.random.default_rng(seed)
    found = 0
    for _ in range(runs):
        came = (generator.random(starts) < rate).astype(float)
        between = [interval(came[:look]) for look in looks]
        found += not all(low <= rate <= high for low, high in between)
    return found


def test_the_rate_is_within_all_intervals_that_are_shown():
    shown = [outside(10, rate, 40, 40, range(4, 41, 4), mean_interval) for rate in (0.1, 0.5, 0.9)]
    assert sum(shown) <= most(120)


def at_once(came):
    return fixed_interval(int(came.sum()), len(came))


@pytest.mark.slow
@pytest.mark.parametrize("rate", [0.05, 0.3, 0.5, 0.9])
def test_intervals_at_length(rate):
    assert outside(11, rate, 500, 60, range(1, 61), mean_interval) <= most(500)


@pytest.mark.slow
def test_the_interval_for_one_look_is_not_enough_for_many():
    assert outside(12, 0.5, 500, 60, range(1, 61), at_once) > most(500)


fixed = functools.cache(fixed_size)


def test_thirty_points_take_thirty_percent_fewer_trials():
    mean, power = stopped(7, (0.8, 0.5), 0.0, 400, APART[0.8, 0.5])
    assert power > 0.85
    # Fisher's exact test of a fixed size, for 90 of 100.
    assert mean <= 0.7 * 58


@pytest.mark.slow
@pytest.mark.parametrize("rates", list(APART), ids=str)
def test_thirty_points_at_length(rates):
    planned, mean = plan_for(0.9, rates, 0.0, 2000)
    assert abs(planned - APART[rates]) <= 6
    assert mean <= 0.7 * fixed(fisher, 0.9, rates)
    # Where outcomes from one start hang together, which no test of two separate samples can use, there is more to gain.
    assert plan_for(0.9, rates, 0.5, 2000)[1] <= 0.75 * fixed(barnard, 0.9, rates)


def test_what_was_decided_stays_decided_as_trials_are_added():
    generator = np.random.default_rng(8)
    for rates in [(0.9, 0.4), (0.9, 0.4, 0.4), (0.7, 0.7)]:
        played = trials(successes(generator, rates, 0.0, 60))
        said: dict[tuple[str, str], tuple[str | None, int | None]] = {}
        for look in range(1, len(played) + 1):
            for each in compare_models(played[:look], MODELS[: len(rates)], 20):
                key = each.first, each.second
                if said.get(key, (None, None))[0] is not None:
                    assert said[key][0] == each.better
                elif each.better is not None:
                    assert each.after == each.pairs
                said[key] = each.better, each.after
        assert rates[0] == 0.7 or said["a", "b"][0] == "a"


def test_which_trial_ends_first_decides_nothing():
    """As where several robots play at once: the same trials in any order have the verdicts of one after the other."""
    generator = np.random.default_rng(9)
    for _ in range(20):
        came = trials(successes(generator, (0.8, 0.4, 0.4), 0.0, 20))
        shuffled = [came[i] for i in generator.permutation(len(came))]
        said = compare_models(came, "abc", 20, starts=range(20))
        assert compare_models(shuffled, "abc", 20, starts=range(20)) == said
        # On the way, what is decided is decided in the end.
        for look in range(0, len(came), 7):
            for early, late in zip(compare_models(shuffled[:look], "abc", 20, starts=range(20)), said, strict=True):
                assert early.better in (None, late.better)


def test_planted_rates_get_the_right_verdicts():
    right = 0
    for seed in range(20):
        came = successes(np.random.default_rng(seed), (0.9, 0.5, 0.5), 0.0, 100)
        better = [each.better for each in verdicts(came, 100)]
        right += better == ["a", "a", None]
    assert right >= 17


def test_a_model_that_always_wins_is_better_after_six_starts():
    one = [Trial(m, s, "success" if m == "a" else "fail") for s in range(6) for m in "ab"]
    [said] = compare_models(one, "ab", 20)
    assert (said.better, said.after, said.wins, said.losses) == ("a", 6, 6, 0)
    assert [each.better for each in compare_models(one[:-1], "ab", 20)] == [None]
    assert [each.better for each in compare_models(one, "ba", 20)] == ["a"]


def test_more_models_need_more_evidence():
    one = [Trial(m, s, "success" if m == "a" else "fail") for s in range(6) for m in "abcd"]
    assert {each.better for each in compare_models(one, "abcd", 20)} == {None}


def test_the_level_is_spent_once_whatever_the_order():
    """Exactly: over all sequences of ten pairs that decide something, none of which is likelier than another."""
    decided = 0
    for signs in itertools.product((True, False), repeat=10):
        came = np.array([(sign, not sign) for sign in signs])
        [said] = verdicts(came, 20)
        decided += said.better is not None
    assert 0.8 * 0.05 < decided / 2**10 <= 0.05
