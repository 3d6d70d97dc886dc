"""What a session may set and ask beside inference: its own, declared rightly, and answered as declared."""

from __future__ import annotations

import dataclasses
from typing import Any

from offboard_client.plugins import describe
from offboard_client.wire import CONFIGURE
from websockets.sync.client import connect

from ..catalog import ResolvedCodec
from ..types import Control, Observation, Policy
from ._served import PATIENCE, Robot, Served
from ._vendor import alike, first_answer, told_the_same


class ControlLaws(Served):
    """For a policy with ``controls`` or ``changeable`` parameters; of one without them they ask nothing."""

    def test_what_it_can_be_asked_is_told(self, policy: Policy[Any], meta: dict[str, Any]) -> None:
        """The handshake lists each control; a person reads what it does, and what is under each name of its answer."""
        told = meta["controls"]
        assert told.keys() - {CONFIGURE} == policy.controls.keys()
        for name, control in policy.controls.items():
            assert control.summary.strip(), name
            assert "\n" not in control.summary, name
            assert all(text.strip() for text in control.answers.values()), name

    def test_a_control_answers_what_it_declares(
        self, policy: Policy[Any], robot: Robot, observation: Observation
    ) -> None:
        """… or refuses in words of its own, and the session goes on. Of controls that need no parameter."""
        for name, control in _asked_without_params(policy).items():
            reply = robot.ask({"type": name})
            if reply.get("status") == "called":
                assert reply["answer"].keys() == control.answers.keys(), name
            else:
                assert reply["code"] not in ("policy_failed", "internal", "timeout", "model_lost"), reply
            reply = robot.ask(observation)
            assert "result" in reply, f"after {name}: {reply}"

    def test_a_control_is_its_sessions_own(
        self, policy: Policy[Any], resolved_codec: ResolvedCodec, observation: Observation
    ) -> None:
        """Whatever one robot asks for, another's answer stays as it was. Of controls that need no parameter."""
        inputs = resolved_codec.encode(observation)
        before = first_answer(policy, inputs)
        if not alike(before, first_answer(policy, inputs)):
            return  # with chance in its answers, and no seed, nothing can be said
        for name, control in _asked_without_params(policy).items():
            session = policy.new_session(policy.params())
            session.infer(inputs, told_the_same(policy))
            control.run(session, control.params())
            session.close()
            assert alike(before, first_answer(policy, inputs)), name

    def test_a_session_goes_by_the_parameters_that_it_is_given(
        self, policy: Policy[Any], resolved_codec: ResolvedCodec, observation: Observation
    ) -> None:
        """Those that may change are put there anew, between two observations; ``reset`` leaves them."""
        if not any(option.changeable for option in describe(policy.params)):
            return
        inputs, params = resolved_codec.encode(observation), policy.params()
        session: Any = policy.new_session(params)
        assert getattr(session, "params", None) is params, "self.params is what it was started with"
        assert session.infer(inputs, told_the_same(policy)) is not None
        session.params = other = dataclasses.replace(params)
        session.reset()
        assert session.params is other, "reset has put others there"
        assert session.infer(inputs, told_the_same(policy)) is not None
        session.close()

    def test_what_is_set_to_what_it_was_stays(
        self, url: str, robot: Robot, meta: dict[str, Any], observation: Observation
    ) -> None:
        """Each value that the handshake tells of ``configure`` is taken, and changes nothing."""
        if CONFIGURE not in meta["controls"]:
            return
        given = {name: option["default"] for name, option in meta["controls"][CONFIGURE]["params"].items()}
        for name, value in given.items():
            reply = robot.ask({"type": CONFIGURE, "params": {name: value}})
            assert reply.get("status") == "called", reply
            changed = reply["answer"]["changed"][name]
            assert changed["old"] == changed["new"] == value, name
        assert "result" in robot.ask(observation)
        with connect(url, compression=None, max_size=None, open_timeout=PATIENCE) as socket:
            assert Robot(socket).opened()["meta"] == meta


def _asked_without_params(policy: Policy[Any]) -> dict[str, Control]:
    return {
        name: control
        for name, control in policy.controls.items()
        if all(option.default is not ... for option in describe(control.params))
    }
