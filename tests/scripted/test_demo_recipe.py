"""What a vendor offers to make for the demo: said, made once, and gone on with where it was broken off."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from offboard_client.errors import ConfigurationError
from offboard_core.cli import checkpoints_of
from offboard_core.plugins import DemoRecipe
from offboard_process import in_process

#: One attempt, too short to come out well: its status is 1.
RECORD = (
    "run", "sim", "--policy", "local:scripted", "--seconds", "0.2", "--no-record-sent", "--image-size", "32",
    "--output-dir", "{folder}/recordings",
)  # fmt: skip
RECIPE = DemoRecipe(takes="a second", commands=(RECORD,), checkpoints="recordings")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OFFBOARD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "demo"


def test_it_is_offered_and_nothing_is_made(cache: Path) -> None:
    done = in_process("demo", "--vendor=lerobot")
    assert done.returncode == 1
    for part in ("needs a checkpoint", "half an hour", "offboard demo --vendor lerobot --make", str(cache / "lerobot")):
        assert part in done.stderr
    assert not cache.exists()


@pytest.mark.parametrize(
    "words",
    [
        ("--vendor", "scripted"),
        ("--vendor", "lerobot", "--checkpoints-dir", "/no/such"),
        ("--vendor", "lerobot", "models.toml"),
        (),
    ],
)
def test_where_nothing_is_to_be_made_it_says_so(words: tuple[str, ...]) -> None:
    done = in_process("demo", "--make", *words)
    assert done.returncode == 2
    assert "--make makes the model that a vendor offers" in done.stderr


def test_it_is_made_once_and_anew_where_the_recipe_is_another(cache: Path, capfd: pytest.CaptureFixture[str]) -> None:
    made = checkpoints_of("tiny", RECIPE, make=True)
    assert made == cache / "tiny" / "recordings"
    [recording] = made.glob("*.mcap")
    was = recording.stat().st_mtime_ns
    assert "1 of 1: offboard run sim" in capfd.readouterr().err
    assert checkpoints_of("tiny", RECIPE, make=False) == made
    assert recording.exists()
    assert not capfd.readouterr().err
    other = replace(RECIPE, commands=((*RECORD, "--seed", "3"),))
    with pytest.raises(ConfigurationError, match="takes a second"):
        checkpoints_of("tiny", other, make=False)
    checkpoints_of("tiny", other, make=True)
    # It is called by the second in which it was made, and may have its name again.
    assert all(each.stat().st_mtime_ns > was for each in made.glob("*.mcap"))


def test_a_command_that_fails_is_named_and_what_was_done_before_is_kept(
    cache: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    broken = replace(RECIPE, commands=(RECORD, ("codecs", "{folder}"), RECORD))
    with pytest.raises(ConfigurationError, match=r"`offboard codecs \S*/tiny` ended with status 1"):
        checkpoints_of("tiny", broken, make=True)
    [left] = (cache / "tiny" / "recordings").glob("*.mcap")
    was = left.stat().st_mtime_ns
    with pytest.raises(ConfigurationError, match="takes a second"):
        checkpoints_of("tiny", broken, make=False)
    capfd.readouterr()
    with pytest.raises(ConfigurationError, match=r"`offboard codecs \S*/tiny` ended with status 1"):
        checkpoints_of("tiny", broken, make=True)
    said = capfd.readouterr().err
    assert "1 of 3 commands were done before" in said
    assert "1 of 3: offboard run" not in said
    assert left.stat().st_mtime_ns == was
    checkpoints_of("tiny", RECIPE, make=True)
    assert all(each.stat().st_mtime_ns > was for each in left.parent.glob("*.mcap")), "another recipe's"


def test_what_a_command_left_that_was_broken_off_is_not_in_its_ways(cache: Path) -> None:
    """But for convert, which goes on with what it left."""
    folder = cache / "tiny"
    half, whole = RECORD[-1].replace("{folder}", str(folder)), folder / "data"
    two = replace(RECIPE, commands=(("codecs",), RECORD, ("convert", "--help", "--output-dir", str(whole))))
    with pytest.raises(ConfigurationError, match="ended with status"):
        checkpoints_of("tiny", replace(two, commands=(("codecs",), ("codecs", "no.such"))), make=True)
    (folder / "recipe.json").write_text(json.dumps({"commands": two.commands, "ended": 1}))
    for left in (Path(half), whole):
        left.mkdir()
        (left / "left").touch()
    checkpoints_of("tiny", two, make=True)
    assert [path.suffix for path in Path(half).iterdir()] == [".mcap"]
    assert (whole / "left").exists()


@pytest.mark.parametrize("said", ["[]", "{", '{"ended": 1}', '{"commands": [], "ended": 0}', '{"ended": true}'])
def test_a_note_of_another_kind_is_none(cache: Path, said: str) -> None:
    (cache / "tiny").mkdir(parents=True)
    (cache / "tiny" / "recipe.json").write_text(said)
    with pytest.raises(ConfigurationError, match="takes a second"):
        checkpoints_of("tiny", RECIPE, make=False)


@pytest.mark.parametrize("ctrl_c_in", [1, 2])
def test_who_stops_it_is_told_where_it_goes_on(
    cache: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, ctrl_c_in: int
) -> None:
    recipe, calls = replace(RECIPE, commands=(("codecs",), ("codecs", "{folder}"))), list[str]()

    def stopped(command: list[str]) -> None:
        calls.append(command[0])
        if len(calls) == ctrl_c_in:
            raise KeyboardInterrupt

    monkeypatch.setattr("offboard_core.cli.demo_recipe._run", stopped)
    with pytest.raises(KeyboardInterrupt):
        checkpoints_of("tiny", recipe, make=True)
    assert f"stopped in {ctrl_c_in} of 2; with --make it goes on there" in capfd.readouterr().err
    checkpoints_of("tiny", recipe, make=True)
    assert len(calls) == 3, "what was stopped once more, and nothing else"
