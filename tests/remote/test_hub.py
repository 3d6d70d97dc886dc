"""hf:// through huggingface_hub's own client, against a server that answers as the Hub does."""

import os
import subprocess
import sys

import pytest
from hub_standin import hub_standin
from offboard_client.errors import ConfigurationError
from offboard_core.checkpoints.remote import HubFolder

FILES = {
    "exp/10/params/_METADATA": b"{}",
    "exp/10/params/d/0": bytes(range(256)) * 40,
    "exp/10/train_state/big": b"x" * 100,
    "README.md": b"# a model",
}


@pytest.fixture
def hub():
    with hub_standin() as hub:
        hub.push(FILES, "v1")
        yield hub


def run(program, hub, home, **more):
    """huggingface_hub reads its settings when it is imported, so each program is a process of its own."""
    environment = {**os.environ, **hub.environment(home, **more)}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines(), done.stderr


PROGRAM = """
from offboard_core.checkpoints.remote import RemoteFolder, fetch
folder = RemoteFolder("hf://org/name@v1/exp")
print(folder.folders(), sorted(folder.files()))
place = fetch(folder.below("10"), lambda _: None, lambda path: not path.startswith("train_state/"))
print(sorted(p.relative_to(place).as_posix() for p in place.rglob("*") if p.is_file() and p.name[0] != "."))
print((place / "params" / "d" / "0").read_bytes() == bytes(range(256)) * 40)
try:
    RemoteFolder("hf://org/name@v2/exp").files()
except Exception as error:
    print(type(error).__name__)
"""


def test_a_repository_on_the_hub_is_listed_and_fetched_at_its_revision(hub, tmp_path):
    said, _ = run(PROGRAM, hub, tmp_path)
    assert said == [
        "['10'] ['10/params/_METADATA', '10/params/d/0', '10/train_state/big']",
        "['params/_METADATA', 'params/d/0']",
        "True",
        "ConfigurationError",
    ]
    assert {name for name, *_ in hub.asked} == {"exp/10/params/_METADATA", "exp/10/params/d/0"}


PINNED = """
from offboard_core.checkpoints.remote import fetch, open_folder
from offboard_client.errors import ConfigurationError
try:
    folder = open_folder("hf://org/name@v1/exp/")
    print(folder.revision, folder.url, folder.name, folder.below("10").name)
    print(sorted(folder.files()), folder.read("10/params/_METADATA", 0, 2))
    place = fetch(folder.below("10"), lambda _: None, lambda path: path.startswith("params/"))
    print((place / "params" / "d" / "0").stat().st_size)
    folder.read("10/train_state/big", 0, 100)
    print("read what nobody read before")
except ConfigurationError as error:
    print(error.text)
"""


def test_a_folder_stays_at_the_commit_that_its_revision_named(hub, tmp_path):
    first = hub.revisions["v1"]
    said, _ = run(PINNED.replace('folder.read("10/train_state/big", 0, 100)', ""), hub, tmp_path)
    assert said[0] == f"{first} hf://org/name@{first}/exp exp 10"
    assert said[2] == "10240"
    count = len(hub.asked)
    second = hub.push({**FILES, "exp/10/params/_METADATA": b"[]"}, "v1")
    offline, log = run(PINNED, hub, tmp_path, HF_HUB_OFFLINE="1")
    assert offline[:3] == said[:3]
    assert offline[3] == (
        f"hf://org/name@{first}/exp is not in the cache, and HF_HUB_OFFLINE is set: load it once with a network"
    )
    assert f"as it was when the Hub was last asked, hf://org/name@{first}/exp" in log
    assert len(hub.asked) == count, "offline nothing is asked"
    online, log = run(PINNED, hub, tmp_path)
    assert online[0].startswith(second)
    assert online[1].endswith("b'[]'")
    assert f"has moved since it was last opened here: from hf://org/name@{first}/exp to hf://org/name@{second}" in log


def test_a_commit_that_is_in_the_cache_needs_no_network(hub, tmp_path):
    first = hub.revisions["v1"]
    program = PINNED.replace("@v1", f"@{first}").replace('folder.read("10/train_state/big", 0, 100)', "")
    said, _ = run(program, hub, tmp_path)
    assert run(program, hub, tmp_path, HF_ENDPOINT="http://127.0.0.1:9")[0] == said


def test_without_network_and_cache_the_error_says_what_to_do(hub, tmp_path):
    [said], _ = run(PINNED, hub, tmp_path, HF_HUB_OFFLINE="1")
    assert "hf://org/name@v1/exp is not in the cache" in said
    assert "HF_HUB_OFFLINE is set: load it once with a network, or give the folder of a copy" in said
    [said], _ = run(PINNED, hub, tmp_path, HF_ENDPOINT="http://127.0.0.1:9")
    assert said.endswith("check the name, the revision and the network; a private repository needs HF_TOKEN")
    [said], _ = run(PINNED.replace("@v1", "@v2"), hub, tmp_path)
    assert said.startswith("hf://org/name@v2/exp does not exist")
    run(PINNED, hub, tmp_path)
    [said], _ = run(PINNED, hub, tmp_path, HF_ENDPOINT="http://127.0.0.1:9")
    assert said.endswith(f"set HF_HUB_OFFLINE=1 or give hf://org/name@{hub.revisions['v1']}/exp")


def test_a_revision_is_no_commit():
    with pytest.raises(ConfigurationError, match="names no commit"):
        HubFolder("hf://org/name@main")
