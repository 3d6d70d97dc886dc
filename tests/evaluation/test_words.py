"""What is said of a comparison, and which trials are in it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from offboard_client.errors import BadParameter
from offboard_client.evaluation import Trial, compare_models, fixed_interval, mean_interval, pairs


def played(model, outcomes, first=0):
    words = {"+": "success", "-": "fail", "x": "annulled", "e": "error"}
    return [Trial(model, first + i, words[each]) for i, each in enumerate(outcomes)]


def test_a_verdict_says_on_what_it_rests():
    [said] = compare_models(played("a", "+" * 17 + "-" * 3) + played("b", "-" * 8 + "+" * 9 + "-" * 3), ("a", "b"), 20)
    assert said.words() == (
        "a is better than b: 17 of 20 against 9 of 20 from the same starts (only a succeeded 8 times, only b 0). Valid "
        "at every look: by chance alone, a false verdict comes up in at most 5 % of evaluations."
    )
    [said] = compare_models(played("b", "+" * 17 + "-" * 3) + played("a", "-" * 8 + "+" * 9 + "-" * 3), ("a", "b"), 20)
    assert said.words().startswith(
        "b is better than a: 17 of 20 against 9 of 20 from the same starts (only b succeeded 8"
    )


def test_without_a_verdict_it_says_what_it_would_take():
    [said] = compare_models(played("a", "+++--") + played("b", "-+---"), ("a", "b"), 20)
    assert said.words() == (
        "a and b: not decided; 3 of 5 against 1 of 5 from the same starts (only a succeeded 2 times, only b 0). If it "
        f"goes on like this, about {said.more} more starts would be needed."
    )
    # Two wins of two: the boundary is six of six, at one decisive pair in two, and not all of them will be wins.
    assert said.more is not None
    assert 8 <= said.more <= 20


def test_models_that_look_alike_are_not_promised_a_verdict():
    [said] = compare_models(played("a", "+-+--") + played("b", "-++--"), ("a", "b"), 20)
    assert said.more is None
    assert said.words().endswith(
        "If it goes on like this, 10 times as many starts as planned would not tell them apart."
    )


@pytest.mark.parametrize(("first", "second"), [("++", "++"), ("++++", "----"), ("+-+-", "-++-")])
def test_nothing_is_said_of_how_it_goes_on_before_five_starts(first, second):
    [said] = compare_models(played("a", first) + played("b", second), ("a", "b"), 20)
    assert said.words().startswith("a and b: not decided; ")
    assert "If it goes on" not in said.words()


def test_nothing_in_common_is_said():
    [said] = compare_models(played("a", "+++"), ("a", "b"), 20)
    assert said.words() == "a and b: not decided, for from no start trials of both count."


def test_what_is_promised_comes_true():
    """Half of the evaluations that go on at the same rates have their verdict by then."""
    import numpy as np
    from simulated_trials import trials

    generator = np.random.default_rng(1)
    before = trials(np.array([(True, False)] * 6 + [(False, True)] * 2 + [(True, True)] * 8))
    [said] = compare_models(before, ("a", "b"), 40)
    assert said.more is not None
    done = 0
    for _ in range(200):
        # Six and a half of nine that decide are wins, and half of all pairs decide.
        came = generator.random((said.more, 1)) < 0.5
        won = generator.random((said.more, 1)) < 6.5 / 9
        later = trials(np.concatenate([np.where(came, won, True), np.where(came, ~won, True)], axis=1))
        later = [Trial(each.model, each.start + 16, each.outcome) for each in later]
        done += compare_models(before + later, ("a", "b"), 40)[0].better is not None
    assert 70 < done < 140


def test_scores_are_compared_by_their_means():
    some = [Trial(model, s, "partial", score=score) for s in range(12) for model, score in (("a", 0.9), ("b", 0.2))]
    [said] = compare_models(some, ("a", "b"), 20, measure="score")
    assert said.words().startswith(
        "a is better than b: a mean score of 0.90 against a mean score of 0.20 from the same starts (only a scored "
        "more 12 times, only b 0)"
    )
    [said] = compare_models(some, ("a", "b"), 20)
    assert (said.better, said.means) == (None, (0.0, 0.0))


def test_pairs_are_of_the_same_start_and_what_counts():
    trials = played("a", "+x+e+") + played("b", "-++-")
    assert [(a.start, b.start) for a, b in pairs(trials, "a", "b")] == [(0, 0), (2, 2)]
    # Repeated, in the order in which they became complete.
    trials += [Trial("a", 1, "fail"), Trial("b", 4, "success"), Trial("a", 3, "fail")]
    assert [(a.start, a.outcome) for a, _ in pairs(trials, "a", "b")] == [
        (0, "success"), (2, "success"), (1, "fail"), (4, "success"), (3, "fail"),
    ]  # fmt: skip


def test_with_a_plan_the_order_in_which_trials_end_does_not_matter():
    trials = played("a", "++-+-") + played("b", "-+--+")
    ahead = [each for each in trials if each.start != 1] + [each for each in trials if each.start == 1]
    starts = range(5)
    assert pairs(ahead, "a", "b", starts) == pairs(trials, "a", "b", starts)
    # The second start is not played yet by one of them: what comes after it waits.
    assert [a.start for a, _ in pairs(ahead[:-1], "a", "b", starts)] == [0]
    # So does one that was annulled and is not played again yet.
    assert [a.start for a, _ in pairs([*ahead[:-1], Trial("b", 1, "annulled")], "a", "b", starts)] == [0]
    # An error is no reason to wait: nothing more comes of that start.
    failed = [*ahead[:-1], Trial("b", 1, "error")]
    assert [a.start for a, _ in pairs(failed, "a", "b", starts)] == [0, 2, 3, 4]


def test_a_start_that_failed_and_is_played_again_comes_after_the_others():
    starts = range(4)
    log = played("a", "+e") + played("b", "++")
    again = [Trial("a", 1, "success")]
    assert [a.start for a, _ in pairs(log, "a", "b", starts)] == [0]
    assert [a.start for a, _ in pairs(log + again, "a", "b", starts)] == [0, 1], "nothing has gone on meanwhile"
    later = [Trial(model, start, "fail") for start in (2, 3) for model in "ab"]
    assert [a.start for a, _ in pairs(log + later[:1] + again, "a", "b", starts)] == [0]
    assert [a.start for a, _ in pairs(log + later[:1] + again + later[1:], "a", "b", starts)] == [0, 2, 3, 1]
    assert [a.start for a, _ in pairs(log + later + again, "a", "b", starts)] == [0, 2, 3, 1]


def test_of_those_that_failed_one_that_fails_again_keeps_no_other_waiting():
    log = played("a", "ee+") + played("b", "+++")
    again = [Trial("a", 0, "error"), Trial("a", 1, "success")]
    assert [a.start for a, _ in pairs(log, "a", "b", range(3))] == [2]
    assert [a.start for a, _ in pairs(log + again, "a", "b", range(3))] == [2, 1]
    assert [a.start for a, _ in pairs([*log, *again, Trial("a", 0, "fail")], "a", "b", range(3))] == [2, 1, 0]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 4), st.booleans()), max_size=40))
def test_what_is_looked_at_only_ever_grows_at_its_end(turns):
    """Or a verdict could come of looking often, and go again."""
    log, done, before = [], set(), []
    for model, start, works in turns:
        if (model, start) not in done:
            log.append(Trial(model, start, "success" if works else "error"))
            done |= {(model, start)} if works else set()
            now = pairs(log, "a", "b", range(5))
            assert now[: len(before)] == before
            before = now
    assert {a.start for a, _ in before} <= {start for _, start in done}


def test_what_was_unsafe_is_worth_nothing():
    assert Trial("a", 0, "unsafe", score=0.8).value("score") == 0
    assert Trial("a", 0, "fail", score=0.4).value("score") == 0.4
    assert Trial("a", 0, "success").value("score") == 1
    assert Trial("a", 0, "partial", score=0.9).value("success") == 0


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"outcome": "sucess"}, "did you mean success"),
        ({"outcome": "partial"}, "has a score from 0 to 1"),
        ({"outcome": "fail", "score": 1.5}, "from 0 to 1, not 1.5"),
        ({"outcome": "fail", "score": float("nan")}, "from 0 to 1, not nan"),
        ({"outcome": "fail", "seconds": float("inf")}, "finite"),
    ],
)
def test_a_trial_that_cannot_be_is_refused(values, said):
    with pytest.raises(BadParameter, match=said):
        Trial("a", 0, **values)


@pytest.mark.parametrize(("models", "planned", "level"), [("aa", 20, 0.05), ("ab", 0, 0.05), ("ab", 20, 1.0)])
def test_a_comparison_that_cannot_be_is_refused(models, planned, level):
    with pytest.raises(BadParameter):
        compare_models([], models, planned, level=level)


def test_intervals():
    # By R: binom.test(17, 20), binom.test(0, 20).
    assert fixed_interval(17, 20) == pytest.approx((0.6210732, 0.9679290), abs=1e-6)
    assert fixed_interval(0, 20) == pytest.approx((0, 0.1684335), abs=1e-6)
    assert fixed_interval(20, 20) == pytest.approx((0.8315665, 1), abs=1e-6)
    low, high = mean_interval([1.0] * 17 + [0.0] * 3)
    assert mean_interval([0.0] * 3 + [1.0] * 17) == pytest.approx((low, high))
    assert 0.45 < low < 0.62 < 0.97 < high < 1  # wider than for one look
    assert mean_interval([]) == (0, 1)
    assert fixed_interval(0, 0) == (0, 1)
