"""Folders in a real S3 server: listed, fetched in pieces, resumed, kept, refreshed."""

import fcntl
import threading

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFile
from object_store import upload
from offboard_client.errors import ConfigurationError
from offboard_core.cache import PATIENCE, cache_folder
from offboard_core.checkpoints.remote import RemoteFolder, fetch, place_of


@pytest.fixture
def place(tmp_path):
    """Three files, one of them of several blocks."""
    folder = tmp_path / "there"
    (folder / "params" / "d").mkdir(parents=True)
    (folder / "params" / "d" / "0").write_bytes(bytes(range(256)) * 40)
    (folder / "params" / "_METADATA").write_text("{}")
    (folder / "note").write_text("hello")
    (folder / "empty").write_bytes(b"")
    return folder


@pytest.fixture
def remote(store, place, request):
    url = f"s3://bucket/{request.node.name.replace('[', '-').replace(']', '')}/step"
    upload(place, url)
    return RemoteFolder(url)


def same(a, b):
    def content(folder):
        return {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file() and not path.name.startswith(".offboard")
        }

    return content(a) == content(b)


def test_a_folder_is_listed(remote, place):
    files = remote.files()
    assert {path: file.size for path, file in files.items()} == {
        "params/d/0": 10240, "params/_METADATA": 2, "note": 5, "empty": 0,
    }  # fmt: skip
    assert remote.folders() == ["params"]
    assert remote.name == "step"
    assert remote.below("params").files().keys() == {"d/0", "_METADATA"}
    assert remote.read("note") == b"hello"
    assert remote.read("note", 1, 3) == b"el"


def test_what_is_fetched_is_the_same_and_is_fetched_once(remote, place, monkeypatch):
    monkeypatch.setattr("offboard_core.checkpoints.remote.cache.BLOCK", 1000)
    said: list[str] = []
    local = fetch(remote, said.append)
    assert same(local, place)
    assert cache_folder() in local.parents
    assert "(0 %)" in said[0]
    assert "(100 %)" in said[-1]
    assert len(said) > 10, "progress is told block by block"

    def never(*_):
        raise AssertionError("fetched again")

    monkeypatch.setattr(RemoteFolder, "read", never)
    assert fetch(remote, said.append) == local


def test_only_what_is_wanted_is_fetched(remote):
    local = fetch(remote, lambda _: None, lambda path: path.startswith("params/"))
    assert (local / "params" / "d" / "0").is_file()
    assert not (local / "note").exists()
    with pytest.raises(ConfigurationError, match="no file to fetch"):
        fetch(remote, lambda _: None, lambda path: False)


class Broken(RemoteFolder):
    """A connection that breaks for good after some reads."""

    left = 4

    def read(self, path, start=0, end=None):
        if path == "params/d/0":
            self.left -= 1
            if self.left < 0:
                raise ConfigurationError("the connection broke")
        return super().read(path, start, end)


def test_a_broken_download_goes_on_where_it_stopped(remote, place, monkeypatch):
    monkeypatch.setattr("offboard_core.checkpoints.remote.cache.BLOCK", 1000)
    monkeypatch.setattr("offboard_core.checkpoints.remote.cache.time.sleep", lambda _: None)
    with pytest.raises(ConfigurationError, match="the connection broke"):
        fetch(Broken(remote.url), lambda _: None)
    [part] = [path for path in cache_folder().rglob("*") if path.name.endswith(".offboard-part")]
    assert part.stat().st_size == 4000
    assert not (part.parent / "0").exists(), "a part never goes by the file's name"
    asked: list[int] = []
    whole = RemoteFolder.read

    def counted(self, path, start=0, end=None):
        if path == "params/d/0":
            asked.append(start)
        return whole(self, path, start, end)

    monkeypatch.setattr(RemoteFolder, "read", counted)
    assert same(fetch(remote, lambda _: None), place)
    assert min(asked) == 4000


def test_a_connection_that_stutters_is_asked_again(remote, place, monkeypatch):
    monkeypatch.setattr("offboard_core.checkpoints.remote.cache.time.sleep", lambda _: None)
    failures = iter([True, True])

    class Stutters(RemoteFolder):
        def read(self, path, start=0, end=None):
            if next(failures, False):
                raise ConfigurationError("reset by peer")
            return super().read(path, start, end)

    assert same(fetch(Stutters(remote.url), lambda _: None), place)


def test_what_changed_there_is_fetched_anew(remote, place):
    local = fetch(remote, lambda _: None)
    (place / "note").write_text("HELLO")  # as long as before
    (place / "params" / "_METADATA").unlink()
    upload(place, remote.url)
    remote._files.rm(f"{remote.url}/params/_METADATA")
    fetch(remote, lambda _: None)
    assert same(local, place)


def test_what_was_cut_short_here_is_fetched_anew(remote, place):
    local = fetch(remote, lambda _: None)
    (local / "params" / "d" / "0").write_bytes(b"short")
    fetch(remote, lambda _: None)
    assert same(local, place)


def test_two_that_want_the_same_take_turns(remote, place):
    found = []
    threads = [threading.Thread(target=lambda: found.append(fetch(remote, lambda _: None))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(240)
    assert len(found) == 2
    assert same(found[0], place)


def test_who_waits_for_another_that_fetches_the_same_waits_while_something_comes(remote, place, monkeypatch):
    here = place_of(remote.url)
    here.mkdir(parents=True)
    slept, said = [], []

    def sleep(seconds):
        slept.append(100.0)
        if len(slept) < 20:  # the other one fetches
            (here / "part").write_bytes(bytes(1000 * len(slept)))

    monkeypatch.setattr("offboard_core.checkpoints.remote.cache.time.sleep", sleep)
    monkeypatch.setattr("offboard_core.checkpoints.remote.cache.time.monotonic", lambda: sum(slept))
    with here.with_name(f"{here.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ConfigurationError, match=r"this checkpoint, into .* has come for 600 s; .*fuser"):
            fetch(remote, said.append)
    assert 2000 + PATIENCE >= sum(slept) > 1900 + PATIENCE
    assert said[0] == "another process is fetching this checkpoint: 0.0 MB are there"
    assert len(said) == len(slept), "whoever waits is told each time, and can be called off"
    assert same(fetch(remote, said.append), place)


def test_what_is_not_there(store):
    with pytest.raises(ConfigurationError, match=r"s3://no-such-bucket/x (does not exist|cannot be read)"):
        RemoteFolder("s3://no-such-bucket/x").folders()
    with pytest.raises(ConfigurationError, match=r"no file to fetch|does not exist"):
        fetch(RemoteFolder("s3://bucket/no-such-folder"), lambda _: None)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("nothing://x/y", "cannot be understood|not installed"),
        ("http://example.org/x", "a web page"),
        ("gs://x/y", r"pip install 'offboard-core\[gs\]'"),
    ],
)
def test_schemes_that_cannot_be_had(url, reason):
    with pytest.raises(ConfigurationError, match=reason):
        RemoteFolder(url)


def test_a_name_that_would_lead_out_of_the_cache_is_refused():
    files = fsspec.filesystem("memory")
    files.store.clear()
    files.store["/place/../../etc/passwd"] = MemoryFile(files, "/place/../../etc/passwd", b"root")
    try:
        with pytest.raises(ConfigurationError, match="is not fetched"):
            RemoteFolder("memory://place").files()
    finally:
        files.store.clear()


@pytest.mark.parametrize("broken", ["", "remote", "lock"])
def test_a_cache_that_cannot_be_written_says_what_moves_it(remote, monkeypatch, tmp_path, broken):
    kept = tmp_path / "cache"
    monkeypatch.setenv("OFFBOARD_CACHE", str(kept))
    if broken == "lock":
        place = place_of(remote.url)
        place.parent.mkdir(parents=True)
        place.with_name(f"{place.name}.lock").mkdir()
    else:
        (kept / broken).parent.mkdir(exist_ok=True)
        (kept / broken).write_text("a file where a folder should be")
    with pytest.raises(ConfigurationError, match="OFFBOARD_CACHE moves it"):
        fetch(remote, print)
