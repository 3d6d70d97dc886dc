import os
import time
from pathlib import Path

import pytest
from offboard_core import ConfigurationError
from offboard_core.checkpoints import RECENTLY, numbered_folders, still_written


def problem(path):
    return None if (path / "weights").exists() else "weights are missing"


def found(place, **more):
    return [path.name for _, path in numbered_folders(place, problem, expected="weights", **more)]


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
        ConfigurationError,
        match=r"100 is incomplete; expected folders called <number>, each with weights; of 100, weights are missing$",
    ):
        found(tmp_path)


def test_the_newest_incomplete_ones_each_say_what_they_lack(tmp_path):
    for number in range(5):
        (tmp_path / f"{number}00").mkdir()
    with pytest.raises(ConfigurationError, match=r"of 200, weights are missing; of 300, .*; of 400, [\w ]*$"):
        found(tmp_path)


def test_a_folder_of_links_and_of_other_names_says_where_the_checkpoint_is(tmp_path):
    (tmp_path / "last").symlink_to("000200")
    with pytest.raises(ConfigurationError, match="last is a link to 000200, which is not there: copy that folder, too"):
        found(tmp_path)
    (tmp_path / "best").mkdir()
    (tmp_path / "best" / "weights").touch()
    with pytest.raises(
        ConfigurationError, match=rf"best is a whole checkpoint: to serve that one, give {tmp_path}/best"
    ):
        found(tmp_path)


def test_a_save_that_has_not_ended_is_no_riddle(tmp_path):
    (tmp_path / "500.tmp-0").mkdir()
    with pytest.raises(
        ConfigurationError, match=r"500\.tmp-0 was not saved to its end; it was written to \d+ s ago: if"
    ):
        found(tmp_path)


@pytest.mark.parametrize("inside", ["run", "run/checkpoints"])
def test_a_folder_above_the_numbered_ones_is_told_where_they_are(tmp_path, inside):
    (tmp_path / "a").mkdir()
    (tmp_path / "notes").touch()
    (tmp_path / inside / "100").mkdir(parents=True)
    with pytest.raises(ConfigurationError, match=rf"it holds a, notes, run; .*; did you mean {tmp_path}/{inside}\?"):
        found(tmp_path)


def test_waiting_is_advised_while_somebody_writes(tmp_path):
    file = tmp_path / "params" / "weights.part"
    file.parent.mkdir()
    file.touch()
    assert still_written(tmp_path) == "it was written to 0 s ago: if it is still being written or copied, wait for that"
    for ago, text in ((RECENTLY, "2 minutes"), (7200, "2 hours"), (90000, "25 hours"), (1e6, "12 days")):
        for path in (tmp_path, file.parent, file):
            os.utime(path, (0, time.time() - ago))
        assert still_written(tmp_path) == f"nothing has been written there for {text}: save or copy it again"
    os.utime(file, (0, time.time() + 1000))
    assert "it was written to 0 s ago" in still_written(tmp_path), "clocks of two machines differ"


def test_a_repository_of_the_hub_is_no_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ConfigurationError,
        match=r"lerobot/act does not exist; a repository on the Hugging Face Hub is written hf://lerobot/act$",
    ):
        found(Path("lerobot/act"))
    (tmp_path / "lerobot").mkdir()
    with pytest.raises(ConfigurationError, match="lerobot/act does not exist; lerobot holds nothing"):
        found(Path("lerobot/act"))


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
