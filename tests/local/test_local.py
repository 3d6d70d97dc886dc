"""A policy in this process is a session like a server's: the same actions to the bit, the same errors and limits."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pytest
from offboard_client import InferenceClient, cli
from offboard_client.errors import (
    Busy,
    ConfigurationError,
    ConnectionLost,
    InferTimeout,
    LoadFailed,
    ModelLost,
    OffboardError,
)
from offboard_client.play import PolicySession, choose_policy, open_policy
from offboard_client.plugins import changeable
from offboard_client.robots import connected
from offboard_client.robots.sim import SimRobot, Stacking
from offboard_core import Chunk, Health, InferenceServer
from offboard_core.catalog import ModelSource, from_flags
from offboard_core.engine import ServiceTimeouts
from offboard_core.local import LocalSession
from offboard_core.plugins import LOADER, Plugins
from puppets import Door, Puppet, arm, reached, source

POSE = np.array([0.4, 0.0, 0.3, 0.0, 1.0, 0.0, 0.0], np.float32)


def seen(**more: Any) -> dict[str, Any]:
    return {"robot_state.ee_pose": POSE, "image.wrist": np.full((8, 8, 3), 7, np.uint8), "task": "go", **more}


def quiet(status: object) -> None:
    pass


@contextmanager
def both(model: ModelSource, **limits: float) -> Iterator[tuple[Any, Any]]:
    """A session on a server, and one in this process."""
    timeouts = ServiceTimeouts(**limits)
    with (
        InferenceServer({"": model}, port=0, limits=timeouts) as server,
        InferenceClient(server.host, server.port) as client,
        client.new_session() as served,
        LocalSession(model, quiet, timeouts) as local,
    ):
        yield served, local


def same(one: Any, other: Any) -> None:
    assert (one is None, len(one or [])) == (other is None, len(other or []))
    for a, b in zip(one or [], other or [], strict=True):
        assert a.keys() == b.keys()
        assert a.get("timestamp") == b.get("timestamp")
        assert a["action"].keys() == b["action"].keys()
        for name, value in a["action"].items():
            assert value.dtype == b["action"][name].dtype
            np.testing.assert_array_equal(value, b["action"][name])


def raised(call: Any) -> tuple[type[OffboardError], str]:
    with pytest.raises(OffboardError) as found:
        call()
    return type(found.value), found.value.text


def plain(meta: Any) -> dict[str, Any]:
    """Without where it is served, which is nowhere here."""
    return {name: value for name, value in meta.items() if name not in ("host", "port")}


def test_the_scripted_policy_is_served_and_local_to_the_bit_through_an_episode() -> None:
    model = from_flags(Plugins.discover(), vendor="scripted")
    with both(model) as (served, local), connected(SimRobot()) as robot:
        assert plain(local.metadata) == plain(served.metadata)
        task = Stacking(robot)
        for seed in (3, 4):
            task.reset(seed)
            for session in (served, local):
                session.reset()
            for _ in range(3):
                observation = {**robot.observe(), "task": task.instruction}
                answer = local.infer(observation)
                same(served.infer(observation), answer)
                for row in answer:
                    robot.apply(row["action"], 1 / 15)


def test_it_has_the_members_of_a_clients_session() -> None:
    with both(arm()) as (served, local):
        assert isinstance(local, PolicySession)
        same(served.infer(seen()), local.infer(seen()))
        assert local.timing.last.keys() == served.timing.last.keys()
        assert local.timing.count == 1
        assert local.ping().keys() == served.ping().keys()
        assert local.stats()["steps"] == served.stats()["steps"] == 1
        assert local.warnings == served.warnings


@pytest.mark.parametrize(
    "observation",
    [
        pytest.param({}, id="nothing"),
        pytest.param(seen(**{"robot_state.ee_pose": np.zeros(6, np.float32)}), id="a shape"),
        pytest.param(seen(**{"image.wrist": np.zeros((8, 8, 3))}), id="a dtype"),
        pytest.param(seen(**{"robot_state.ee_pose": np.full(7, np.nan, np.float32)}), id="not finite"),
        pytest.param(seen(type="reset"), id="a control's name"),
        pytest.param(seen(**{"offboard.seq": 1}), id="the client's number"),
        pytest.param(seen(**{"offboard.deadline_ms": -1}), id="a reserved name"),
        pytest.param(seen(**{"offboard.delay_steps": 3}), id="what the model does not take"),
        pytest.param(seen(ee_pose=POSE), id="two names for one thing"),
        pytest.param(seen(**{"image.wrist": b"no picture"}), id="no image"),
        pytest.param(seen(thing=object()), id="no value"),
        pytest.param([], id="no map"),
    ],
)
def test_what_is_wrong_with_an_observation_is_said_in_the_same_words(observation: Any) -> None:
    with both(arm()) as (served, local):
        assert raised(lambda: local.infer(observation)) == raised(lambda: served.infer(observation))
        same(served.infer(seen()), local.infer(seen()))


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(lambda episode, inputs: 1 / 0, id="raises"),
        pytest.param(lambda episode, inputs: exit(3), id="leaves"),
        pytest.param(lambda episode, inputs: 3, id="answers something else"),
    ],
)
def test_a_policy_that_fails_is_told_of_in_the_same_words_and_the_session_goes_on(answer: Any) -> None:
    with both(arm(answer)) as (served, local):
        for _ in range(2):
            assert raised(lambda: local.infer(seen())) == raised(lambda: served.infer(seen()))


def test_numbers_that_no_robot_may_be_sent_never_leave_it() -> None:
    def diverging(episode: Any, inputs: Any) -> Any:
        chunk = Puppet().answer(episode, inputs)
        return chunk.replace(action={"target_pose": np.full((2, 7), np.nan), "target_grip": np.zeros((2, 1))})

    with both(arm(diverging)) as (served, local):
        error, text = raised(lambda: local.infer(seen()))
        assert (error.code, text) == ("invalid_action", raised(lambda: served.infer(seen()))[1])


def test_none_goes_on_and_an_empty_chunk_stops() -> None:
    answers = iter([None, np.zeros((0, 3))])

    def answer(episode: Any, inputs: Any) -> Any:
        found = next(answers)
        return None if found is None else Chunk(found)

    with LocalSession(source({"m": lambda: Puppet(answer)}, fps=10), quiet) as local:
        assert local.infer({"x": 1.0}) is None
        assert local.infer({"x": 1.0}) == []


def test_what_the_robot_writes_into_its_arrays_meanwhile_reaches_nobody() -> None:
    door = Door()
    policy = Puppet(doors={0: door})
    buffer = np.zeros(3, np.float32)
    with LocalSession(source({"m": lambda: policy}, fps=10), quiet) as local, door:
        asking = threading.Thread(target=local.infer, args=({"robot_state.q": buffer},))
        asking.start()
        reached(door.entered)
        buffer[:] = 9
        door.open()
        asking.join(60)
    np.testing.assert_array_equal(policy.episodes[0].seen[0]["robot_state.q"], np.zeros(3))


def test_all_calls_of_the_policy_come_from_one_thread_and_none_is_left_behind() -> None:
    policy = Puppet()
    with LocalSession(source({"m": lambda: policy}, fps=10), quiet) as local:
        local.infer({"x": 1.0})
        local.reset()
    assert len(policy.threads) == 1
    assert threading.get_ident() not in policy.threads
    reached(policy.closed)
    local.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "offboard-local"]


def test_one_thread_at_a_time() -> None:
    with Door() as door, LocalSession(source({"m": lambda: Puppet(doors={0: door})}, fps=10), quiet) as local:
        asking = threading.Thread(target=local.infer, args=({"x": 1.0},))
        asking.start()
        reached(door.entered)
        with pytest.raises(Busy):
            local.infer({"x": 1.0})
        door.open()
        asking.join(60)


def test_a_close_ends_the_call_that_another_thread_is_in() -> None:
    found: list[OffboardError] = []

    def ask(local: LocalSession) -> None:
        try:
            local.infer({"x": 1.0})
        except OffboardError as error:
            found.append(error)

    with Door() as door:
        local = LocalSession(source({"m": lambda: Puppet(doors={0: door})}, fps=10), quiet, ServiceTimeouts(close=0.05))
        asking = threading.Thread(target=ask, args=(local,))
        asking.start()
        reached(door.entered)
        local.close()
        asking.join(60)
        with pytest.raises(ConnectionLost, match="closed here"):
            local.infer({"x": 1.0})
    assert [type(error) for error in found] == [ConnectionLost]


def test_a_policy_that_does_not_return_is_a_timeout() -> None:
    with Door() as door:
        local = LocalSession(
            source({"m": lambda: Puppet(doors={0: door})}, fps=10), quiet, ServiceTimeouts(infer=2.0, close=0.05)
        )
        # Who notices first is the machine's affair: the wait that is over, or the watch over the model's thread.
        with pytest.raises(InferTimeout, match=r"did not answer within 2 s|stuck in one call"):
            local.infer({"x": 1.0})
        door.open()
        local.close()


def test_a_model_that_is_lost_is_loaded_anew_for_the_next_call_as_a_new_episode() -> None:
    made: list[Puppet] = []

    def lost(episode: Any, inputs: Any) -> Any:
        if len(made) == 1 and len(episode.seen) == 2:
            raise ModelLost("the child died")
        return Puppet().answer(episode, inputs)

    def make() -> Puppet:
        made.append(Puppet(lost))
        return made[-1]

    with LocalSession(source({"m": make}, fps=10), quiet) as local:
        assert local.infer({"x": 1.0})[0]["action"]["action"][0] == 1
        with pytest.raises(ModelLost, match="the child died"):
            local.infer({"x": 1.0})
        assert local.infer({"x": 1.0})[0]["action"]["action"][0] == 1
    assert len(made) == 2


def test_a_model_that_fails_between_two_calls_is_told_of_by_the_next() -> None:
    health = [Health()]
    told = threading.Event()

    def ask() -> Health:
        if health[0].state == "failed":
            told.set()
        return health[0]

    with LocalSession(source({"m": lambda: Puppet(health=ask)}, fps=10), quiet) as local:
        local.infer({"x": 1.0})
        health[0] = Health("failed", "the device is gone")
        reached(told)
        # Whoever asked has also told the session of it, once the event loop is free again.
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), local._loop).result(60)
        with pytest.raises(ModelLost, match="the device is gone"):
            local.infer({"x": 1.0})
        health[0] = Health()
        assert local.infer({"x": 1.0})[0]["action"]["action"][0] == 1


def test_a_model_that_cannot_be_loaded_leaves_nothing_behind() -> None:
    def fail() -> Puppet:
        raise RuntimeError("no CUDA")

    with pytest.raises(LoadFailed, match="m could not be loaded: RuntimeError: no CUDA"):
        LocalSession(source({"m": fail}, fps=10), quiet)
    assert not [thread for thread in threading.enumerate() if thread.name == "offboard-local"]


def test_what_is_waited_for_is_told_by_the_thread_that_waits_and_holds_up_no_load() -> None:
    told: list[tuple[str, threading.Thread]] = []
    with LocalSession(arm(), lambda status: told.append((status.state, threading.current_thread()))):
        assert set(told) == {("loading", threading.current_thread())}


def test_what_is_raised_by_whoever_is_told_is_raised_and_leaves_nothing_behind() -> None:
    def show(status: object) -> None:
        raise TimeoutError("no display")

    with pytest.raises(TimeoutError, match="no display"):
        LocalSession(arm(), show)
    assert not [thread for thread in threading.enumerate() if thread.name == "offboard-local"]


@dataclass(frozen=True)
class Pace:
    pace: float = changeable(1.0)
    names: tuple[str, ...] = changeable(())


def test_what_was_changed_in_a_session_is_repeated_in_the_one_that_follows_a_lost_one() -> None:
    def answer(episode: Any, inputs: Any) -> Any:
        if inputs["x"] < 0:
            raise ModelLost("the child died")
        return Chunk(np.full((1, 1), episode.params.pace))

    with both(source({"m": lambda: Puppet(answer, params=Pace)}, fps=10)) as (served, local):
        for refused in (
            lambda session: session.configure(peace=2.0),
            lambda session: session.configure(pace="fast"),
            lambda session: session.configure(pace=object()),
            lambda session: session.configure(pace=[0.0] * 200),
            lambda session: session.call("home"),
            lambda session: session.call("reset"),
        ):
            assert raised(partial(refused, local)) == raised(partial(refused, served))
        for old, new, change in (
            (1.0, 2.0, lambda session: session.configure(pace=2.0)),
            (2.0, 3.0, lambda session: session.call("configure", pace=3.0)["changed"]),
        ):
            assert change(local) == change(served) == {"pace": {"old": old, "new": new}}
            assert local.infer({"x": 1.0})[0]["action"]["action"][0] == new
            with pytest.raises(ModelLost):
                local.infer({"x": -1.0})
            assert local.infer({"x": 1.0})[0]["action"]["action"][0] == new


def test_what_is_repeated_is_what_was_sent_whatever_the_caller_makes_of_it() -> None:
    def answer(episode: Any, inputs: Any) -> Any:
        names.append("later")
        if inputs["x"] < 0:
            raise ModelLost("the child died")
        return Chunk(np.full((1, 1), len(episode.params.names)))

    names = ["calm"]
    with LocalSession(source({"m": lambda: Puppet(answer, params=Pace)}, fps=10), quiet) as local:
        local.configure(names=names)
        with pytest.raises(ModelLost):
            local.infer({"x": -1.0})
        assert local.infer({"x": 1.0})[0]["action"]["action"][0] == 1


def test_a_model_that_is_lost_as_its_session_opens_is_told_of_and_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    begin, losses = LocalSession._begin, [ModelLost("the child died")]

    async def lost_at_once(self: LocalSession, *told: Any) -> Any:
        session = await begin(self, *told)
        if losses:
            self._service.slot.lost(session.lease.replica, losses.pop())
        return session

    policy = Puppet()
    monkeypatch.setattr(LocalSession, "_begin", lost_at_once)
    with LocalSession(source({"m": lambda: policy}, fps=10), quiet) as local:
        with pytest.raises(ModelLost, match="the child died"):
            local.infer({"x": 1.0})
        assert [episode.seen for episode in policy.episodes] == [[]]
        assert local.infer({"x": 1.0})[0]["action"]["action"][0] == 1


def test_a_call_that_nothing_was_heard_of_leaves_a_session_that_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    door = Door()
    with door, LocalSession(source({"m": lambda: Puppet(doors={1: door})}, fps=10), quiet) as local:
        local.infer({"x": 1.0})
        with monkeypatch.context() as sooner:
            sooner.setattr("offboard_core.local.session._GRACE", 0.1 - ServiceTimeouts().infer)
            with pytest.raises(InferTimeout, match="not even of its limit"):
                local.infer({"x": 1.0})
        door.open()
        assert local.infer({"x": 1.0})[0]["action"]["action"][0] == 1


def test_ctrl_c_in_a_close_cuts_the_waiting_short_and_not_the_close(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(Puppet):
        def close(self) -> None:
            if how == "while it closes":
                os.kill(os.getpid(), signal.SIGINT)
                door.passing()
            super().close()

    hand_in = asyncio.run_coroutine_threadsafe

    def interrupted(work: Any, loop: Any) -> Any:
        hand_in(work, loop)
        raise KeyboardInterrupt

    for how in ("while it closes", "before it closes"):
        before, policy = set(threading.enumerate()), Slow()
        with Door() as door:
            local = LocalSession(source({"m": lambda one=policy: one}, fps=10), quiet)
            started = set(threading.enumerate()) - before
            assert len(started) > 1, "its own and the model's"
            if how == "before it closes":
                monkeypatch.setattr(asyncio, "run_coroutine_threadsafe", interrupted)
            with pytest.raises(KeyboardInterrupt):
                local.close()
            door.open()
            for thread in started:
                thread.join(30)
            assert not [thread.name for thread in started if thread.is_alive()], how
            assert policy.closed.is_set(), how


def test_ctrl_c_in_a_call_leaves_a_session_that_begins_anew() -> None:
    door = Door()

    def answer(episode: Any, inputs: Any) -> Any:
        if inputs["x"] < 0:
            os.kill(os.getpid(), signal.SIGINT)
            door.passing()
        return Puppet().answer(episode, inputs)

    with door, LocalSession(source({"m": lambda: Puppet(answer)}, fps=10), quiet) as local:
        local.infer({"x": 1.0})
        with pytest.raises(KeyboardInterrupt):
            local.infer({"x": -1.0})
        door.open()
        assert local.infer({"x": 1.0})[0]["action"]["action"][0] == 1


def test_ctrl_c_before_an_opening_can_be_cancelled_leaves_one_session(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(episode: Any, inputs: Any) -> Any:
        if inputs["x"] < 0:
            raise ModelLost("gone")
        return Puppet().answer(episode, inputs)

    hand_in = asyncio.run_coroutine_threadsafe

    def interrupted(work: Any, loop: Any) -> Any:
        hand_in(work, loop)
        monkeypatch.undo()
        raise KeyboardInterrupt

    model = source({"m": lambda: Puppet(answer)}, fps=10)
    with LocalSession(model, quiet, ServiceTimeouts(load=20)) as local:
        with pytest.raises(ModelLost):
            local.infer({"x": -1.0})
        monkeypatch.setattr(asyncio, "run_coroutine_threadsafe", interrupted)
        with pytest.raises(KeyboardInterrupt):
            local.infer({"x": 1.0})
        assert local.infer({"x": 1.0})[0]["action"]["action"][0] == 1
        with pytest.raises(ModelLost):
            local.infer({"x": -1.0})
        # A session that nobody has would keep the lost model in the slot, and this would wait for ever.
        again = threading.Thread(target=local.infer, args=({"x": 1.0},), daemon=True)
        again.start()
        again.join(30)
        assert not again.is_alive()


def test_ctrl_c_as_its_thread_starts_leaves_no_thread_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[threading.Thread] = []
    start = threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        start(thread)
        started.append(thread)
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        LocalSession(source({"m": Puppet}, fps=10), quiet)
    started[0].join(30)
    assert not started[0].is_alive()


# -- by its name -------------------------------------------------------------------------------------------------


def test_it_is_found_by_the_entry_points_of_policies() -> None:
    chosen = choose_policy("local:scripted")
    with open_policy(chosen, chosen.options()(timeout=30.0), quiet) as session:  # pyright: ignore
        assert session.metadata["type"] == "scripted"
    with pytest.raises(ConfigurationError, match="there is no vendor 'nobody'"):
        choose_policy("local:nobody").options()
    with pytest.raises(ConfigurationError, match="--timeout is 0"):
        chosen.options()(timeout=0)


def test_a_session_has_the_parameters_that_its_url_would_say_over_every_loss() -> None:
    def answer(episode: Any, inputs: Any) -> Any:
        if inputs["x"] < 0:
            raise ModelLost("the child died")
        return Chunk(np.full((1, 1), episode.params.pace))

    model = source({"m": lambda: Puppet(answer, params=Pace)}, fps=10)
    with LocalSession(model, quiet, params=[("pace", "2.5")]) as local:
        assert local.infer({"x": 1.0})[0]["action"]["action"][0] == 2.5
        with pytest.raises(ModelLost):
            local.infer({"x": -1.0})
        assert local.infer({"x": 1.0})[0]["action"]["action"][0] == 2.5
    chosen = choose_policy("local:scripted?speed=0.2")
    with open_policy(chosen, chosen.options()(), quiet) as session:  # pyright: ignore
        assert session.configure(speed=0.3) == {"speed": {"old": 0.2, "new": 0.3}}
        assert session.configured == {"speed": 0.3}


@pytest.mark.parametrize(("name", "says"), [("local:scripted", "^"), ("scripted", "^there is no policy 'scripted'; ")])
def test_where_it_is_not_installed_it_says_what_to_install(
    name: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("offboard_client.plugins.discovery.points", lambda group: [])  # pyright: ignore
    with pytest.raises(ConfigurationError, match=says + "the policy local:VENDOR is not installed: pip install off"):
        choose_policy(name)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--policy", "nowhere:x"], "there is no policy 'nowhere'; there are: local:VENDOR, openpi://HOST:PORT"),
        (["--policy", "local:scripted", "--checkpoints-dir", "/x"], "the vendor scripted reads no files"),
        (["--policy", "local:scripted", "--timeout", "-1"], "--timeout is -1"),
        (["--policy", "local"], "say what to serve"),
        (["--policy=local:scripted", "--model-id", "x"], "--model-id"),
        (["--policy=local:scripted", "--codec.fsp", "20"], "there is no option 'fsp' of the codec"),
        (["--policy=local:scripted", "--codec.fps", "20", "--codec.fps=20"], "--codec.fps is given twice"),
        (
            ["localhost:1", "--codec.fps", "20"],
            "--codec.fps is for --policy local:VENDOR; of a server's codec a session's",
        ),
        (["--policy", "scripted"], "HOST:PORT. A server stands without --policy: offboard run sim scripted"),
        (
            ["--policy", "ws://x:1"],
            "there is no policy 'ws'; there are: local:VENDOR, openpi://HOST:PORT. A server stands",
        ),
        (["local:scripted"], "local:scripted is a policy and no server: --policy local:scripted"),
        (["openpi://x:1"], "openpi://x:1 is a policy and no server: --policy openpi://x:1"),
        (["--policy", "local:scripted?speed=9"], "speed is 9 m/s, expected 0.1 to 0.4"),
        (["--policy", "local:scripted?sped=0.2"], "no session parameter 'sped'; did you mean speed?"),
        (["--policy", "local:scripted?layout=columns"], "layout cannot be chosen: there is no connection"),
    ],
)
def test_what_cannot_be_played_is_refused(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "sim", *arguments]) in (1, 2)
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("given", [["--codec.fps", "20"], ["--codec.fps=20", "--codec.map", "a=b"]], ids=str)
def test_options_of_its_codec_are_set_as_those_of_a_server(
    given: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    cli.main(["check", "sim", "--policy", "local:scripted", "--codec", "native", "--json", *given])
    meta = json.loads(capsys.readouterr().out)["meta"]
    assert (meta["codec"], meta["action_fps"]) == ("core.native", 20.0)


def test_a_vendor_that_has_an_option_of_cores_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass(frozen=True)
    class Own:
        timeout: float = 1.0

    monkeypatch.setattr("offboard_core.plugins.Offer.options", lambda offer: Own)  # pyright: ignore
    with pytest.raises(ConfigurationError, match="declares options that are core's own: timeout"):
        choose_policy("local:scripted").options()


def test_offboard_run_plays_it_without_a_server(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "sim", "--policy", "local:scripted", "--json", "--seed", "5"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["successes"], report["failures"]) == (1, {})
    assert report["server_ms"].keys() >= {"decode", "codec", "queue", "infer", "total"}


def test_its_help_says_how_an_option_of_the_codec_is_set(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "sim", "--policy", "local:scripted", "--help"]) == 0
    assert "--codec.NAME VALUE" in " ".join(capsys.readouterr().out.replace("│", " ").split())


def test_help_lists_it_without_importing_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "--help"]) == 0
    assert "  local:VENDOR        A vendor's policy in this process" in capsys.readouterr().out


def test_a_loader_is_given_its_own_options_and_no_others(monkeypatch):
    """A worker of another environment is told each of them by its name."""
    asked = {}

    def from_flags(_, **given):
        asked.update(given)
        raise ConfigurationError("seen")

    monkeypatch.setattr("offboard_core.local.options.from_flags", from_flags)
    chosen = choose_policy("local:lerobot")
    with pytest.raises(ConfigurationError, match="seen"):
        open_policy(chosen, chosen.options()(device="cpu", env="auto", fps=5.0), quiet)
    own = Plugins.discover().get(LOADER, "lerobot").options()
    assert type(asked["loader_options"]) is own
    assert asked["loader_options"] == own(device="cpu")
    assert (asked["env"], asked["fps"]) == ("auto", 5.0)
