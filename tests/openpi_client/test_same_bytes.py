"""What the client sends to a stock openpi server is what openpi-client sends for the same robot, to the byte."""

from contextlib import closing

import numpy as np
import pytest
from lying_openpi import Liar, frame
from offboard_client.play import choose_policy, open_policy
from offboard_client.session import OpenPIOptions
from offboard_client.wire import letterbox

RANDOM = np.random.default_rng(0)


def picture(h, w):
    return RANDOM.integers(0, 256, (h, w, 3), dtype=np.uint8)


WRIST, EXTERIOR = picture(48, 64), picture(360, 640)
Q = np.array([0.1, -0.2, 0.3, -1.4, 0.5, 1.6, 0.7])
ROBOT = {
    "robot_state.q": Q,
    "robot_state.ee_pose": np.array([0.4, -0.1, 0.3, 1.0, 0.0, 0.0, 0.0]),
    "grip": 0.25,
    "robot_state.left.q": Q[:6],
    "robot_state.right.q": -Q[:6],
    "grip.left": 0.25,
    "grip.right": 1.0,
    "image.wrist": WRIST,
    "image.exterior": EXTERIOR,
    "task": "pick up the cube",
}
#: Layout → what openpi's own examples of such robots would send, and the width of the answer.
SENT = {
    "droid": (
        {
            "observation/joint_position": Q.astype(np.float32),
            "observation/gripper_position": np.float32([0.25]),
            "observation/wrist_image_left": WRIST,
            "observation/exterior_image_1_left": EXTERIOR,
            "prompt": "pick up the cube",
        },
        8,
    ),
    "libero": (
        {
            "observation/state": np.float32([0.4, -0.1, 0.3, 0, 0, 0, 0.03, -0.03]),
            "observation/wrist_image": np.ascontiguousarray(WRIST[:, ::-1]),
            "observation/image": np.ascontiguousarray(EXTERIOR[:, ::-1]),
            "prompt": "pick up the cube",
        },
        7,
    ),
    "aloha": (
        {
            "state": np.concatenate([Q[:6], [0.75], -Q[:6], [0.0]]).astype(np.float32),
            "images": {"cam_high": np.ascontiguousarray(EXTERIOR.transpose(2, 0, 1))},
            "prompt": "pick up the cube",
        },
        14,
    ),
}


@pytest.mark.parametrize("layout", SENT)
def test_an_observation(client, layout):
    expected, width = SENT[layout]
    heard = []

    def script(peer):
        heard.append(peer.hear_bytes())
        peer.pong()
        peer.say(frame({"actions": np.zeros((50, width))}))
        peer.hear()

    with Liar(script) as liar:
        client.connect(host="127.0.0.1", port=liar.port)
        assert client.infer(expected)["actions"].shape == (50, width)
        policy = choose_policy(f"openpi://127.0.0.1:{liar.port}")
        with closing(open_policy(policy, OpenPIOptions(layout=layout), lambda status: None)) as session:
            assert len(session.infer(ROBOT)) == round(
                session.metadata["action_horizon_sec"] * session.metadata["action_fps"]
            )
    genuine, ours = heard
    assert ours == genuine


@pytest.mark.parametrize("size", [(224, 224), (320, 180), (700, 700)])
@pytest.mark.parametrize("image", [WRIST, EXTERIOR, picture(7, 300)], ids=lambda image: "x".join(map(str, image.shape)))
def test_an_image_that_is_resized(client, image, size):
    width, height = size
    np.testing.assert_array_equal(letterbox(image, width, height), client.resize(image, height, width))
