import numpy as np
import pytest
from offboard_client.errors import BadObservation, InvalidAction
from offboard_openpi.checks import Checks
from offboard_openpi.families import FAMILIES

IMAGE = np.zeros((48, 64, 3), np.uint8)
DROID = {
    "observation/joint_position": np.zeros(7),
    "observation/gripper_position": 0.5,
    "observation/exterior_image_1_left": IMAGE,
    "observation/wrist_image_left": IMAGE,
    "prompt": "stack",
}
ALOHA = {"state": np.zeros(14), "images": {"cam_high": IMAGE.transpose(2, 0, 1)}, "prompt": "fold"}


def of(config):
    return Checks(config, FAMILIES.get(config))


def test_what_a_config_takes_is_sent_and_nothing_else():
    sent = of("pi05_droid").inputs({**DROID, "obs_time": 7, "offboard.seq": 3})
    assert sent.keys() == DROID.keys()
    assert sent["observation/gripper_position"].shape == (1,)
    assert sent["observation/joint_position"].dtype == np.float32
    chw = of("pi05_droid").inputs({**DROID, "observation/wrist_image_left": IMAGE.transpose(2, 0, 1)})
    assert chw["observation/wrist_image_left"].shape == (3, 48, 64)
    assert of("pi0_aloha").inputs(ALOHA)["images"].keys() == {"cam_high"}
    own = {name: value for name, value in ALOHA.items() if name != "prompt"}
    assert "prompt" not in of("pi0_aloha_sim").inputs(own), "the config brings its own"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"observation/joint_position": np.full(7, np.nan)}, "not finite"),
        ({"observation/joint_position": np.zeros(6)}, r"\(6,\) float64, expected \(7,\)"),
        ({"observation/joint_position": np.zeros(8)}, r"\(8,\)"),
        ({"observation/joint_position": np.full(7, 90.0)}, r"outside \[-6\.28.*rad"),
        ({"observation/joint_position": np.full(7, 1e9)}, "outside"),
        ({"observation/joint_position": np.zeros((7, 1))}, "expected"),
        ({"observation/joint_position": "far"}, "expected"),
        ({"observation/gripper_position": 40}, "0 open to 1 closed"),
        ({"observation/wrist_image_left": IMAGE[..., :1]}, "expected an image"),
        ({"observation/wrist_image_left": IMAGE / 255}, "float64"),
        ({"observation/wrist_image_left": IMAGE[0]}, "expected an image"),
        ({"observation/wrist_image_left": IMAGE[None]}, "expected an image"),
        ({"observation/wrist_image_left": IMAGE[:3]}, "channels first"),
        ({"observation/wrist_image_left": [1, 2]}, "list"),
        ({"prompt": ""}, "the instruction is ''"),
        ({"prompt": b"stack"}, "the instruction"),
        ({"prompt": None}, "the instruction is missing"),
    ],
)
def test_what_openpi_would_swallow_is_refused(change, reason):
    with pytest.raises(BadObservation, match=reason):
        of("pi05_droid").inputs({**DROID, **change})


def test_a_missing_name_tells_which_codec_would_make_it():
    with pytest.raises(BadObservation, match=r"lacks observation/joint_position.*fit this config: droid, native"):
        of("pi05_droid").inputs({"observation/state": np.zeros(8), "prompt": "stack"})


@pytest.mark.parametrize(
    ("images", "reason"),
    [
        ({}, "required: cam_high"),
        ({"cam_high": IMAGE.transpose(2, 0, 1), "front": IMAGE}, "front"),
        ({"cam_high": IMAGE}, r"\(3, h, w\)"),
        (IMAGE, "a map of camera names"),
    ],
)
def test_aloha_cameras(images, reason):
    with pytest.raises(BadObservation, match=reason):
        of("pi0_aloha").inputs({**ALOHA, "images": images})


def test_what_float32_cannot_hold_is_not_finite_for_the_model():
    with pytest.raises(BadObservation, match="state holds numbers that are not finite"):
        of("pi0_aloha").inputs({**ALOHA, "state": np.full(14, 1e300)})


def test_an_unknown_config_gets_what_holds_for_all():
    checks = of("my_own")
    assert checks.kind == "generic"
    assert checks.synthetic() is None
    odd = {"whatever": {"deep": np.zeros(3)}, "n": 5}
    assert checks.inputs(odd) == odd
    with pytest.raises(BadObservation, match="whatever/deep"):
        checks.inputs({"whatever": {"deep": np.array([np.inf])}})
    with pytest.raises(BadObservation, match="list/1/0"):
        checks.inputs({"list": [0.5, [np.nan], "text"]})
    with pytest.raises(BadObservation, match="the instruction"):
        checks.inputs({**odd, "prompt": " "})


@pytest.mark.parametrize("config", FAMILIES)
def test_what_warms_a_config_up_passes_its_own_checks(config):
    checks = of(config)
    synthetic = checks.synthetic()
    assert checks.inputs(synthetic).keys() == synthetic.keys()


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ({}, "NoneType"),
        ({"actions": [[1.0] * 8]}, "list"),
        ({"actions": np.zeros(8)}, r"\(8,\)"),
        ({"actions": np.zeros((1, 10, 8))}, r"\(1, 10, 8\)"),
        ({"actions": np.zeros((10, 7))}, "has 8 per step"),
        ({"actions": np.zeros((0, 8))}, "without numbers"),
        ({"actions": np.zeros((10**6, 8), np.int8)}, r"\(1000000, 8\), and \(4096, 1024\) is the most"),
        ({"actions": np.array([["a"] * 8])}, "<U1"),
        ({"actions": np.array([[0.0] * 8, [np.nan] * 8])}, "from step 1 of 2"),
    ],
)
def test_answers_nobody_meant_are_refused(reply, reason):
    with pytest.raises(InvalidAction, match=reason):
        of("pi05_droid").actions(reply)
    assert of("my_own").actions({"actions": np.zeros((4, 3))}).shape == (4, 3)


@pytest.mark.parametrize("shape", [(4097, 8), (1, 1025), (3, 0)])
def test_a_chunk_of_a_config_that_nobody_knows_has_an_end_too(shape):
    with pytest.raises(InvalidAction):
        of("my_own").actions({"actions": np.zeros(shape)})


MIDDLE = [[0.1] * 7 + [0.5]]


@pytest.mark.parametrize(
    ("actions", "meant"),
    [
        (np.tile(np.array(MIDDLE) + 5e-7, (10, 1)), False),
        (np.tile([[3.0] * 7 + [0.5]], (10, 1)), False),  # relative to a state, but for the gripper
        (np.tile([[0.1] * 7 + [0.51]], (10, 1)), True),
        (np.tile(MIDDLE, (1, 1)), True),
        (np.tile(MIDDLE, (10, 1)) + np.linspace(0, 1e-3, 10)[:, None], True),
    ],
)
def test_what_openpi_answers_if_it_understood_nothing_is_not_sent(actions, meant):
    checks = Checks("pi0_fast_droid", FAMILIES["pi0_fast_droid"], MIDDLE)
    if meant:
        assert checks.meant(actions) is actions
    else:
        with pytest.raises(InvalidAction, match="the middle of its range in every step"):
            checks.meant(actions)
    assert Checks("attached", None).meant(actions) is actions, "nothing is known of its statistics"
