"""A model that was made faster is used for what it answers as the model does, and for nothing else."""

import logging
import weakref

import numpy as np
import pytest
from offboard_client.errors import LoadFailed, ModelLost, PolicyFailed
from offboard_core.proofs import CompileOptions, FastCall, make_trials, prove
from offboard_core.types import Chunk, Field, Item, Policy, Session

INPUTS = {"state": Field(shape=(3,), dtype="float32"), "front": Field(shape=(4, 4, 3), dtype="uint8")}


def model(states, seeds):
    """One number a robot, of what it observes and the seed that it sent, in two steps."""
    return np.stack([states.sum(1) + seeds, states.prod(1)], axis=1).astype(np.float32)


class Summing(Policy[Session]):
    """Asks ``call`` for all robots at once."""

    context = frozenset({"seed"})
    max_batch_size = 4

    def __init__(self, call):
        self.call = call

    def new_session(self, params):
        return Summed(self)

    def infer_many(self, batch):
        states = np.stack([item.inputs["state"] for item in batch])
        rows = self.call(states, np.array([item.context.seed or 0 for item in batch]))
        return [Chunk(row[:, None]) for row in rows]


class Summed(Session):
    def __init__(self, policy):
        self.policy = policy

    def infer(self, inputs, context):
        [chunk] = self.policy.infer_many([Item(self, inputs, context)])
        return chunk


def fast_call(fast, eager=model):
    return FastCall(eager, lambda kind: fast, lambda states, seeds: states.shape)


def proven(fast, sizes=(1, 4), tolerance=0.0, eager=model, policy=Summing, tasks=(), **more):
    call = fast_call(fast, eager)
    said = []
    proof = prove(
        policy(call), call, make_trials(INPUTS, sizes, tasks=tasks), how="by hand", tolerance=tolerance,
        report=said.append, **more,
    )  # fmt: skip
    return proof, call, said


def ready(fast, sizes):
    """Also the policy, whose loader has still to say what came of it."""
    call = fast_call(fast)
    policy = Summing(call)
    trials = make_trials(INPUTS, sizes)
    return policy, prove(policy, call, trials, how="by hand", report=lambda _: None), call


def asked(call, robots):
    return call(np.ones((robots, 3), np.float32), np.zeros(robots))


def test_one_that_answers_the_same_is_used_and_says_how_fast_it_is():
    now, calls = [0.0], []

    def eager(states, seeds):
        now[0] += 3.0
        return model(states, seeds)

    def fast(states, seeds):
        now[0] += 60.0 if not calls else 1.0  # the first compiles
        calls.append(len(states))
        return model(states, seeds)

    proof, call, said = proven(fast, eager=eager, clock=lambda: now[0])
    assert proof.meta() == {
        "used": True, "how": "by hand", "tolerance": 0.0, "batch_sizes": [1, 4], "difference": 0.0, "speedup": 3.0,
        "problems": [],
    }  # fmt: skip
    assert set(calls) == {1, 4}
    begun = [i for i, text in enumerate(said) if not i or text != said[i - 1]]
    assert [said[i].partition(", which may take minutes")[0] for i in begun] == [
        "asking the model as it is, for one robot in a call",
        "compiling (by hand) for one robot in a call",
        "asking what was compiled, for one robot in a call",
        "asking the model as it is, for 4 robots in a call",
        "compiling (by hand) for 4 robots in a call",
        "asking what was compiled, for 4 robots in a call",
        "asking what was compiled once more, for one robot in a call",
        "asking what was compiled once more, for 4 robots in a call",
    ]
    assert len(said) == 36, "at each observation: a large model may take a minute for one"
    calls.clear()
    asked(call, 1), asked(call, 4), asked(call, 2)
    assert calls == [1, 4], "two robots at once were never tried, and nothing is compiled while they wait"


def test_a_difference_is_told_with_its_size_and_the_model_serves_as_it_is(caplog):
    proof, call, _ = proven(lambda states, seeds: model(states, seeds) + np.float32(0.25), sizes=(1,))
    assert not proof.used
    assert proof.meta().keys() == {"used", "how", "tolerance", "problems"}
    [problem] = proof.problems
    assert "for one robot in a call: its answers differ by up to 0.25, and no difference is allowed" in problem
    assert [(r.levelname, problem in r.message) for r in caplog.records] == [("WARNING", True)]
    assert asked(call, 1)[0, 0] == 3


@pytest.mark.parametrize(("off", "used"), [(0.2, True), (0.3, False)])
def test_a_tolerance_is_in_the_actions_own_unit(off, used):
    proof, _, _ = proven(lambda states, seeds: model(states, seeds) + np.float32(off), sizes=(1,), tolerance=0.25)
    assert proof.used is used
    if used:
        assert proof.difference == pytest.approx(off, abs=1e-5)


@pytest.mark.parametrize("tolerance", [0.0, 1e9])
@pytest.mark.parametrize("which", ["fast", "both"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_never_the_same(bad, which, tolerance):
    def broken(states, seeds):
        return model(states, seeds) * bad

    proof, call, _ = proven(broken, (1,), tolerance, eager=broken if which == "both" else model)
    assert not proof.used
    assert call.proven == frozenset()


def test_one_that_is_right_for_one_robot_alone_is_used_for_one_alone():
    """As where a compiler takes the numbers of the first batch for constants."""

    def fast(states, seeds):
        answers = model(states, seeds)
        answers[1:] = answers[:1]
        return answers

    proof, call, _ = proven(fast)
    assert proof.batch_sizes == [1]
    assert "for 4 robots in a call: its answers differ" in proof.problems[0]
    many = np.arange(12, dtype=np.float32).reshape(4, 3)
    np.testing.assert_array_equal(call(many, np.zeros(4)), model(many, np.zeros(4)))


def test_one_that_plays_back_what_it_was_asked_first_is_found_out():
    """As a CUDA graph does whose inputs nobody writes where it reads them."""
    first = []

    def fast(states, seeds):
        first.append(model(states, seeds))
        return first[0]

    proof, _, _ = proven(fast, sizes=(1,))
    assert "its answers differ" in proof.problems[0]


def test_one_that_remembers_is_found_out_the_second_time():
    count = []

    def fast(states, seeds):
        count.append(1)
        return model(states, seeds) + (len(count) > 4)

    proof, _, _ = proven(fast, sizes=(1,))
    assert not proof.used


def test_one_that_another_disturbs_is_found_out():
    """As where two programs have one place for what they compute, and the later one is made over the earlier one."""
    place = {}

    def make(kind):
        robots, _ = kind
        place["robots"] = robots

        def fast(states, seeds):
            return model(states, seeds) + (robots != place["robots"])

        return fast

    call = FastCall(model, make, lambda states, seeds: states.shape)
    proof = prove(Summing(call), call, make_trials(INPUTS, (1, 4)), how="x", report=lambda _: None)
    assert proof.batch_sizes == [4]
    [problem] = proof.problems
    assert "for one robot in a call, once all else was compiled: its answers differ by up to 1" in problem
    assert proof.difference == 0
    assert call.proven == {(4, 3)}


def test_one_that_fails_as_robots_will_ask_it_is_found_out():
    """As where torch would have to compile anew what it compiled at the load."""
    calls = []

    def fast(states, seeds):
        if not calls[-1].is_tried:
            raise PolicyFailed("torch would have to compile it anew")
        return model(states, seeds)

    calls.append(call := fast_call(fast))
    proof = prove(Summing(call), call, make_trials(INPUTS, (1,)), how="x", report=lambda _: None)
    assert not proof.used
    [problem] = proof.problems
    assert "once all else was compiled: what was compiled failed: torch would have to compile it anew" in problem
    assert call.proven == frozenset()


def test_which_task_was_wrong_is_said():
    proof, _, _ = proven(lambda states, seeds: model(states, seeds) + 1, (1,), tasks=("fold", "lift"))
    assert [problem.partition(":")[0] for problem in proof.problems] == [
        "for one robot in a call with the task 'fold'", "for one robot in a call with the task 'lift'",
    ]  # fmt: skip


def test_one_that_ignores_the_seed_is_found_out():
    proof, _, _ = proven(lambda states, seeds: model(states, seeds * 0), sizes=(1,))
    assert not proof.used


def test_one_that_fails_is_not_used_and_the_cause_is_told():
    def fast(states, seeds):
        raise RuntimeError("no C++ compiler was found\n  and much else")

    proof, call, _ = proven(fast)
    assert (
        proof.problems[0]
        == "for one robot in a call: what was compiled failed: RuntimeError: no C++ compiler was found"
    )
    assert asked(call, 1)[0, 0] == 3


def test_a_failure_that_the_policy_makes_up_for_is_a_failure():
    """A policy that asks for each robot alone where a batch fails would hide that the batch always does."""

    class Splits(Summing):
        def infer_many(self, batch):
            try:
                return super().infer_many(batch)
            except RuntimeError:
                return [super(Splits, self).infer_many([item])[0] for item in batch]

    def fast(states, seeds):
        if len(states) > 1:
            raise RuntimeError("out of memory")
        return model(states, seeds)

    proof, call, _ = proven(fast, policy=Splits)
    assert proof.batch_sizes == [1]
    assert "out of memory" in proof.problems[0]
    assert call.proven == {(1, 3)}, "what was asked in its place has passed its own trial"


def test_a_model_that_does_not_repeat_itself_is_compared_with_nothing():
    count = []

    def eager(states, seeds):
        count.append(1)
        return model(states, seeds) + len(count)

    proof, _, _ = proven(eager, sizes=(1,), eager=eager)
    assert "the model as it is differs from itself by" in proof.problems[0]


def test_the_model_itself_may_fail_or_have_nothing_to_say():
    def eager(states, seeds):
        raise ValueError("not that many")

    assert "the model as it is failed: ValueError: not that many" in proven(model, (1,), eager=eager)[0].problems[0]

    class Silent(Summing):
        def infer_many(self, batch):
            return [None for _ in batch]

    assert "answered no steps" in proven(model, (1,), policy=Silent)[0].problems[0]


def test_a_policy_that_never_asks_it_proves_nothing():
    class Elsewhere(Summing):
        def infer_many(self, batch):
            return [Chunk(np.ones((2, 1))) for _ in batch]

    proof, call, _ = proven(model, (1,), policy=Elsewhere)
    assert not proof.used
    assert "it was not asked" in proof.problems[0]
    assert call.proven == frozenset()


def test_a_device_that_it_broke_ends_the_load():
    class Lost(Summing):
        def infer_many(self, batch):
            if self.call.is_tried:
                return [ModelLost("cuda fails at everything") for _ in batch]
            return super().infer_many(batch)

    with pytest.raises(LoadFailed, match=r"broke it: cuda fails at everything\. Serve without --compile") as caught:
        proven(model, (1,), policy=Lost)
    assert caught.value.permanent


def test_who_gives_the_load_up_ends_it():
    def report(text):
        raise LoadFailed("nobody waits for it any more")

    call = fast_call(model)
    with pytest.raises(LoadFailed, match="nobody waits"):
        prove(Summing(call), call, make_trials(INPUTS, (1,)), how="x", report=report)


@pytest.mark.parametrize("tasks", [("put", "place"), ("place", "put")])
def test_a_kind_that_was_wrong_once_stays_refused(tasks):
    """Of two tasks that are one program, one that is wrong for the second is used for neither."""

    class Worded(Summing):
        def infer_many(self, batch):
            words = np.array([len(item.inputs["task"]) for item in batch])
            states = np.stack([item.inputs["state"] for item in batch])
            return [Chunk(row[:, None]) for row in self.call(states, words)]

    def fast(states, words):
        return model(states, words) + (words > 3)[:, None]

    call = fast_call(fast)
    trials = make_trials(INPUTS, (1,), tasks=tasks)
    proof = prove(Worded(call), call, trials, how="x", report=lambda _: None)
    assert not proof.used
    assert call.proven == frozenset()


def test_one_that_fails_while_a_robot_waits_is_left_to_the_model(caplog):
    broken = []

    def fast(states, seeds):
        if broken:
            raise RuntimeError("out of memory")
        return model(states, seeds)

    proof, call, _ = proven(fast, sizes=(1,))
    assert proof.used
    broken.append(1)
    assert asked(call, 1)[0, 0] == 3
    assert "is not asked any more" in caplog.text
    broken.clear()
    assert call.proven == frozenset()


def test_of_two_sizes_the_one_that_did_not_fail_stays():
    broken = []

    def fast(states, seeds):
        if broken and len(states) == 4:
            raise RuntimeError("out of memory\nwhile it was used")
        return model(states, seeds)

    policy, proof, call = ready(fast, sizes=(1, 4))
    said = policy.meta = {"device": "cuda", "compiled": proof.meta()}
    broken.append(1)
    for _ in range(2):
        asked(call, 4)
    assert policy.meta == {"device": "cuda", "compiled": proof.meta()}
    assert policy.meta["compiled"]["batch_sizes"] == [1]
    assert policy.meta["compiled"]["problems"] == [
        "for 4 robots in a call: it failed while a robot waited: RuntimeError: out of memory"
    ]
    # Who was told before has what was told then.
    assert said["compiled"]["batch_sizes"] == [1, 4]
    assert said["compiled"]["problems"] == []


def test_a_policy_that_says_nothing_of_it_or_has_gone_says_nothing_of_its_failure():
    broken = []

    def fast(states, seeds):
        if broken:
            raise RuntimeError("out of memory")
        return model(states, seeds)

    for gone in (False, True):
        broken.clear()
        policy, proof, call = ready(fast, sizes=(1,))
        held = weakref.ref(policy)
        broken.append(1)
        if gone:
            del policy
            assert held() is None, "what was proven keeps its policy, and the model's memory with it"
        asked(call, 1)
        assert not proof.used
        if not gone:
            assert "compiled" not in policy.meta


def test_what_failed_has_let_go_of_all_before_the_model_answers(caplog):
    """Where it had no room, the model needs what it had taken."""
    caplog.set_level(logging.CRITICAL)  # a test keeps what is logged
    taken, seen = [], []

    def eager(states, seeds):
        seen.append(taken[-1]() is None if taken else None)
        return model(states, seeds)

    def fast(states, seeds):
        if seen[-1] is not None:
            return model(states, seeds)
        room = Room()
        taken.append(weakref.ref(room))
        raise RuntimeError("out of memory")

    call = FastCall(eager, lambda kind: fast, lambda states, seeds: states.shape)
    with call.trying():
        seen.append(True)
        asked(call, 1)
    call.judge(proven=True)
    seen.append(None)
    asked(call, 1)
    assert seen[-1] is True


class Room:
    """Memory of a failed call."""


def test_what_is_asked_is_the_same_at_every_load_and_like_what_robots_send():
    ranges = {"state": (np.array([0.0, 5.0, -3.0]), np.array([1.0, 5.0, -2.0]))}
    one, again = (list(make_trials(INPUTS, (2,), ranges, ("lift",))) for _ in range(2))
    [trial] = one
    assert trial.batch_size == 2
    seen = [robot for step in trial.steps for robot in step]
    for a, b in zip(seen, [robot for step in again[0].steps for robot in step], strict=True):
        np.testing.assert_array_equal(a["state"], b["state"])
        np.testing.assert_array_equal(a["front"], b["front"])
    states = np.stack([each["state"] for each in seen])
    assert states.dtype == np.float32
    assert ((states >= [0, 5, -3]) & (states <= [1, 5, -2])).all()
    assert len({each["front"].tobytes() for each in seen}) == len(seen)
    assert seen[0]["front"].dtype == np.uint8
    assert {each["task"] for each in seen} == {"lift"}
    assert len({trial.seed(step, robot) for step in range(len(trial.steps)) for robot in range(2)}) == len(seen)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"compile": True, "compile_tolerance": -1.0}, "compile_tolerance is -1.0"),
        ({"compile": True, "compile_tolerance": float("nan")}, "compile_tolerance is nan"),
        ({"compile": True, "compile_batch_sizes": (0,)}, "compile_batch_sizes are"),
        ({"compile_tolerance": 1e-3}, "compile_tolerance says how to compile, and compile is not given"),
    ],
)
def test_options_that_cannot_be_are_refused(given, why):
    with pytest.raises(ValueError, match=why):
        CompileOptions(**given)
