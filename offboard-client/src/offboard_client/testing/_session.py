"""A policy in the robot's own process is what a session on a server is."""

from __future__ import annotations

import copy
import itertools
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

import numpy as np
import pytest

from ..errors import ConnectionFailed, OffboardError
from ..play import PolicyEntry, PolicySession, choose_policy, open_policy
from ..plugins import Chosen
from ..protocol import check_meta
from ..wire import fits_shape, rows

#: Seconds in which a thread that was told to end has ended: a bound for a test that has failed.
_PATIENCE = 30.0
#: How often a policy is asked that has nothing new.
_ASKED = 10


class SessionLaws:
    """What a driver relies on. ``name``: as for ``offboard run ROBOT --policy NAME``.

    A fixture ``options`` makes others than the entry's defaults.
    """

    name: str

    def observation(self, meta: Mapping[str, Any]) -> dict[str, Any]:
        """What a robot that this handshake suits would send."""
        raise NotImplementedError("say by observation() what a robot sends it")

    @pytest.fixture
    def chosen(self) -> Chosen[PolicyEntry]:
        """The installed entry."""
        return choose_policy(self.name)

    @pytest.fixture
    def options(self, chosen: Chosen[PolicyEntry]) -> Any:
        """What the policy is opened with."""
        return chosen.options()()

    @pytest.fixture
    def open_session(self, chosen: Chosen[PolicyEntry], options: Any) -> Callable[[], PolicySession]:
        """Opens one."""
        return lambda: open_policy(chosen, options, lambda status: None)

    @pytest.fixture
    def session(self, open_session: Callable[[], PolicySession]) -> Iterator[PolicySession]:
        """One that is open."""
        with closing(open_session()) as session:
            yield session

    def test_its_handshake_is_that_of_a_server(self, session: PolicySession) -> None:
        """Plain data with the fields that the protocol knows; the same for as long as it is open."""
        before = json.dumps(dict(session.metadata), allow_nan=False)
        check_meta(session.metadata)
        self._ask(session)
        session.reset()
        assert json.dumps(dict(session.metadata), allow_nan=False) == before

    def test_it_answers_in_rows(self, session: PolicySession) -> None:
        """Of the actions that the handshake names, as arrays of finite numbers, at times that grow; each time."""
        declared: Mapping[str, Mapping[str, Any]] = session.metadata.get("action") or {}
        for _ in range(3):
            answer = self._ask(session)
            rows([dict(row) for row in answer])
            for row in answer:
                assert not declared or row["action"].keys() == declared.keys()
                for name, value in row["action"].items():
                    assert isinstance(value, np.ndarray), name
                    _check_numbers(name, value, declared[name].get("shape") if declared else None)

    def test_what_was_asked_and_answered_stays_as_it_was(self, session: PolicySession) -> None:
        """It writes into no observation, and its next answer not into the one before."""
        observation = self.observation(session.metadata)
        before = copy.deepcopy(observation)
        session.infer(observation)
        np.testing.assert_equal(observation, before)
        answer = [dict(row["action"]) for row in self._ask(session)]
        kept = copy.deepcopy(answer)
        following = [dict(row["action"]) for row in self._ask(session)]
        np.testing.assert_equal(answer, kept)
        # The observation was the same, so that what was written may be what stood there.
        for one, other in itertools.product(_writeable(answer), _writeable(following)):
            assert not np.shares_memory(one, other), "two answers have the same memory: give each its own"

    def test_it_says_where_the_time_went(self, session: PolicySession) -> None:
        """Of the last step, in milliseconds by stage."""
        self._ask(session)
        assert session.timing.last
        for stage, spent in session.timing.last.items():
            assert np.isfinite(spent), stage
            assert spent >= 0, stage

    def test_a_new_episode_may_begin_at_any_time(self, session: PolicySession) -> None:
        """Before the first observation, after one, and twice."""
        session.reset()
        self._ask(session)
        session.reset()
        session.reset()
        self._ask(session)

    def test_what_it_cannot_take_is_an_error_after_which_it_goes_on(self, session: PolicySession) -> None:
        """An :class:`OffboardError`, which a driver can tell, where a name is missing that the handshake requires.

        Not one of the connection's, which end a run, or an episode.
        """
        fields: Mapping[str, Any] = session.metadata.get("observation") or {}
        required = [name for name, field in fields.items() if field.get("required", True)]
        for name in required[:1]:
            lacking = self.observation(session.metadata)
            del lacking[name]
            with pytest.raises(OffboardError) as raised:
                session.infer(lacking)
            assert not isinstance(raised.value, ConnectionFailed)
        self._ask(session)

    def test_it_ends(self, open_session: Callable[[], PolicySession]) -> None:
        """More than once, and with its threads; then it answers nobody, and another one may be opened."""
        threads = set(threading.enumerate())
        for _ in range(2):
            session = open_session()
            observation = self.observation(session.metadata)
            session.infer(observation)
            session.close()
            session.close()
            with pytest.raises(OffboardError):
                session.infer(observation)
        left = [thread for thread in threading.enumerate() if thread not in threads]
        for thread in left:
            thread.join(_PATIENCE)
        assert not [thread.name for thread in left if thread.is_alive()]

    def _ask(self, session: PolicySession) -> Sequence[Mapping[str, Any]]:
        """The first chunk that it has."""
        for _ in range(_ASKED):
            if answer := session.infer(self.observation(session.metadata)):
                return answer
        raise AssertionError(f"it answered {_ASKED} observations with nothing to do")


def _check_numbers(name: str, value: Any, shape: Sequence[int] | None) -> None:
    """``shape``: the declared one, if there is one."""
    assert value.dtype.kind in "fiu", f"{name} is of type {value.dtype}; expected numbers"
    assert shape is None or fits_shape(value.shape, tuple(shape)), f"{name} has the shape {value.shape}, not {shape}"


def _writeable(answer: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Its arrays that somebody can write into: they, or what they are views of."""

    def may(array: Any) -> bool:
        return isinstance(array, np.ndarray) and (array.flags.writeable or may(array.base))

    return [value for action in answer for value in action.values() if may(value)]
