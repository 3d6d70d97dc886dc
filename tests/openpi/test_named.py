"""Naming one step of a run costs one step, however many there are."""

import json
import shutil

import pytest
from object_store import upload
from offboard_client.errors import ModelNotFound
from offboard_core.checkpoints.remote import RemoteFolder
from offboard_openpi import files
from offboard_openpi.registry import OpenPIRegistry
from openpi_standin import write_run


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "exp", {999: 0.1, 5000: 0.2, 10000: 0.3})


@pytest.fixture
def looked(monkeypatch):
    """The steps whose files were listed."""
    names_in, seen = files.names_in, []

    def counted(step):
        seen.append(step.name)
        return names_in(step)

    monkeypatch.setattr(files, "names_in", counted)
    return seen


@pytest.mark.parametrize("model_id", ["5000", "005000"])
def test_only_the_step_that_is_named_is_looked_at(run, looked, model_id):
    assert OpenPIRegistry(str(run)).resolve(model_id).id == "5000"
    assert set(looked) == {"5000"}


@pytest.mark.parametrize("model_id", ["0", "5001", "../exp/5000", "5000/", "٥٠٠٠", "", "9" * 10_000])
def test_a_name_that_there_is_not_is_told_what_there_is(run, model_id):
    with pytest.raises(ModelNotFound, match="999, 5000, 10000"):
        OpenPIRegistry(str(run)).resolve(model_id)


def test_of_two_of_one_number_the_one_that_is_called_so_is_meant_if_it_is_whole(run):
    shutil.copytree(run / "5000", run / "05000")
    registry = OpenPIRegistry(str(run))
    for model_id in ("5000", "05000", "5000"):
        assert registry.resolve(model_id).id == model_id
    assert registry.resolve("005000").id == "05000", "as the list of all says it"
    (run / "05000" / "params" / "_METADATA").unlink()
    assert registry.resolve("05000").id == "5000"
    (run / "5000" / "offboard.json").write_text("{")
    with pytest.raises(ModelNotFound, match="999, 10000"):
        registry.resolve("5000")


def test_a_place_that_is_one_step_answers_to_its_name(run):
    registry = OpenPIRegistry(str(run / "5000"))
    assert registry.resolve("5000").id == "5000"
    with pytest.raises(ModelNotFound, match="5000"):
        registry.resolve("999")


def test_of_a_store_one_record_is_read(store, run, monkeypatch, request):
    for step in run.iterdir():
        (step / "offboard.json").write_text(json.dumps({"action_fps": int(step.name)}))
    url = f"s3://runs/{request.node.name}"
    upload(run, url)
    read, reads = RemoteFolder.read, []

    def counted(folder, *asked):
        reads.append(folder.url)
        return read(folder, *asked)

    monkeypatch.setattr(RemoteFolder, "read", counted)
    assert OpenPIRegistry(url).resolve("05000").recorded == {"action_fps": 5000}
    assert reads == [f"{url}/5000"]
    with pytest.raises(ModelNotFound, match="999, 5000, 10000"):
        OpenPIRegistry(url).resolve("7")
