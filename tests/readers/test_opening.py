"""What lies at a place, and what Positronic publishes by a name."""

from __future__ import annotations

from pathlib import Path

import pytest
from offboard_client.errors import ConfigurationError
from offboard_core.readers import LeRobotSource, PositronicSource, open_source
from others_sets import lerobot_set, positronic_episode


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OFFBOARD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "cache"


def opened(location: object) -> object:
    return open_source(str(location), {}, lambda _: None)


def test_the_kind_of_data_set_is_seen(tmp_path: Path) -> None:
    lerobot_set(tmp_path / "lerobot", "v2.1")
    positronic_episode(tmp_path / "positronic" / "day")
    (tmp_path / "recordings").mkdir()
    (tmp_path / "recordings" / "episode.mcap").touch()
    assert isinstance(opened(tmp_path / "lerobot"), LeRobotSource)
    assert isinstance(opened(tmp_path / "positronic"), PositronicSource)
    assert opened(tmp_path / "recordings") is None
    assert opened(tmp_path / "recordings" / "episode.mcap") is None
    assert opened(tmp_path / "nowhere") is None


@pytest.mark.parametrize(("folder", "says"), [("meta", "is no data set"), ("meta_data", "of the form v1, and v2.1")])
def test_what_looks_like_a_data_set_and_is_none_is_said(folder: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "set" / folder).mkdir(parents=True)
    with pytest.raises(ConfigurationError, match=says):
        opened(tmp_path / "set")


def test_one_that_is_elsewhere_is_fetched_once(tmp_path: Path, cache: Path) -> None:
    folder = lerobot_set(tmp_path / "far")
    source = opened(f"file://{folder}")
    assert isinstance(source, LeRobotSource)
    assert len(list(source.episodes()[1].frames(30, ["grip", "image.wrist"]))) == 7
    assert next(cache.rglob("info.json")).is_file()
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "readme").touch()
    with pytest.raises(ConfigurationError, match="is no data set that is read here"):
        opened(f"file://{tmp_path / 'empty'}")


def published(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Positronic's bucket is a folder."""
    monkeypatch.setattr("offboard_core.readers.published._ROOT", f"file://{place}")
    monkeypatch.setattr("offboard_core.readers.published._OPTIONS", {})


def test_what_positronic_publishes_is_fetched_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published(tmp_path / "bucket", monkeypatch)
    positronic_episode(tmp_path / "bucket" / "datasets" / "sim-stack-cubes")
    for number in range(2):  # what came of the first place that it had
        positronic_episode(tmp_path / "bucket" / "phail" / "v1.0" / "dataset" / "teleoperation" / str(number), number)
    for name, count in (("phail.sim_stack_cubes", 1), ("sim.sim_stack_cubes", 1), ("phail.phail", 2)):
        source = opened(f"@positronic.cfg.ds.{name}")
        assert isinstance(source, PositronicSource)
        assert len(source.episodes()) == count


def test_without_a_network_it_is_read_of_a_cache_or_one_is_told_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published(tmp_path / "nowhere", monkeypatch)
    name = "@positronic.cfg.ds.phail.sim_pick_place"
    with pytest.raises(ConfigurationError, match=r"and cannot be fetched: .*aws s3 sync .*convert DIR"):
        opened(name)
    theirs = tmp_path / "home" / ".cache" / "positronic" / "s3" / "positronic-public" / "positronic-public"
    for number in range(3):
        positronic_episode(theirs / "datasets" / "sim-pick-place", number, rates={}, cameras=[])
    with pytest.raises(ConfigurationError, match="cannot be fetched"):  # a part of it is not all of it
        opened(name)
    known = {"sim_pick_place": (("datasets/sim-pick-place",), 3)}
    monkeypatch.setattr("offboard_core.readers.published._SETS", known)
    source = opened(name)
    assert isinstance(source, PositronicSource)
    assert len(source.episodes()) == 3


@pytest.mark.parametrize("name", ["@positronic.cfg.ds.phail.nothing", "@os.system", "@"])
def test_a_name_that_is_none_is_told_those_that_are(name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"there is no data set .* that Positronic publishes.*phail.phail"):
        opened(name)
