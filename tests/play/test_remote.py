"""A server's policy as a stream, and what of an observation is sent."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from offboard_client.chunks import Step
from offboard_client.errors import ConfigurationError
from offboard_client.play import HoldStill, RemotePolicy, Shrinking
from offboard_core import InferenceServer
from robots import get_json

PIL = pytest.importorskip("PIL")


def image(width: int, height: int) -> Any:
    return np.zeros((height, width, 3), np.uint8)


@pytest.mark.parametrize(
    ("resize", "stated", "size"),
    [
        (None, None, (640, 480)),
        (320, None, (320, 240)),
        ((100, 480), None, (100, 75)),
        (320, [224, 224], (224, 168)),
        (320, {"image.wrist": [64, 64]}, (64, 48)),
        (320, {"image.other": [64, 64]}, (320, 240)),
        (4096, None, (640, 480)),
        (None, [1000, 1000], (640, 480)),
    ],
)
def test_an_image_is_shrunk_to_what_is_stated_its_aspect_kept_and_never_enlarged(
    resize: Any, stated: Any, size: tuple[int, int]
) -> None:
    seen = {"image.wrist": image(640, 480), "robot_state.q": np.zeros(7), "depth": np.zeros((4, 4, 3)), "task": "x"}
    sent = Shrinking(resize)(seen, {"image_sizes": stated})
    assert sent["image.wrist"].shape == (size[1], size[0], 3)
    assert seen["image.wrist"].shape == (480, 640, 3), "the robot's own is as it was"
    assert all(sent[name] is seen[name] for name in ("robot_state.q", "depth", "task"))


@pytest.mark.parametrize(
    ("shape", "width"), [((480, 640, 3), 640), ((-1, -1, 3), 320), ((480, -1, 3), 320), (None, 320)]
)
def test_an_image_of_which_the_policy_declares_its_size_is_not_shrunk_by_resize(shape: Any, width: int) -> None:
    declared = {"observation": {"image.wrist": {"shape": shape}, "robot_state.q": {"shape": [7]}}}
    sent = Shrinking(320)({"image.wrist": image(640, 480), "image.front": image(640, 480)}, declared)
    assert (sent["image.wrist"].shape[1], sent["image.front"].shape[1]) == (width, 320)


@pytest.mark.parametrize("resize", [0, -1, 1.5, True, (1, 2, 3), (224, 0), "224", 9000])
def test_a_size_that_is_none_is_refused(resize: Any) -> None:
    with pytest.raises(ConfigurationError, match="resize is"):
        Shrinking(resize)


def test_what_was_seen_before_is_sent_no_larger_than_what_is_seen_now() -> None:
    frames = [{"image.wrist": image(640, 480)}, {"image.wrist": image(640, 480), "robot_state.q": np.zeros(7)}]
    sent = Shrinking(320)({"image.wrist": image(640, 480), "offboard.history": frames}, {})
    assert [frame["image.wrist"].shape for frame in sent["offboard.history"]] == [(240, 320, 3)] * 2
    assert sent["offboard.history"][1]["robot_state.q"] is frames[1]["robot_state.q"]
    assert frames[0]["image.wrist"].shape == (480, 640, 3), "the kept frames are as they were"


def test_an_image_without_a_pixel_is_left_to_whoever_checks_what_is_sent() -> None:
    empty = image(640, 0)
    assert Shrinking(320)({"image.wrist": empty}, {})["image.wrist"] is empty


def test_what_is_prepared_is_given_the_shrunk_image() -> None:
    shapes: list[Any] = []

    def prepare(observation: Any, meta: Any) -> Any:
        shapes.append(observation["image.wrist"].shape)
        return {**observation, "more": 1}

    assert Shrinking(64, prepare)({"image.wrist": image(128, 128)}, {})["more"] == 1
    assert shapes == [(64, 64, 3)]


def test_a_served_policy_is_a_stream_of_actions() -> None:
    seen: list[dict[str, Any]] = []

    def policy(observation: Any) -> Any:
        seen.append(observation)
        return [{"target_joints": observation["robot_state.q"] + i} for i in range(5)]

    with (
        InferenceServer({"it": lambda: policy}, port=0, fps=10) as server,
        RemotePolicy(f"http://127.0.0.1:{server.port}", resize=32, chunks="sequential") as remote,
    ):
        remote.task = "go on"
        assert remote.wants(0.0)
        remote.observe({"robot_state.q": np.ones(2), "image.wrist": image(64, 48)}, 0.0)
        assert remote.wait(60)
        played = [remote.next_action(0.1 * i) for i in range(6)]
        assert [float(step.action["target_joints"][0]) for step in played if isinstance(step, Step)] == [1, 2, 3, 4, 5]
        assert isinstance(played[5], HoldStill)
        assert remote.metadata["action_fps"] == 10
    (observation,) = seen
    assert observation["image.wrist"].shape == (24, 32, 3)
    assert observation["task"] == "go on"


def test_a_model_that_cannot_be_played_so_leaves_no_session_behind() -> None:
    with InferenceServer({"it": lambda: lambda observation: []}, port=0, fps=10) as server:
        with pytest.raises(ConfigurationError, match="takes nothing"):
            RemotePolicy("127.0.0.1", server.port, chunks="rtc")
        until = time.monotonic() + 60
        while (open_sessions := get_json(server, "/api/v1/status")["sessions"]) and time.monotonic() < until:
            time.sleep(0.01)
        assert open_sessions == 0
