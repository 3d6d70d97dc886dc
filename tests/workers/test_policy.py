"""A policy in a worker is like the same policy in this process, member by member."""

import dataclasses
import inspect
import os

import numpy as np
import pytest
import worker_vendor
from offboard_client.errors import BadParameter, InvalidAction, LoadFailed, ModelLost, OffboardError, PolicyFailed
from offboard_client.plugins import build, describe
from offboard_core.types import ALONE, NO_CONTEXT, Chunk, InferContext, Item, Policy
from worker_vendor import CHECKPOINT, Pupil, PupilOptions, loader

#: What a policy declares.
FACTS = {name for name, value in vars(Policy).items() if not name.startswith("_") and not inspect.isfunction(value)}
STATE = np.arange(6, dtype=np.float32).reshape(3, 2)


@pytest.fixture(scope="module")
def policy():
    policy = loader().load(CHECKPOINT, print, ALONE)
    yield policy
    policy.close()


@pytest.fixture(scope="module")
def here():
    return Pupil(PupilOptions())


@pytest.fixture
def session(policy):
    session = policy.new_session(policy.params())
    yield session
    session.close()


def do(session, what, **inputs):
    return session.infer({"do": what, **inputs}, NO_CONTEXT)


class TestDeclared:
    @pytest.mark.parametrize("name", sorted(FACTS - {"params", "controls"}))
    def test_plain_facts(self, policy, here, name):
        assert getattr(policy, name) == getattr(here, name)

    def test_parameters_with_their_types_and_defaults(self, policy, here):
        assert describe(policy.params) == describe(here.params)
        assert policy.params.__name__ == "PupilParams"
        assert dataclasses.asdict(policy.params()) == dataclasses.asdict(here.params())
        with pytest.raises(dataclasses.FrozenInstanceError):
            policy.params().speed = 1.0

    @pytest.mark.parametrize("given", [{"speed": "fast"}, {"mode": "quick"}, {"gains": [1, "2"]}, {"sped": 1}])
    def test_parameters_refuse_what_the_originals_refuse(self, policy, here, given):
        said = []
        for cls in (policy.params, here.params):
            with pytest.raises(BadParameter) as raised:
                build(cls, given, "this policy")
            said.append(str(raised.value))
        assert said[0] == said[1]

    def test_numpys_text_is_text(self):
        policy = loader(PupilOptions(declares="text")).load(CHECKPOINT, print, ALONE)
        policy.close()
        assert policy.meta == {"name": "a", "odd": 1}

    def test_what_does_not_cross_is_said(self):
        with pytest.raises(LoadFailed, match=r"what the policy declares does not cross .*: a builtins\.set") as raised:
            loader(PupilOptions(declares="a set")).load(CHECKPOINT, print, ALONE)
        assert raised.value.permanent

    def test_controls(self, policy, here):
        assert policy.controls.keys() == here.controls.keys()
        for name, control in policy.controls.items():
            assert (control.summary, control.answers) == (here.controls[name].summary, here.controls[name].answers)
            assert describe(control.params) == describe(here.controls[name].params)


class TestAnswers:
    @pytest.mark.parametrize("dtype", ["?", "i1", "<i8", "u1", "<u4", "<f2", "<f4", "<f8", ">f4"])
    @pytest.mark.parametrize("shape", [(1, 1), (3, 2), (5, 4, 3), (2, 0)])
    def test_an_array_comes_back_as_it_went(self, session, dtype, shape):
        state = (np.arange(np.prod(shape)) % 7).astype(dtype).reshape(shape)
        answer = do(session, "echo", state=state).action
        assert answer.dtype == state.dtype.newbyteorder("=")
        np.testing.assert_array_equal(answer, state)

    def test_arrays_that_do_not_lie_in_one_piece(self, session):
        image = np.arange(240, dtype=np.uint8).reshape(8, 10, 3)[::2, ::-3]
        np.testing.assert_array_equal(do(session, "echo", state=image).action, image)

    def test_an_answer_is_ones_own(self, session):
        answer = do(session, "echo", state=STATE).action
        do(session, "echo", state=STATE + 1)
        np.testing.assert_array_equal(answer, STATE)
        answer[0] = 7  # and may be written into

    def test_named_actions_and_times(self, session):
        assert {n: a.dtype for n, a in do(session, "speed").columns().items()} == {"target_grip": np.float32}
        np.testing.assert_array_equal(do(session, "count").timestamp, [0.25])

    def test_nothing_new_and_stop(self, session):
        assert do(session, "nothing") is None
        assert len(do(session, "stop")) == 0

    def test_plain_inputs_keep_their_types(self, session, here):
        inputs = {
            "do": "types", "a": 1, "b": 1.5, "c": None, "d": True, "e": "ü", "f": (1, (2.0, "x")), "g": [1, {"h": 2}],
            "i": np.float32(1.5), "j": b"x", "k": np.zeros((2, 1), "<f2"), "l": np.True_, "m": {"n": (1,)},
        }  # fmt: skip
        there = session.infer(inputs, NO_CONTEXT).action
        mine = here.new_session(here.params()).infer(inputs, NO_CONTEXT).action
        assert bytes(there) == bytes(mine)

    def test_what_is_told_beside_the_inputs(self, session):
        history = ({"state": np.ones(2)}, {"state": np.ones(3)})
        context = InferContext(prefix=Chunk(np.full((2, 2), 2.0)), delay_steps=3, seed=2**63 - 1, history=history)
        [row] = session.infer({"do": "told"}, context).action
        assert row.tolist() == [8.0, 3.0, float(2**63 - 1), 5.0]
        assert do(session, "told").action.tolist() == [[0.0, 0.0, -1.0, 0.0]]

    def test_what_a_policy_keeps_stays_as_it_was(self, policy):
        """Inputs lie in memory that the next ones would be written into."""
        session, states = policy.new_session(policy.params()), [np.full((4, 2), i, np.float32) for i in range(8)]
        answers = [do(session, "keep", state=state).action for state in states]
        for before, answer in zip(states, answers[1:], strict=False):
            np.testing.assert_array_equal(answer, before)
        session.close()

    def test_more_than_before(self, session):
        for size in (10, 100_000, 2_000_000, 10):
            state = np.arange(size, dtype=np.float32)[:, None]
            np.testing.assert_array_equal(do(session, "echo", state=state).action, state)

    def test_what_has_no_form_is_refused_and_the_session_goes_on(self, session):
        with pytest.raises(PolicyFailed, match="dtype object; arrays of bool, int, uint and float"):
            do(session, "echo", state=np.array([object()]))
        with pytest.raises(PolicyFailed, match="set; plain data crosses"):
            do(session, "echo", state={1})
        with pytest.raises(PolicyFailed, match="array of dtype object"):
            do(session, "objects")
        for state in (np.zeros((1,) * 40), {"a": np.zeros((1,) * 40)}):
            with pytest.raises(PolicyFailed, match="array of 40 dimensions; at most 32"):
                do(session, "echo", state=state)
        np.testing.assert_array_equal(do(session, "echo", state=STATE).action, STATE)

    def test_it_may_not_write_into_what_it_is_given(self, session):
        with pytest.raises(PolicyFailed, match="read-only"):
            do(session, "writes", state=STATE)


class TestErrors:
    @pytest.mark.parametrize(
        ("what", "kind", "text"),
        [
            ("refuses", InvalidAction, "^that would hurt$"),
            ("lost", ModelLost, "^the GPU has fallen off the bus$"),
            ("raises", PolicyFailed, "the policy raised ValueError: the hand is not there.*log has the traceback"),
            ("leaves", PolicyFailed, "SystemExit"),
            ("text", PolicyFailed, "the policy answered str; expected Chunk, None or an OffboardError"),
            ("complex", PolicyFailed, "does not cross from its worker: an array of dtype complex128"),
            ("dimensions", PolicyFailed, "an array of 40 dimensions; at most 32"),
            ("unnamed", PolicyFailed, "an action whose name is no text$"),
        ],
    )
    def test_an_error_is_the_one_that_was_raised(self, policy, session, what, kind, text):
        with pytest.raises(kind, match=text):
            do(session, what)
        [answer, good] = policy.infer_many([Item(session, {"do": what}), Item(session, {"do": "echo", "state": STATE})])
        assert type(answer) is kind
        assert isinstance(good, Chunk)

    def test_a_missing_input_is_named(self, policy, session):
        [answer] = policy.infer_many([Item(session, {"state": STATE})])
        assert "KeyError: 'do' (it was given state)" in str(answer)


class TestSessions:
    def test_do_not_know_of_each_other(self, policy):
        one, two = (policy.new_session(policy.params()) for _ in range(2))
        assert [do(s, "count").action.item() for s in (one, one, two)] == [1, 2, 1]
        one.reset()
        assert [do(s, "count").action.item() for s in (one, two)] == [1, 2]
        one.close()
        two.close()

    def test_go_by_their_parameters_and_by_those_put_there(self, policy):
        session = policy.new_session(build(policy.params, {"speed": 0.7}, "this policy"))
        assert do(session, "speed").action["target_grip"][0, 0] == np.float32(0.7)
        session.params = build(policy.params, {"speed": 0.1}, "this policy")
        assert do(session, "speed").action["target_grip"][0, 0] == np.float32(0.1)
        session.reset()
        assert do(session, "speed").action["target_grip"][0, 0] == np.float32(0.1)
        session.close()

    def test_go_by_parameters_that_were_put_there_with_a_question_that_did_not_arrive(self, policy):
        session = policy.new_session(policy.params())
        begun = session.params
        session.params = build(policy.params, {"speed": 0.1}, "this policy")
        with pytest.raises(PolicyFailed, match="does not cross"):
            do(session, "echo", state={1})
        assert do(session, "speed").action["target_grip"][0, 0] == np.float32(0.1)
        session.params = build(policy.params, {"speed": 0.2}, "this policy")
        [error] = policy.infer_many([Item(session, {"do": "raises"})])
        assert isinstance(error, PolicyFailed)
        session.params = begun
        assert do(session, "speed").action["target_grip"][0, 0] == np.float32(0.4)
        session.close()

    @pytest.mark.parametrize("given", [1, True])
    def test_true_is_no_one(self, policy, given):
        """A default of 1 is another value than True, though they are equal."""
        session = policy.new_session(build(policy.params, {"tries": given}, "this policy"))
        assert do(session, "true").action.item() is (given is True)
        session.close()

    def test_are_not_begun_with_what_the_policys_own_class_refuses(self, policy):
        wrong = build(policy.params, {"speed": 1.5}, "this policy")
        for begin in (policy.new_session, policy.check_params):
            with pytest.raises(BadParameter, match=r"speed is 1\.5, expected at most 1"):
                begin(wrong)

    def test_controls_run_there(self, policy, session):
        mark = policy.controls["mark"]
        assert mark.run(session, mark.params(where=0.5)) == {"marked": 1, "of": {"where": 0.5}}
        assert mark.run(session, mark.params(where=0.5, loud=True))["marked"] == 101
        assert do(session, "count").action.item() == 102


class TestBatches:
    def test_one_hop_for_all(self, policy):
        sessions = [policy.new_session(policy.params()) for _ in range(3)]
        first = policy.infer_many([Item(session, {"do": "calls"}) for session in sessions])
        assert [chunk.action[0, 1] for chunk in first] == [3, 3, 3]
        assert len({chunk.action[0, 0] for chunk in first}) == 1

    def test_answers_in_one_memory_are_refused(self, policy):
        sessions = [policy.new_session(policy.params()) for _ in range(2)]
        for answer in policy.infer_many([Item(session, {"do": "shared"}) for session in sessions]):
            with pytest.raises(PolicyFailed, match="answered several robots from the same memory"):
                raise answer

    def test_the_default_key_costs_no_hop(self, policy, here, session, monkeypatch):
        monkeypatch.setattr(policy.worker, "ask", None)
        mine = here.new_session(here.params())
        for inputs in ({"state": STATE, "do": "echo"}, {"state": STATE[:1]}):
            assert policy.batch_key(Item(session, inputs)) == here.batch_key(Item(mine, inputs))

    def test_a_key_of_its_own(self):
        policy = loader(PupilOptions(keys=True, steps=True)).load(CHECKPOINT, print, ALONE)
        session = policy.new_session(policy.params())
        keys = [
            policy.batch_key(Item(session, {"state": state, "task": task}))
            for state, task in [(STATE, "a"), (STATE + 1, "a"), (STATE, "b"), (STATE[:1], "a"), (STATE, "a")]
        ]
        assert keys[0] == keys[1] == keys[4]
        assert len(set(keys)) == 3
        assert (policy.history_sec, policy.history_steps, policy.history_kept) == ((), (-2, -1), True)
        with pytest.raises(OffboardError, match="KeyError: 'state'"):
            policy.batch_key(Item(session, {}))
        policy.close()


class TestSurroundings:
    @pytest.fixture(scope="class")
    @classmethod
    def seen(cls):
        with pytest.MonkeyPatch.context() as patch:
            for name in ("OFFBOARD_AUTH_TOKEN", "PUPIL_CACHE", "PUPIL_TOKEN", "PUPIL_KEY", "PYTHONPATH"):
                patch.setenv(name, "x")
            policy = loader(inherit=("PUPIL_*", "PUPIL_TOKEN")).load(CHECKPOINT, print, ALONE)
            see = policy.controls["see"]
            yield see.run(policy.new_session(policy.params()), see.params())
            policy.close()

    def test_few_variables_and_no_secret_that_was_not_named(self, seen):
        names = set(seen["variables"].split())
        assert {"PATH", "PUPIL_CACHE", "PUPIL_TOKEN"} <= names
        assert not names & {"OFFBOARD_AUTH_TOKEN", "PUPIL_KEY", "PYTHONPATH"}

    def test_the_same_environment_is_the_whole_of_it(self, seen):
        assert os.path.dirname(worker_vendor.__file__) in seen["path"].split()
