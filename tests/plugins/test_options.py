import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from offboard_client.errors import BadParameter, ConfigurationError
from offboard_client.plugins import build, describe, parse_flag, parse_value
from offboard_core.types import NoParams


@dataclass(frozen=True)
class Everything:
    fps: float | None = None
    steps: int = 4
    flip: bool = False
    name: str = "ee"
    mode: Literal["mean", "last"] = "mean"
    size: tuple[int, int] = (224, 224)
    cameras: tuple[str, ...] = ()
    gains: list[float] = field(default_factory=list)
    map: dict[str, str] = field(default_factory=dict)
    limits: Mapping[str, float] = field(default_factory=dict)
    anything: Any = None
    assets: Path | None = None

    def __post_init__(self):
        if self.steps < 1:
            raise ValueError("steps is below 1")


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("fps", 10, 10.0),
        ("fps", None, None),
        ("steps", 8, 8),
        ("flip", True, True),
        ("name", "10", "10"),
        ("mode", "last", "last"),
        ("size", [640, 480], (640, 480)),
        ("cameras", ["wrist", "exterior"], ("wrist", "exterior")),
        ("gains", [1, 2.5], [1.0, 2.5]),
        ("map", {"image.exterior": "front"}, {"image.exterior": "front"}),
        ("limits", {"z": 1}, {"z": 1.0}),
        ("anything", {"a": [1, None]}, {"a": [1, None]}),
    ],
)
def test_plain_data_fill_the_fields(name, value, expected):
    got = getattr(build(Everything, {name: value}, "it"), name)
    assert got == expected
    assert type(got) is type(expected)


@pytest.mark.parametrize(
    ("name", "value", "expects"),
    [
        ("fps", True, "a number or null, not true"),
        ("fps", "10", 'a number or null, not "10"'),
        ("fps", float("nan"), "a number or null, not NaN"),
        ("fps", float("inf"), "a number or null, not Infinity"),
        ("fps", 10**400, "a number or null, not 1000"),
        ("steps", 8.0, "a whole number, not 8.0"),
        ("steps", True, "a whole number, not true"),
        ("flip", 1, "true or false, not 1"),
        ("name", 10, "text, not 10"),
        ("mode", "first", 'one of "mean", "last", not "first"'),
        ("size", [640], r"a list of 2: a whole number, a whole number, not \[640\]"),
        ("size", "640", 'a list of 2: a whole number, a whole number, not "640"'),
        ("cameras", ["wrist", 2], r'a list, each text, not \["wrist", 2\]'),
        ("map", {"a": 1}, 'a map from text to text, not {"a": 1}'),
        ("map", ["a"], r'a map from text to text, not \["a"\]'),
    ],
)
def test_a_value_of_another_type_is_refused_with_what_was_expected(name, value, expects):
    with pytest.raises(BadParameter, match=f"the option '{name}' of the codec x expects {expects}"):
        build(Everything, {name: value}, "the codec x")


@pytest.mark.parametrize(
    ("name", "written", "expected"),
    [
        ("name", "2000", "2000"),
        ("name", "1.10", "1.10"),
        ("name", "-0", "-0"),
        ("name", "010000", "010000"),
        ("name", '"2000"', "2000"),
        ("steps", "8", 8),
        ("fps", "10", 10.0),
        ("fps", "2.5", 2.5),
        ("anything", "7", 7),
        ("either", "7", 7),
        ("either", "1.10", "1.10"),
        ("number", "5", "5"),
        ("assets", "2026", Path("2026")),
    ],
)
def test_what_is_written_as_a_number_is_a_text_where_a_text_is_wanted(name, written, expected):
    @dataclass(frozen=True)
    class More(Everything):
        either: str | int = ""
        number: Literal["5", "10"] = "10"

    got = getattr(build(More, {name: parse_flag(written)}, "it", ConfigurationError), name)
    assert got == expected
    assert type(got) is type(expected)


def test_what_is_written_as_a_number_is_nothing_else():
    with pytest.raises(ConfigurationError, match="expects true or false, not 1"):
        build(Everything, {"flip": parse_flag("1")}, "it", ConfigurationError)
    with pytest.raises(ConfigurationError, match=r"expects a whole number, not 8\.0"):
        build(Everything, {"steps": parse_flag("8.0")}, "it", ConfigurationError)
    assert pickle.loads(pickle.dumps(parse_flag("1.10"))).text == "1.10"


def test_an_unknown_name_gets_the_nearest_ones():
    with pytest.raises(BadParameter, match="no option 'stesp' of the codec x; did you mean steps"):
        build(Everything, {"stesp": 1}, "the codec x")
    with pytest.raises(BadParameter, match="no option 'fps' of the codec x; there are none"):
        build(NoParams, {"fps": 1}, "the codec x")


def test_what_the_class_itself_refuses_is_told():
    with pytest.raises(ConfigurationError, match="the codec x refuses its options: steps is below 1"):
        build(Everything, {"steps": 0}, "the codec x", ConfigurationError)


@pytest.mark.parametrize("raised", [SystemExit(3), KeyError("x"), RuntimeError("no"), StopIteration()], ids=repr)
@pytest.mark.parametrize("where", ["the class", "a default"])
def test_whatever_else_a_class_raises_is_refused_too_and_ends_nothing(where, raised):
    def fail():
        raise raised

    @dataclass(frozen=True)
    class Odd:
        gain: float = 1.0
        made: int = field(default_factory=fail if where == "a default" else int)

        def __post_init__(self):
            fail()

    for error in (BadParameter, ConfigurationError):
        with pytest.raises(error, match=f"the codec x cannot be given its options: {type(raised).__name__}"):
            build(Odd, {"gain": 2.0}, "the codec x", error)


def test_an_error_of_offboards_own_is_as_it_was_raised():
    @dataclass(frozen=True)
    class Odd:
        def __post_init__(self):
            raise ConfigurationError("the class says so")

    with pytest.raises(ConfigurationError, match=r"^the class says so$"):
        build(Odd, {}, "the codec x")


def test_a_class_whose_types_are_not_there_is_told_of():
    @dataclass(frozen=True)
    class Odd:
        gain: "Nowhere" = 1  # noqa: F821

    with pytest.raises(BadParameter, match=r"types of the options of the codec x are not there: NameError: .*Nowhere"):
        build(Odd, {}, "the codec x")


def test_a_session_never_names_a_path_but_the_command_line_may():
    with pytest.raises(BadParameter, match="'assets' of the vendor x names a path"):
        build(Everything, {"assets": "/etc/passwd"}, "the vendor x")
    home = build(Everything, {"assets": "~/x"}, "the vendor x", ConfigurationError).assets
    assert home == Path.home() / "x"


def test_a_field_without_a_default_has_to_be_given():
    @dataclass(frozen=True)
    class Needs:
        config_name: str

    with pytest.raises(ConfigurationError, match="the vendor x needs the option config_name"):
        build(Needs, {}, "the vendor x", ConfigurationError)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("10", 10), ("0.5", 0.5), ("true", True), ("null", None), ('"10"', "10"), ('{"a": [1]}', {"a": [1]}),
        ("ee", "ee"), ("", ""), ("NaN", "NaN"), ("-Infinity", "-Infinity"), ("@os.system", "@os.system"),
        ("[" * 100_000, "[" * 100_000), ("9" * 10_000, "9" * 10_000),
    ],
)  # fmt: skip
def test_a_value_is_a_json_literal_or_else_text(text, value):
    assert parse_value(text) == value
    assert type(parse_value(text)) is type(value)


@given(st.text())
def test_no_text_breaks_the_parser(text):
    parse_value(text)


def test_options_describe_themselves():
    assert [(o.name, o.type, o.default) for o in describe(Everything)][:6] == [
        ("fps", "a number or null", None),
        ("steps", "a whole number", 4),
        ("flip", "true or false", False),
        ("name", "text", "ee"),
        ("mode", 'one of "mean", "last"', "mean"),
        ("size", "a list of 2: a whole number, a whole number", (224, 224)),
    ]


@dataclass(frozen=True)
class Placed:
    weights: Path
    more: tuple[Path, ...] = ()
    named: dict[str, Path] = field(default_factory=dict)
    program: str = field(default="a/b", metadata={"program": True})
    text: str = ""
    left: Path = Path("left")

    def __post_init__(self):
        if not self.weights.is_file():
            raise ValueError(f"{self.weights} is not there")


def test_paths_are_below_the_folder_before_the_class_looks_at_them(tmp_path, monkeypatch):
    there = tmp_path / "there"
    there.mkdir()
    (there / "w.bin").touch()
    (tmp_path / "here.bin").touch()
    monkeypatch.chdir(tmp_path)
    given = {"more": ["a", "/b"], "named": {"c": "d"}, "program": "./env", "text": "e/f"}
    made = build(Placed, {"weights": "w.bin", **given}, "it", ConfigurationError, Path("there"))
    assert made == Placed(
        there / "w.bin", (there / "a", Path("/b")), {"c": there / "d"}, str(there / "env"), "e/f", Path("left")
    )
    assert build(Placed, {"weights": "there/w.bin", "program": "env"}, "it", ConfigurationError).program == "env"
    with pytest.raises(ConfigurationError, match=r"it refuses its options: .*there/here.bin is not there"):
        build(Placed, {"weights": "here.bin"}, "it", ConfigurationError, Path("there"))
