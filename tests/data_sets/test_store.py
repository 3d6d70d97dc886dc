"""``offboard convert --output-dir s3://…`` and ``hf://…``: what is there then, and what an end in between leaves."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import rows_form
from hub_standin import hub_standin
from object_store import upload
from offboard_client import cli
from offboard_client.errors import ConfigurationError
from offboard_core.checkpoints.remote import RemoteFolder
from offboard_core.data_sets import RemoteSet
from offboard_core.plugins import Plugins
from rows_form import Plugin, recorded


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plugins = Plugins.of(rows=Plugin)
    monkeypatch.setattr("offboard_core.cli.convert.Plugins.discover", lambda: plugins)
    monkeypatch.setenv("OFFBOARD_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def info(monkeypatch: pytest.MonkeyPatch) -> None:
    """The form has a file that says which one it is, as LeRobot's."""
    finish = rows_form.Rows.finish

    def with_info(self: Any) -> str:
        (self.file.parent / "meta").mkdir(exist_ok=True)
        (self.file.parent / "meta" / "info.json").write_text('{"codebase_version": "v3.0"}')
        return finish(self)

    monkeypatch.setattr(rows_form.Rows, "finish", with_info)


@pytest.fixture
def bucket(store: str, tmp_path: Path) -> str:
    """A bucket with something else in it."""
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    upload(tmp_path / "other", "s3://sets/other")
    return "s3://sets"


def convert(source: Path, out: str, *more: str, codec: str = "rows.commanded") -> int:
    return cli.main(["convert", str(source), "--codec", codec, "--output-dir", out, *more])


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.replace("\n ", "")


def episodes(url: str) -> list[int]:
    """The episode of each row that is there."""
    return [json.loads(line)["episode"] for line in RemoteFolder(url).read("rows.jsonl").splitlines()]


def test_a_data_set_in_a_bucket_grows_and_is_fetched_where_it_is_not_known(
    bucket: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rec, out = tmp_path / "rec", f"{bucket}/a/cubes"
    recorded(rec, 4)
    assert convert(rec, out) == 0
    assert f"1 episode written into {out} through rows.commanded" in (shown := capsys.readouterr().out)
    assert "2 files uploaded" in shown
    assert episodes(out) == [0] * 4
    assert {*RemoteFolder(out).files()} == {"rows.jsonl", "meta/offboard.json"}
    assert convert(rec, out) == 0
    assert "uploaded" not in capsys.readouterr().out
    recorded(rec, 3)
    for path in sorted(rec.glob("*-0002.mcap")):  # the other machine has only what is new
        (tmp_path / "there").mkdir()
        path.rename(tmp_path / "there" / path.name)
    monkeypatch.setenv("OFFBOARD_CACHE", str(tmp_path / "another machine"))
    assert convert(tmp_path / "there", out) == 0
    assert episodes(out) == [0] * 4 + [1] * 3
    assert convert(tmp_path / "there", out, codec="rows.driven") == 1
    assert f"{out} was made with the codec 'rows.commanded'" in said(capsys)
    monkeypatch.setenv("OFFBOARD_CACHE", str(tmp_path / "cache"))  # which knows it as it was
    recorded(tmp_path / "there", 2)
    assert convert(tmp_path / "there", out) == 0
    assert episodes(out) == [0] * 4 + [1] * 3 + [2] * 2


def test_what_was_converted_outlives_an_upload_that_fails_and_one_that_is_interrupted(
    bucket: str, info: None, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rec, out = tmp_path / "rec", f"{bucket}/b/cubes"
    recorded(rec, 4)
    write, raised = RemoteFolder.write, [ConfigurationError("the network is down"), KeyboardInterrupt()]

    def breaks(self: Any, path: str, local: Path) -> None:
        if path.startswith("meta/") and path != "meta/offboard.uploading" and raised:
            raise raised.pop(0)
        write(self, path, local)

    monkeypatch.setattr(RemoteFolder, "write", breaks)
    assert convert(rec, out) == 1
    assert "the network is down. What was converted is kept on this machine" in said(capsys)
    assert {*RemoteFolder(out).files()} == {"meta/offboard.uploading", "rows.jsonl"}, "what is read first comes last"
    with monkeypatch.context() as patch:
        patch.setenv("OFFBOARD_CACHE", str(tmp_path / "another machine"))
        assert convert(rec, out) == 1
        assert "an upload of it was interrupted there: run the same command there again" in said(capsys)
    assert convert(rec, out) == 130
    assert "the same command goes on" in said(capsys)
    adds: list[Any] = []
    monkeypatch.setattr(rows_form.Rows, "add", lambda *arguments: adds.append(arguments))
    assert convert(rec, out) == 0
    assert not adds
    assert {*RemoteFolder(out).files()} == {"rows.jsonl", "meta/info.json", "meta/offboard.json"}


def test_anothers_files_are_not_written_over_and_what_was_removed_there_begins_anew(
    bucket: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rec, out = tmp_path / "rec", f"{bucket}/c/cubes"
    recorded(rec, 4)
    assert convert(rec, f"{bucket}/other") == 1
    assert "no data set that `offboard convert` wrote: nothing is written over" in said(capsys)
    assert convert(rec, "s3://nowhere/cubes") == 1
    assert convert(rec, out) == 0
    for path in RemoteFolder(out).files():
        RemoteFolder(out).remove(path)
    assert convert(rec, out, codec="rows.driven") == 0
    assert json.loads(RemoteFolder(out).read("meta/offboard.json"))["codec"] == "rows.driven"


def test_a_repository_on_the_hub_is_made_private_and_grows_a_commit_at_a_time(
    tmp_path: Path, info: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub.constants as constants
    import huggingface_hub.hf_api as hf_api
    from huggingface_hub import HfFileSystem

    rec, out = tmp_path / "rec", "hf://datasets/me/cubes"
    recorded(rec, 4)
    with hub_standin("datasets/me/cubes") as hub:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(hf_api.constants, "ENDPOINT", hub.url)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        HfFileSystem.clear_instance_cache()
        assert convert(rec, out) == 0, capsys.readouterr().err
        assert hub.made is not None
        assert (hub.made["type"], hub.made["private"]) == ("dataset", True)
        first = hub.revisions["main"]
        assert hub.commits[first].keys() == {".gitattributes", "rows.jsonl", "meta/info.json", "meta/offboard.json"}
        assert hub.tags == {"v3.0": first}
        recorded(rec, 3)
        hub.refuses = True
        capsys.readouterr()
        assert convert(rec, out) == 1
        assert "cannot be written" in (shown := said(capsys))
        assert "HF_TOKEN" in shown
        assert hub.revisions["main"] == first
        hub.refuses = False
        assert convert(rec, out) == 0
        second = hub.revisions["main"]
        assert len(hub.commits[second]["rows.jsonl"].splitlines()) == 7
        assert hub.tags == {"v3.0": second}
        HfFileSystem.clear_instance_cache()
    assert convert(rec, "hf://me/cubes") == 1
    assert "write hf://datasets/OWNER/NAME" in said(capsys)


def test_two_processes_do_not_work_on_one_data_set_at_once(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["offboard_core.cache.alone"], "PATIENCE", 0.0)
    with (
        RemoteSet(f"{bucket}/d", lambda news: None),
        pytest.raises(ConfigurationError, match="another process is converting into this data set"),
        RemoteSet(f"{bucket}/d", lambda news: None),
    ):
        pass


def test_what_was_changed_here_and_never_uploaded_is_not_mixed_with_what_came_there_since(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(machine: str, push: bool, **files: str) -> dict[str, str]:
        monkeypatch.setenv("OFFBOARD_CACHE", str(tmp_path / machine))
        with RemoteSet(f"{bucket}/e", lambda news: None) as remote:
            for name, text in files.items():
                path = remote.folder / ("meta/offboard.json" if name == "record" else name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            if push:
                remote.push()
            return {path.name: path.read_text() for path in remote.folder.rglob("*") if path.is_file()}

    write("one", True, x="x", y="y", record="{}")
    write("one", False, x="x and more", z="z")
    write("other", True, y="y and more")
    assert write("one", False) == {"x": "x", "y": "y and more", "offboard.json": "{}"}
