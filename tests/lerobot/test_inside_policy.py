"""LeRobot's policy whose model a server has: LeRobot's own functions call it, in this process."""

from __future__ import annotations

import dataclasses
import itertools
import logging
import re
import types
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flow import MOST_DELAY, FlowPlugin, FlowPolicy
from inside_lerobot import FPS, MOTORS, SIDE, STEPS, TURNED, RTCPuppet, motors, native, onward, served
from offboard_client.errors import (
    BadObservation,
    ConfigurationError,
    ConnectionLost,
    InvalidAction,
    LoadFailed,
    PolicyFailed,
)
from offboard_core import Chunk, Field, InferenceServer
from puppets import PATIENCE, Door, Puppet, reached, source

#: LeRobot with its policies is imported for them, tens of seconds in each process.
pytestmark = pytest.mark.slow

NAMES = [f"{name}.pos" for name in MOTORS]


@pytest.fixture(autouse=True)
def robots(monkeypatch):
    """LeRobot is imported, and the robots in its process are these: other tests leave theirs behind."""
    from lerobot_policy_offboard import modeling_offboard

    found: list[Any] = []
    monkeypatch.setattr(modeling_offboard, "robot_in_this_process", lambda: found[0] if found else None)
    return found


def dataset(names: list[str] | None = None, fps: int = 30, camera: str = "front") -> Any:
    """What LeRobot says of a data set that it records into."""
    numbers = {"dtype": "float32", "shape": (6,), "names": NAMES if names is None else names}
    picture = {"dtype": "video", "shape": (SIDE, SIDE, 3), "names": ["height", "width", "channels"]}
    features = {"observation.state": numbers, f"observation.images.{camera}": picture, "action": numbers}
    return types.SimpleNamespace(features=features, fps=fps, stats=None)


def config(kind: str = "offboard", **words: Any) -> Any:
    from lerobot.policies.factory import make_policy_config

    return make_policy_config(kind, push_to_hub=False, **words)


def made(server: InferenceServer, meta: Any = None, **words: Any) -> Any:
    """As ``lerobot-record`` makes a policy."""
    from lerobot.policies.factory import make_policy

    words = {"url": f"127.0.0.1:{server.port}", "units": "degrees", **words}
    return make_policy(config(**words), ds_meta=dataset() if meta is None else meta)


def rolled_out(server: InferenceServer, **words: Any) -> Any:
    """As ``lerobot-rollout`` does: nothing is said of what the robot has."""
    from lerobot.policies.factory import get_policy_class

    given = config(**{"url": f"127.0.0.1:{server.port}", **words})
    return get_policy_class("offboard").from_pretrained(None, config=given, revision=None)


def observation(number: int = 0, **more: Any) -> dict[str, np.ndarray]:
    random = np.random.default_rng(number)
    return {
        "observation.state": np.arange(6, dtype=np.float32) + 10 * number,
        "observation.images.front": random.integers(0, 256, (SIDE, SIDE, 3), np.uint8),
        **more,
    }


def batch(*observations: dict[str, np.ndarray], task: Any = "reach") -> dict[str, Any]:
    """What the policy is handed of these robots."""
    import torch
    from lerobot.policies.utils import prepare_observation_for_inference

    each = [prepare_observation_for_inference(dict(one), torch.device("cpu"), task=task) for one in observations]
    names = [name for name in each[0] if name.startswith("observation.")]
    return {name: torch.cat([one[name] for one in each]) for name in names} | {"task": task}


def acted(policy: Any, seen: dict[str, np.ndarray], task: str = "reach") -> np.ndarray:
    """One step of LeRobot's loop: what its robot is sent, (6,)."""
    import torch
    from lerobot.policies.factory import make_pre_post_processors

    try:
        from lerobot.common.control_utils import predict_action
    except ImportError:
        from lerobot.utils.control_utils import predict_action
    before, after = make_pre_post_processors(policy.config)
    action = predict_action(seen, policy, torch.device("cpu"), before, after, False, task, "trial_arm")
    return action.squeeze(0).numpy()


def test_the_server_sees_what_the_robot_sees_and_its_chunk_is_played_step_by_step():
    puppet = Puppet(onward("observation.state", "action"))
    with served(puppet.answer, native(), puppet=puppet) as server:
        policy = made(server)
        played = [acted(policy, observation(number)) for number in range(STEPS + 1)]
        (episode,) = puppet.episodes
        asked = list(episode.seen)
    here = observation()["observation.state"]
    np.testing.assert_array_equal(played[:STEPS], [(here + k / 10).astype(np.float32) for k in range(1, STEPS + 1)])
    np.testing.assert_array_equal(played[STEPS], (observation(STEPS)["observation.state"] + 0.1).astype(np.float32))
    assert len(asked) == 2, "it is asked where nothing of a chunk is left"
    for seen, number in zip(asked, (0, STEPS), strict=True):
        for name, value in observation(number).items():
            np.testing.assert_array_equal(seen[name], value)
            assert seen[name].dtype == value.dtype
        assert seen["task"] == "reach"


def test_as_many_steps_of_a_chunk_are_played_as_is_said_and_a_reset_is_another_episode():
    puppet = Puppet(onward("observation.state", "action"))
    with served(puppet.answer, native(), puppet=puppet) as server:
        policy = made(server, n_action_steps=2, task="wave")
        for number in range(3):
            acted(policy, observation(number))
        assert [seen["task"] for seen in puppet.episodes[0].seen] == ["wave", "wave"]
        policy.reset()
        acted(policy, observation(4))
        assert len(puppet.episodes[0].seen) == 1, "the policy has forgotten the episode before"
        assert len(puppet.episodes) == 1


def test_motors_are_matched_by_their_names_in_both_directions():
    puppet = Puppet(onward("motors", "target_motors"))
    with served(puppet.answer, motors(TURNED), puppet=puppet) as server:
        action = acted(made(server), observation())
        np.testing.assert_array_equal(puppet.episodes[0].seen[0]["motors"], [5, 0, 1, 2, 3, 4])
    np.testing.assert_array_equal(action, (np.arange(6) + 0.1).astype(np.float32))


def test_a_person_says_what_is_what():
    meta = dataclasses.replace(
        native(),
        observation={"robot_state.q": native().observation["observation.state"].__class__(shape=(5,), dtype="float32")},
        action={name: native().action["action"].__class__(shape=(width,)) for name, width in (("a", 1), ("b", 5))},
    )

    def answer(_: Any, inputs: Any) -> Chunk:
        q = np.asarray(inputs["robot_state.q"])
        return Chunk({"a": np.full((1, 1), 7.0), "b": q[None] + 1})

    with served(answer, meta) as server:
        words = {"robot_state.q": "observation.state[1:6]", "a": "action[0]", "b": "action[1:6]"}
        assert acted(made(server, map=words), observation()).tolist() == [7, 2, 3, 4, 5, 6]


def test_one_number_for_each_motor_is_matched_by_its_name():
    number = dataclasses.replace(native().observation["observation.state"], shape=(1,))
    names = [f"{name}.pos" for name in TURNED]
    meta = dataclasses.replace(
        motors(TURNED), observation=dict.fromkeys(names, number), action={name: Field(shape=(1,)) for name in names}
    )

    def answer(_: Any, inputs: Any) -> Chunk:
        return Chunk({name: np.asarray(inputs[name], np.float32)[None] + i for i, name in enumerate(names)})

    with served(answer, meta) as server:
        # The gripper is the first of the server's, and the last of LeRobot's.
        assert acted(made(server), observation()).tolist() == [0 + 1, 1 + 2, 2 + 3, 3 + 4, 4 + 5, 5 + 0]


def test_a_model_that_declares_nothing_is_sent_what_lerobot_has():
    seen: list[Any] = []

    def policy(sent: Any) -> Any:
        seen.append(sent)
        return np.asarray(sent["observation.state"])[None] + 1

    with InferenceServer({"m": lambda: policy}, port=0) as server:
        assert acted(made(server), observation()).tolist() == [1, 2, 3, 4, 5, 6]
    assert {*observation(), "task"} <= seen[0].keys()


@pytest.mark.parametrize(
    ("meta", "says", "words", "why"),
    [
        (motors(), dataset(fps=10), {}, r"played 30 times per second, and LeRobot plays 10"),
        (motors(), dataset(), {"units": None}, r"motors is in degrees.*give --policy\.units=degrees"),
        (motors(), dataset(), {"units": "range"}, r"motors is in degrees.*joints count in range"),
        (motors(), dataset(), {"names": list(TURNED)}, r"--policy\.names are gripper.*LeRobot's .* has shoulder_pan"),
        (motors(("wheel", *MOTORS[:5])), dataset(), {}, r"needs motors, and LeRobot has observation\.state \(6\)"),
        (motors(), dataset(camera="wrist"), {}, r"needs image\.front, and LeRobot has .*observation\.images\.wrist"),
        (native(), dataset(), {"map": {"q": "observation.state"}}, r"names q; the server reads observation\.state"),
        (native(), dataset(), {"map": {"action": "action[0:5]"}}, r"answers 6 numbers as action, and LeRobot plays 5"),
        (native(), dataset(), {"map": {"observation.state": "observation.state[0:9]"}}, r"wants number 8"),
        (native(), dataset([f"{n}.vel" for n in MOTORS]), {"on_failure": "hold"}, r"sends a robot where it stands"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_before_anything_moves_with_both_sides_named(meta, says, words, why):
    puppet = Puppet()
    with served(puppet.answer, meta, puppet=puppet) as server:
        with pytest.raises(ConfigurationError, match=why):
            made(server, says, **words)
        assert not puppet.batches, "nothing was asked"


def test_without_a_data_set_a_person_says_what_the_numbers_are_and_how_often_they_are_played():
    with served(onward("motors", "target_motors"), motors(TURNED)) as server:
        policy = rolled_out(server, names=NAMES, units="degrees", fps=FPS)
        np.testing.assert_array_equal(acted(policy, observation()), (np.arange(6) + 0.1).astype(np.float32))
        with pytest.raises(ConfigurationError, match=r"give --policy\.fps=30 if that is its --fps"):
            rolled_out(server, names=NAMES, units="degrees")
        with pytest.raises(ConfigurationError, match=r"--policy\.names='\[gripper, shoulder_pan, .*if that is"):
            acted(rolled_out(server, units="degrees", fps=FPS), observation())


def test_what_the_robot_in_lerobots_process_says_need_nobody_say(robots):
    puppet = Puppet(onward("motors", "target_motors"))
    arm = types.SimpleNamespace(
        observation_features=dict.fromkeys(["current", *NAMES], float) | {"front": (SIDE, SIDE, 3)},
        action_features=dict.fromkeys(NAMES, float),
        config=types.SimpleNamespace(use_degrees=True),
    )
    robots.append(arm)
    with served(puppet.answer, motors(TURNED), puppet=puppet) as server:
        action = acted(rolled_out(server, fps=FPS), observation())
        np.testing.assert_array_equal(puppet.episodes[0].seen[0]["motors"], [5, 0, 1, 2, 3, 4])
        np.testing.assert_array_equal(action, (np.arange(6) + 0.1).astype(np.float32))
        with pytest.raises(
            ConfigurationError, match=r"--policy\.names are gripper, .*LeRobot's observation\.state has"
        ):
            acted(rolled_out(server, fps=FPS, names=list(TURNED)), observation())
        arm.config.use_degrees = False
        with pytest.raises(ConfigurationError, match=r"in degrees.*LeRobot's joints count in range"):
            acted(rolled_out(server, fps=FPS), observation())


def test_the_one_robot_of_a_process_is_found(monkeypatch):
    class Arm:
        """Of which no other test has one."""

    from lerobot_policy_offboard.side import robot_in_this_process

    monkeypatch.setattr("lerobot.robots.Robot", Arm)
    assert robot_in_this_process() is None
    one = Arm()
    assert robot_in_this_process() is one
    another = Arm()
    assert robot_in_this_process() is None
    del one, another


def test_an_answer_of_an_episode_that_is_over_is_not_played():
    puppet = Puppet(onward("observation.state", "action"))
    with Door() as door, served(puppet.answer, native(), puppet=puppet) as server, ThreadPoolExecutor(1) as engine:
        puppet.doors = {0: door}
        policy = rolled_out(server)
        asked = engine.submit(policy.predict_action_chunk, batch(observation()))
        reached(door.entered)
        policy.reset()
        door.open()
        with pytest.raises(InvalidAction, match="of an episode that is over"):
            asked.result(PATIENCE)
        assert policy.predict_action_chunk(batch(observation(1))).shape == (1, STEPS, 6)


def test_several_environments_have_a_session_each():
    puppet = Puppet(onward("observation.state", "action"))
    with served(puppet.answer, native(), puppet=puppet) as server:
        policy = rolled_out(server)
        seen = batch(*(observation(number) for number in range(3)), task=["a", "b", "c"])
        actions = policy.select_action(seen).numpy()
        assert policy.predict_action_chunk(seen).shape == (3, STEPS, 6)
        assert sorted(episode.seen[0]["task"] for episode in puppet.episodes) == ["a", "b", "c"]
    expected = [observation(number)["observation.state"] + np.float32(0.1) for number in range(3)]
    np.testing.assert_allclose(actions, expected, rtol=1e-6)


def fails(after: int, how: Any) -> Any:
    good = onward("observation.state", "action")

    def answer(episode: Any, inputs: Any) -> Any:
        return good(episode, inputs) if len(episode.seen) <= after else how(inputs)

    return answer


def _raises(inputs: Any) -> Any:
    raise ValueError("out of order")


NOT_FINITE = Chunk({"action": np.full((2, 6), np.nan)})
HUGE = Chunk({"action": np.full((2, 6), 1e39)})
NARROW = Chunk({"action": np.zeros((2, 5), np.float32)})


@pytest.mark.parametrize(
    ("how", "error", "why"),
    [
        (_raises, PolicyFailed, "out of order"),
        (lambda _: NOT_FINITE, InvalidAction, "finite"),
        (lambda _: NARROW, InvalidAction, "5"),
        (lambda _: HUGE, InvalidAction, "not finite as float32"),
        (lambda _: None, InvalidAction, "nothing new to say"),
        (lambda _: Chunk({"action": np.zeros((0, 6), np.float32)}), InvalidAction, "says that the episode is over"),
    ],
)
def test_where_no_action_comes_there_is_an_error_or_the_robot_is_held_where_it_stood(how, error, why, caplog):
    with served(fails(1, how), native()) as server:
        policy = made(server, n_action_steps=1)
        acted(policy, observation(0))
        with pytest.raises(error, match=why):
            acted(policy, observation(1))
        policy.reset()
        acted(policy, observation(2))

        held = made(server, n_action_steps=1, on_failure="hold")
        acted(held, observation(0))
        with caplog.at_level(logging.ERROR, "offboard"):
            for number in (1, 2):
                np.testing.assert_array_equal(acted(held, observation(number)), observation(1)["observation.state"])
        assert why in caplog.text
        assert "held where it is until the episode is over" in caplog.text
        held.reset()
        np.testing.assert_array_equal(
            acted(held, observation(3)), (observation(3)["observation.state"] + 0.1).astype(np.float32)
        )


def test_a_lost_connection_is_the_end_of_its_episode():
    puppet = Puppet(onward("observation.state", "action"))
    with served(puppet.answer, native(), puppet=puppet) as server:
        policy = made(server, n_action_steps=1)
        acted(policy, observation(0))
        policy._opened[0]._connection._socket.close()
        for number in (1, 2):
            with pytest.raises(ConnectionLost, match="This episode is lost: the policy has forgotten"):
                acted(policy, observation(number))
        assert len(puppet.episodes) == 1, "no session was opened for what is lost"
        policy.reset()
        acted(policy, observation(3))
        assert len(puppet.episodes[-1].seen) == 1, "it is another episode"


def test_with_a_strategy_a_lost_connection_is_the_end_of_its_episode_too():
    with served(onward("motors", "target_motors"), motors()) as server:
        policy = made(server, chunks="prefetch")
        acted(policy, observation(0))
        policy._opened[0]._connection._socket.close()
        for _ in range(2):
            with pytest.raises(ConnectionLost, match="This episode is lost"):
                on_its_way(policy, 10 * STEPS)
        policy.reset()
        np.testing.assert_allclose(acted(policy, observation(3)), observation(3)["observation.state"] + 0.1, rtol=1e-6)


def test_what_is_no_observation_is_not_sent():
    puppet = Puppet(onward("observation.state", "action"))
    with served(puppet.answer, native(), puppet=puppet) as server:
        policy = made(server)
        seen = batch(observation())
        state = seen["observation.state"].clone()
        state[0, 2] = float("nan")
        for wrong, why in (
            ({**seen, "observation.state": state}, r"nan.*not all finite numbers"),
            ({**seen, "observation.images.front": 2 * seen["observation.images.front"] - 1}, r"floats from 0 to 1"),
            ({"task": "reach"}, r"expected tensors of one batch"),
            ({"observation.state": seen["observation.state"]}, r"no observation\.images\.front this time"),
        ):
            with pytest.raises(BadObservation, match=why):
                policy.select_action(wrong)
        assert not puppet.batches


def test_real_time_chunking_is_told_what_is_not_played_yet_without_what_lerobot_filled_up():
    import torch

    flow = FlowPolicy()
    with InferenceServer({"": source({"m": lambda: flow}, codec="scaled", plugin=FlowPlugin())}, port=0) as server:
        policy = rolled_out(
            server,
            fps=10.0,
            map={"robot_state.q": "observation.state[0:3]", "target_joints": "action"},
            names=["a", "b", "c"],
        )
        assert policy.supports_rtc()
        seen = {"observation.state": torch.tensor([[0.1, 0.2, 0.3]]), "task": ["reach"]}
        first = policy.predict_action_chunk(seen, inference_delay=0, prev_chunk_left_over=None)[0]
        assert flow.told[-1].prefix is None
        filled = torch.zeros(20, 3)
        filled[:10] = first[6:]
        second = policy.predict_action_chunk(seen, inference_delay=3, prev_chunk_left_over=filled)[0]
        told = flow.told[-1]
        assert told.delay_steps == 3
        np.testing.assert_allclose(told.prefix.action, first[6:].numpy() * 10, rtol=1e-6)
        np.testing.assert_allclose(second[:3], first[6:9], rtol=1e-5)
        with pytest.raises(ConfigurationError, match=rf"takes {MOST_DELAY + 1} steps, and this model can go on from"):
            policy.predict_action_chunk(seen, inference_delay=MOST_DELAY + 1, prev_chunk_left_over=filled)
        with pytest.raises(BadObservation, match=r"expected \(T, 3\)"):
            policy.predict_action_chunk(seen, inference_delay=1, prev_chunk_left_over=torch.zeros(4, 2))


def test_a_model_that_is_told_nothing_of_the_kind_has_no_real_time_chunking(caplog):
    with served(onward("observation.state", "action"), native()) as server:
        assert not rolled_out(server).supports_rtc()
    assert "is not told delay_steps and prefix: no real-time chunking" in caplog.text


def on_its_way(policy: Any, steps: int) -> list[np.ndarray]:
    """What an arm is sent that goes where it is sent."""
    played = [observation()["observation.state"]]
    for _ in range(steps):
        played.append(acted(policy, observation() | {"observation.state": played[-1]}))
    return played


@pytest.mark.parametrize("strategy", ["prefetch", "latest", "rtc"])
def test_with_a_strategy_the_policy_is_asked_while_its_chunk_is_played(strategy):
    puppet = RTCPuppet()
    with Door() as door, served(puppet.answer, motors(TURNED), puppet=puppet) as server:
        puppet.doors = {1: door}
        policy = made(server, chunks=strategy)
        played = on_its_way(policy, 4 * STEPS - 1)
        assert len(puppet.batches) <= 2, "the second answer is awaited still"
        door.open()
    for before, after in itertools.pairwise(played):
        np.testing.assert_allclose(after - before, 0.1, atol=1e-4)


def test_with_a_strategy_an_answer_that_fails_is_an_error_and_a_reset_another_episode():
    good = onward("motors", "target_motors")

    def answer(episode: Any, inputs: Any) -> Chunk:
        return Chunk({"target_motors": np.full((2, 6), np.nan)}) if inputs["task"] == "fail" else good(episode, inputs)

    puppet = Puppet(answer)
    with served(puppet.answer, motors(), puppet=puppet) as server:
        policy = made(server, chunks="prefetch", on_failure="hold")
        seen = observation(1)
        acted(policy, seen)
        for _ in range(3 * STEPS):
            action = acted(policy, seen, "fail")
        np.testing.assert_array_equal(action, seen["observation.state"])
        policy.reset()
        asked = len(puppet.episodes[0].seen)
        np.testing.assert_allclose(acted(policy, observation(2)), observation(2)["observation.state"] + 0.1, rtol=1e-6)
        assert len(puppet.episodes[0].seen) < asked


def test_a_strategy_that_this_model_cannot_be_played_with_is_refused_at_once():
    why = "real-time chunking needs a model that is told"
    with served(onward("motors", "target_motors"), motors()) as server, pytest.raises(ConfigurationError, match=why):
        made(server, chunks="rtc")
    why = "does not say at which rate its actions are played"
    with (
        served(onward("observation.state", "action"), native()) as server,
        pytest.raises(ConfigurationError, match=why),
    ):
        made(server, chunks="latest")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ({"url": "h", "chunks": "fastest"}, "chunk strategy"),
        ({"url": "h", "chunks": "latest", "n_action_steps": 3}, "says how sequential plays"),
        ({"url": ""}, "where is the server"),
        ({"url": "h", "on_failure": "zeros"}, "on_failure is 'zeros'; expected raise or hold"),
        ({"url": "h", "units": "radians"}, "expected degrees or range"),
        ({"url": "h", "timeout": 0.0}, "timeout is 0; expected a number above 0"),
        ({"url": "h", "n_action_steps": 0}, "expected 1 or more"),
        ({"url": "h", "pretrained_path": "somewhere"}, "has no weights here"),
    ],
)
def test_words_that_cannot_be_are_refused(words, why):
    # LeRobot 0.4 says that there is no such policy, and this only as the cause.
    with pytest.raises((ValueError, ConfigurationError)) as raised:
        config(**words)
    assert why in str(raised.value.__cause__ or raised.value)


@pytest.mark.parametrize("kind", ["offboard", "pi05_websocket"])
def test_the_page_has_every_option_and_no_other(kind):
    from lerobot.configs.policies import PreTrainedConfig

    page = (Path(__file__).resolve().parents[2] / "docs" / "how-to" / "inside-lerobot.md").read_text("utf-8")
    before, _, after = page.partition("`--policy.type=pi05_websocket` is this")
    own = {field.name for field in dataclasses.fields(PreTrainedConfig.get_choice_class(kind))}
    own -= {field.name for field in dataclasses.fields(PreTrainedConfig)}
    of_both = {"names", "fps", "units", "task", "on_failure", "timeout", "load_timeout", "connect_timeout"}
    if kind == "offboard":
        told = {
            name for row in re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", before, re.M) for name in re.findall(r"\w+", row)
        }
        assert told | set(re.findall(r"`(openpi_\w+)`", before)) == own
        assert set(re.findall(r"--policy\.(\w+)", page)) <= own | {"type", "NAME"}
    else:
        assert set(re.findall(r"^\| `(\w+)` \|", after, re.M)) == own - of_both | {"timeout"}


def test_there_is_nothing_to_train_or_to_compile():
    given = config(url="gpu-box")
    given.compile_model = False
    with pytest.raises(ConfigurationError, match="leave --use_torch_compile out"):
        given.compile_model = True
    with pytest.raises(ConfigurationError, match="there is nothing to train here"):
        given.get_optimizer_preset()


def test_a_token_reaches_the_server_and_no_log():
    given = config(url="gpu-box", token="s3cret")
    assert "s3cret" not in repr(given) + str(dataclasses.asdict(given))
    assert given.secret == "s3cret"


def test_an_address_where_nothing_is_ends_it():
    given = config(url="127.0.0.1:1", load_timeout=0.1)
    from lerobot.policies.factory import make_policy

    with pytest.raises((ConnectionError, LoadFailed)):
        make_policy(given, ds_meta=dataset())
