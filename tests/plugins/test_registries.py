import os

import pytest
from offboard_core import ConfigurationError
from offboard_core.registries import numbered_folders


def complete(path):
    return (path / "weights").exists()


def found(place, **more):
    return [path.name for _, path in numbered_folders(place, complete, expected="weights", **more)]


@pytest.fixture
def runs(tmp_path):
    for name in ("2000", "010000", "300", "last", "400-tmp", "checkpoint-7"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "weights").touch()
    (tmp_path / "20000").mkdir()
    (tmp_path / "5").touch()
    return tmp_path


def test_complete_folders_come_oldest_first_by_number(runs):
    assert found(runs) == ["300", "2000", "010000"]


def test_a_prefix_belongs_to_the_name(runs):
    assert found(runs, prefix="checkpoint-") == ["checkpoint-7"]


def test_a_place_that_is_missing_gets_its_nearest_neighbours(runs):
    with pytest.raises(ConfigurationError, match=r"chekpoint-7 does not exist; did you mean .*/checkpoint-7\?"):
        found(runs / "chekpoint-7")
    with pytest.raises(ConfigurationError, match=r"does not exist; .* holds 010000, 2000, 20000"):
        found(runs / "elsewhere" / "deeper")


def test_a_place_without_a_complete_folder_says_what_is_there(tmp_path):
    with pytest.raises(
        ConfigurationError, match=r"no complete checkpoint in .*: it holds nothing; expected folders called <num"
    ):
        found(tmp_path)
    (tmp_path / "readme").touch()
    with pytest.raises(ConfigurationError, match="it holds readme"):
        found(tmp_path)
    (tmp_path / "100").mkdir()
    with pytest.raises(
        ConfigurationError, match="100 is incomplete; expected folders called <number>, each with weights"
    ):
        found(tmp_path)


def test_a_file_is_no_place(tmp_path):
    (tmp_path / "f").touch()
    with pytest.raises(ConfigurationError, match="f is a file; expected the folder"):
        found(tmp_path / "f")


def test_a_place_that_cannot_be_read_is_told(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "listdir", refuse)  # the tests may run as root, whom no mode bits stop
    with pytest.raises(ConfigurationError, match="cannot be read: Permission denied"):
        found(tmp_path)
