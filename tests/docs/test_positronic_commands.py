"""Each command line of docs/reference/positronic-commands.md: as Positronic writes it, and ours beside it."""

import dataclasses
import importlib.metadata
import importlib.util
import json
import re
import shlex
import urllib.request
from pathlib import Path

import pytest
import yaml
from offboard_client.cli import from_positronic, main, parse_run, validating
from offboard_core import InferenceServer
from offboard_core.cli import parse_convert, parse_serve
from offboard_core.plugins import CODEC, Plugins
from offboard_core.readers import is_published
from offboard_process import in_process

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reference" / "positronic-commands.md").read_text("utf-8")
ROWS = re.findall(r"^\| `(.+?)` \| `(.+?)` \|$", PAGE, re.MULTILINE)
SERVICES = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text("utf-8"))["services"]


def rows(*begins):
    """What is tested of the rows that begin so: their words and ours."""
    found = []
    for theirs, ours in ROWS:
        words = shlex.split(theirs.removeprefix("cd docker && "))
        if words[: len(begins)] == [*begins]:
            found.append(pytest.param(words[len(begins) :], shlex.split(ours), id=theirs))
    assert found
    return found


def of_a_service(words):
    """What ``docker compose run`` starts: the service's name, and its arguments."""
    while words[0].startswith("-"):
        words = words[2:] if words[0] == "-v" else words[1:]
    return words[0], words[1:]


def served():
    return [row for row in rows("docker", "compose", "run") if "serve" in row.values[1]]


def trained():
    run = rows("docker", "compose", "run")
    return [row for row in run if not {"serve", "convert"} & {*row.values[1]}]


def converted():
    return [row for row in rows("docker", "compose", "run") if "convert" in row.values[1]]


def test_every_row_is_tested():
    beginnings = {("uv", "run"), ("docker", "compose"), ("curl",), ("pip", "install"), ("python",)}
    written = [line for line in PAGE.splitlines() if line.startswith("| `")]
    assert len(written) == len(ROWS) > 30
    for theirs, _ in ROWS:
        words = tuple(shlex.split(theirs.removeprefix("cd docker && ")))
        assert beginnings & {words[:1], words[:2]}, theirs


@pytest.mark.parametrize(("theirs", "ours"), rows("uv", "run", "positronic-inference"))
def test_a_run_is_read_as_ours(theirs, ours, capsys):
    rest = ours[3:]
    assert ours[:2] == ["offboard", "run"]
    assert from_positronic("run", theirs) == [theirs[0], *rest]
    if theirs[0] == "real":
        assert main(["run", *theirs]) == 2
        assert f": {shlex.join(ours)}\n" in capsys.readouterr().err
        theirs = ["sim", *theirs[1:]]
    read = parse_run(theirs)
    written = parse_run(["sim", *rest])
    assert (read.run, read.options, read.policy) == (written.run, written.options, written.policy)
    if written.own is not None:
        assert dataclasses.asdict(read.own[1]) == dataclasses.asdict(written.own[1])


@pytest.mark.parametrize(("theirs", "ours"), served())
def test_a_server_is_started_as_by_ours(theirs, ours):
    name, arguments = of_a_service(theirs)
    plugins = Plugins.discover()
    read = parse_serve([*SERVICES[name]["entrypoint"][2:], *arguments], plugins)
    written = parse_serve(ours[2:], plugins)
    codecs = [
        None if each.serve.codec is None else plugins.get(CODEC, each.serve.codec, each.serve.vendor).name
        for each in (read, written)
    ]
    assert (codecs[0], read.variant) == (codecs[1], written.variant)
    assert dataclasses.replace(read.serve, codec=None) == dataclasses.replace(written.serve, codec=None)
    own = dataclasses.asdict(read.vendor)
    if "openpi_command" in own:  # the image knows its Python
        own["openpi_command"] = None
    assert own == dataclasses.asdict(written.vendor)


@pytest.mark.parametrize(("theirs", "ours"), trained())
def test_a_training_is_started_as_by_ours(theirs, ours, monkeypatch, tmp_path):
    """Both go as far as looking for openpi, which is nowhere here, and make nothing on the way."""
    monkeypatch.delenv("OPENPI_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    name, arguments = of_a_service(theirs)
    entry = SERVICES[name]["entrypoint"]
    assert entry[-2] == "--openpi-command"  # the image knows its Python
    read, written = in_process(*entry[1:-2], *arguments), in_process(*ours[1:])
    assert "openpi is not at" in read.stderr
    assert (read.returncode, read.stderr) == (1, written.stderr)


@pytest.mark.parametrize(("theirs", "ours"), converted())
def test_a_conversion_is_started_as_by_ours(theirs, ours):
    name, arguments = of_a_service(theirs)
    assert SERVICES[name]["entrypoint"] == ours[:2] == ["offboard", "convert"]
    plugins = Plugins.discover()
    (read, _), (written, _) = parse_convert(arguments), parse_convert(ours[2:])
    codecs = [plugins.get(CODEC, each.codec).name for each in (read, written)]
    assert codecs[0] == codecs[1] == written.codec
    assert dataclasses.replace(read, codec=written.codec) == written
    assert is_published(written.source)


def test_a_server_says_what_models_there_are_to_curl_and_to_ours(capsys):
    ((theirs, ours),) = (row.values for row in rows("curl"))
    (probed,) = (row.values[1] for row in rows("python", "test_websocket_policy.py"))
    with InferenceServer({"10000": lambda: lambda observation: None}, port=0) as server:
        here = f"{server.host}:{server.port}"
        with urllib.request.urlopen(theirs[0].replace("localhost:8000", here), timeout=600) as answer:
            listed = json.load(answer)["models"]
        assert main([here if word == "localhost:8000" else word for word in ours[1:]]) == 0
        assert capsys.readouterr().out.split() == listed == ["10000"]
        assert main([here if word == "localhost:8000" else word for word in probed[1:]]) == 0


def test_every_model_of_a_server_is_tried_as_by_ours():
    ((theirs, ours),) = (row.values for row in rows("python", "utilities/validate_server.py"))
    assert ours[:2] == ["offboard", "validate"]
    assert "--output_dir=~/datasets/inference_logs" in theirs  # which ours takes, too
    theirs = [word for each in theirs for word in each.replace("--output_dir=", "--output-dir=").split("=")]
    assert validating(theirs) == validating(ours[2:])


def test_what_pip_is_to_install_is_what_the_client_needs():
    ((theirs, ours),) = (row.values for row in rows("pip", "install") if len(row.values[0]) > 1)
    required = {re.match(r"[\w-]+", each)[0] for each in importlib.metadata.requires(ours[-1])}
    assert {"websockets", "msgpack"} == required.intersection(theirs)


def test_recordings_are_looked_at_as_by_ours(monkeypatch, capsys):
    ((theirs, ours),) = (row.values for row in rows("uv", "run", "positronic-server"))
    folder = Path("~/datasets/inference_logs/run1").expanduser()
    for words in (theirs, ours[2:]):
        assert main(["replay", *words]) == 1
        assert f"{folder} is not there: give the folder" in capsys.readouterr().err.replace("\n ", "")


def test_what_pip_is_to_install_beside_lerobot_has_the_policy_type_that_is_asked_for():
    ((theirs, ours),) = (row.values for row in rows("pip", "install") if len(row.values[0]) == 1)
    assert importlib.metadata.distribution(ours[-1]).metadata["Name"] == ours[-1], "LeRobot looks for this very name"
    kind = re.fullmatch(r"lerobot\[(\w+)\]", theirs[0])[1]
    where = Path(importlib.util.find_spec(ours[-1]).origin).with_name(f"configuration_{kind}.py")
    assert f'register_subclass("{kind}")' in where.read_text("utf-8")
