from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from offboard_client.cli import synthetic_observation
from offboard_client.plugins import UsageError
from offboard_client.terminal import expand_paths, parse, split_dotted, switches


@dataclass(frozen=True)
class Inner:
    loud: bool = False


@dataclass(frozen=True)
class Options:
    json: bool = False
    name: str = ""
    place: Path = Path("~/x")
    inner: Inner = field(default_factory=Inner)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (["--json=True"], ["--json"]),
        (["--json=true"], ["--json"]),
        (["--json=False"], []),
        (["--inner.loud=1"], ["--inner.loud"]),
        (["--name=True"], ["--name=True"]),
        (["--json=maybe"], ["--json=maybe"]),
        (["json=True"], ["json=True"]),
    ],
)
def test_a_switch_may_be_written_with_its_value(given, kept):
    assert switches(given, Options) == kept


def test_paths_are_expanded_wherever_they_are(monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    assert expand_paths(Options()).place == Path("/home/somebody/x")
    assert parse(Options, ["--place=~/y", "--json=True"], "x", "").place == Path("/home/somebody/y")


@pytest.mark.parametrize("value", ["--num-gpus 4", "--tune-visual"])
def test_a_text_that_begins_with_dashes_is_told_how_it_is_written(value):
    with pytest.raises(UsageError, match=f"--name needs a value; .*: write --name='?{value}'?$"):
        parse(Options, ["--name", value], "x", "")
    assert parse(Options, [f"--name={value}"], "x", "").name == value


@pytest.mark.parametrize("given", [["--name", "--json"], ["--name", "--place=/x"], ["--name"]])
def test_an_option_of_its_own_is_no_such_text(given, capsys):
    with pytest.raises(SystemExit):
        parse(Options, given, "x", "")
    assert "--name" in capsys.readouterr().err


def test_options_with_an_owner_are_taken_out():
    rest, found = split_dotted(
        ["--port", "1", "--codec.fps", "10", "--codec.map", "image.exterior=front", "--codec.map=image.wrist=hand",
         "--codec.image-size=[320, 240]", "--codec.flip=true", "--codec", "ee", '--codec.name="a=b"',
         "--wire.lab.loud", "true", "--wire.codec=ee", "--other.codec", "ee"],
        ["codec", "wire", "wire.lab"],
    )  # fmt: skip
    assert rest == ["--port", "1", "--codec", "ee", "--other.codec", "ee"]
    assert found == {
        "codec": {
            "fps": 10,
            "map": {"image.exterior": "front", "image.wrist": "hand"},
            "image_size": [320, 240],
            "flip": True,
            "name": "a=b",
        },
        "wire": {"codec": "ee"},
        "wire.lab": {"loud": True},
    }


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (["--codec.fps"], "--codec.fps needs a value"),
        (["--codec.fps", "1", "--codec.fps", "2"], "--codec.fps is given twice"),
        (["--codec.map", "a=b", "--codec.map", "a=c"], "--codec.map says twice what a is"),
        (["--codec.map", "3", "--codec.map", "a=c"], "--codec.map says twice what a is"),
        (["--codec.", "1"], "names no option"),
    ],
)
def test_options_with_an_owner_that_make_no_sense_are_refused(given, text):
    with pytest.raises(UsageError, match=text):
        split_dotted(given, ["codec"])


def spec(**fields):
    return {name.replace("__", "."): {"required": True, **value} for name, value in fields.items()}


def test_a_synthetic_observation_is_plausible():
    observation = synthetic_observation(
        {
            "observation": spec(
                robot_state__ee_pose={"shape": [7], "dtype": "float32", "unit": "m, unit quaternion wxyz"},
                robot_state__q={"shape": [-1], "dtype": "float64", "unit": "rad"},
                grip={"shape": [1], "dtype": "float32"},
                image__wrist={"shape": [-1, -1, 3], "dtype": "uint8"},
                image__exterior={"shape": [480, 640, 3], "dtype": "uint8"},
                scene={"shape": [3, -1, -1], "dtype": "uint8"},
                task={"shape": [], "dtype": "str", "required": False},
                extra={"shape": [4], "dtype": "float32", "required": False},
            ),
            "image_sizes": {"image.wrist": [320, 240]},
        }
    )
    assert np.linalg.norm(observation["robot_state.ee_pose"][3:]) == 1
    assert observation["robot_state.ee_pose"][3] == 1, "w first"
    assert observation["robot_state.q"].tolist() == [0.0] * 7
    assert observation["robot_state.q"].dtype == np.float64
    assert observation["grip"].tolist() == [0.0]
    assert observation["image.wrist"].shape == (240, 320, 3)
    assert observation["image.exterior"].shape == (480, 640, 3)
    assert observation["scene"].shape == (3, 224, 224)
    assert set(observation["image.wrist"].ravel().tolist()) == {128}
    assert isinstance(observation["task"], str)
    assert "extra" not in observation


def test_a_server_that_declares_nothing_gets_the_canonical_names():
    assert synthetic_observation({}).keys() == {
        "robot_state.ee_pose", "robot_state.q", "grip", "image.wrist", "image.exterior", "task",
    }  # fmt: skip


@dataclass(frozen=True)
class Numbers:
    fps: float | None = None
    port: int = 1
    low: tuple[float, float] | None = (0.0, 1.0)
    speed: float | tuple[float, ...] | None = 2.0
    many: tuple[int, ...] = (1,)
    mode: Literal["a", "b"] | None = None


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ("--fps=3 --speed 1 2 --many 4 5", Numbers(3.0, speed=(1.0, 2.0), many=(4, 5))),
        ("--fps None --low None --speed None", Numbers(low=None, speed=None)),
        ("--low 2 3 --speed 0.5 --many 7 --mode b", Numbers(low=(2.0, 3.0), speed=0.5, many=(7,), mode="b")),
        ("", Numbers()),
    ],
)
def test_numbers_may_be_several_or_none(given, made):
    assert parse(Numbers, given.split(), "x", "") == made


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("--fps ten", "Error parsing --fps: expected FLOAT, not ten"),
        ("--port 8.5", "Error parsing --port: expected INT, not 8.5"),
        ("--low 1", "expected FLOAT FLOAT, not 1"),
        ("--speed 1 x", "expected FLOAT [FLOAT ...], not 1 x"),
        ("--many a", "expected INT, not a"),
        ("--mode c", "expected {a,b}, not c"),
    ],
)
def test_what_is_no_such_number_is_named_in_the_words_of_the_help(given, says, capsys):
    with pytest.raises(SystemExit) as left:
        parse(Numbers, given.split(), "x", "")
    shown = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert left.value.code == 2
    assert says in shown
    assert "None" not in shown.partition("Argument helptext")[0]


def test_the_help_shows_kinds_and_not_pythons_types(capsys):
    with pytest.raises(SystemExit):
        parse(Numbers, ["--help"], "x", "")
    shown = capsys.readouterr().out
    for text in ("--fps FLOAT ", "--low FLOAT FL", "--speed FLOAT [FLOAT ...]", "--many INT [INT ...]", "--mode {a"):
        assert text in shown
    assert "{None}" not in shown
