"""Positronic's words for a codec with the modality config that belongs to it."""

import re

import pytest
from gr00t_standin import gr00t_server, write_checkpoint
from offboard_client.errors import ConfigurationError, LoadFailed
from offboard_core.catalog import from_flags
from offboard_core.cli import parse_serve
from offboard_core.plugins import CODEC, Plugins
from offboard_core.process import free_port
from offboard_core.types import ALONE
from offboard_gr00t.modality import ActionKind, Modalities
from offboard_gr00t.variants import CONFIGS, VARIANTS, check_config

#: Positronic's words, as its documents have them.
THEIRS = {
    "ee": ("ee_quat", "ee"),
    "ee_joints": ("ee_quat_joints", "ee_q"),
    "ee_rot6d": ("ee_rot6d", "ee_rot6d"),
    "ee_rot6d_joints": ("ee_rot6d_joints", "ee_rot6d_q"),
    "ee_rot6d_rel": ("ee_rot6d", "ee_rot6d_rel"),
    "ee_rot6d_joints_rel": ("ee_rot6d_joints", "ee_rot6d_q_rel"),
}


def test_the_words_say_what_positronics_do():
    assert {word: (says["codec"], says["modality_config"]) for word, says in VARIANTS.items()} == THEIRS
    there = {offer.name for offer in Plugins.discover().offers(CODEC)}
    assert {f"gr00t.{codec}" for codec, _ in THEIRS.values()} <= there


def trained(pose=9, joints=False, relative=False, known=True):
    """What the processor of a checkpoint says that was trained so."""
    state = ("ee_pose", "grip", *(["joint_position"] if joints else []))
    kinds = {"ee_pose": ActionKind("RELATIVE" if relative else "ABSOLUTE"), "grip": ActionKind()}
    widths = {"state.ee_pose": pose, "action.ee_pose": pose, "state.grip": 1, "action.grip": 1}
    return Modalities(
        video=("exterior_image_1", "wrist_image"), state=state, action=("ee_pose", "grip"), horizon=16,
        language=("annotation.language.language_instruction",), kinds=kinds if known else {},
        widths=widths if known else {},
    )  # fmt: skip


TRAINED = {
    "ee": trained(7),
    "ee_q": trained(7, joints=True),
    "ee_rot6d": trained(),
    "ee_rot6d_q": trained(joints=True),
    "ee_rot6d_rel": trained(relative=True),
    "ee_rot6d_q_rel": trained(joints=True, relative=True),
}


@pytest.mark.parametrize("asked", CONFIGS)
@pytest.mark.parametrize("found", TRAINED)
def test_each_config_fits_what_was_trained_with_it_and_nothing_else(asked, found):
    if asked == found:
        check_config(asked, TRAINED[found], "10000")
        return
    with pytest.raises(LoadFailed, match=f"10000 was not trained with the modality config {asked},") as refused:
        check_config(asked, TRAINED[found], "10000")
    assert f"--modality-config {found} (the variant {CONFIGS[found].word})" in refused.value.text
    assert refused.value.permanent


def test_what_the_checkpoint_does_not_say_is_not_held_against_it():
    for name in ("ee", "ee_rot6d", "ee_rot6d_rel"):
        check_config(name, trained(known=False), "c")
    with pytest.raises(LoadFailed, match="the group of the state joint_position, which the config has and the check"):
        check_config("ee_q", trained(known=False), "c")


def test_a_checkpoint_of_no_config_and_a_config_that_none_has():
    other = Modalities(video=("front",), state=("arm",), action=("arm",), language=(), horizon=16)
    with pytest.raises(LoadFailed, match=r"another --codec, without --modality-config: .* the camera exterior_image_1"):
        check_config("ee", other, "c")
    with pytest.raises(ConfigurationError, match=re.escape("no modality config 'ee_rot6'; did you mean ee_rot6d")):
        check_config("ee_rot6", other, "c")


def test_the_flags_and_words_of_the_command_line_reach_the_vendor():
    line = ["--vendor=gr00t", "ee_rot6d_joints", "--data-config=so100", "--embodiment-tag=gr1", "--checkpoints-dir=x"]
    parsed = parse_serve(line, Plugins.discover())
    assert (parsed.variant, parsed.serve.models) == ("ee_rot6d_joints", None)
    assert (parsed.vendor.data_config, parsed.vendor.embodiment_tag) == ("so100", "gr1")


def test_a_server_that_runs_already_is_held_against_the_config(tmp_path):
    kind = {"type": "NON_EEF", "format": "DEFAULT"}
    configs = [{**kind, "rep": "RELATIVE", "state_key": "ee_pose"}, {**kind, "rep": "ABSOLUTE", "state_key": None}]
    run = write_checkpoint(
        tmp_path / "checkpoint-1", state={"grip": 1, "ee_pose": 9}, action={"ee_pose": 9, "grip": 1},
        action_configs=configs,
    )  # fmt: skip
    port = free_port()
    with gr00t_server(run, port):
        for word, fits in (("ee_rot6d_rel", True), ("ee_rot6d", False), ("ee_joints", False)):  # ee_q
            attach = {"attach": f"tcp://127.0.0.1:{port}"}
            source = from_flags(Plugins.discover(), vendor="gr00t", variant=word, loader_options=attach)
            if fits:
                source.loader.load(source.default(), lambda _: None, ALONE).close()
                continue
            expected = r"^serve it with .*at tcp://.* was not trained with the modality config ee.*, as it says itself"
            with pytest.raises(LoadFailed, match=expected) as refused:
                source.loader.load(source.default(), lambda _: None, ALONE)
            assert refused.value.permanent, "no other try can do better"
            assert "Likely cause" not in refused.value.text, "what it says is the cause"
            assert "first inference" not in refused.value.text, "there was none"
