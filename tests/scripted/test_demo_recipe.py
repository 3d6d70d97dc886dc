"""What a vendor offers to make for the demo: said, made once, and begun anew where it was broken off."""

from __future__ import annotations

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


def test_a_command_that_fails_is_named_and_all_begun_anew(cache: Path) -> None:
    broken = replace(RECIPE, commands=(RECORD, ("codecs", "{folder}")))
    with pytest.raises(ConfigurationError, match=r"`offboard codecs \S*/tiny` ended with status 1"):
        checkpoints_of("tiny", broken, make=True)
    [left] = (cache / "tiny" / "recordings").glob("*.mcap")
    was = left.stat().st_mtime_ns
    with pytest.raises(ConfigurationError, match="takes a second"):
        checkpoints_of("tiny", broken, make=False)
    checkpoints_of("tiny", RECIPE, make=True)
    assert all(each.stat().st_mtime_ns > was for each in left.parent.glob("*.mcap"))
