"""Robots of six protocols on models of three vendors and of none: each pair is served or refused, as the page says."""

import contextlib
import re
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from genuine_client import Failed, Genuine, shared_python
from offboard_client import InferenceClient
from offboard_client.errors import ConfigurationError
from offboard_core.catalog import read_models
from offboard_process import serving as serving_command
from pairing_bed import (
    PLUGINS,
    asked_of_gr00t,
    by_gr00t,
    by_lerobot,
    by_offboard,
    by_openpi,
    by_pathon,
    by_roboarena,
    by_vla_eval,
    in_canonical_terms,
    name_of,
    seen_beside,
    seen_by,
    serving,
    to_toml,
    write_models,
)
from pathon_client import Failed as NotServed
from puppets import PATIENCE
from websockets.exceptions import ConnectionClosed

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
import pairings

pytestmark = pytest.mark.timeout(2 * PATIENCE)
CODECS = pairings.models()
#: The pairs of every run: one codec of each vendor, and each client with the names of one arm.
SHORT = {"lerobot.ee", "openpi.ee", "gr00t.ee_quat"}
SHORT_KEYS = {
    ("openpi", "ee"), ("gr00t", "ee_quat"), ("vla_eval", None), ("vla_eval", "libero"), ("roboarena", None),
    ("pathon", "ee"), ("lerobot", "degrees"),
}  # fmt: skip


def pairs():
    """Model by model, so that each is loaded once."""
    for codec in CODECS:
        for client in ("openpi", "gr00t", "vla_eval", "roboarena", "pathon", "lerobot"):
            for keys in pairings.key_sets(client):
                short = codec in SHORT and (client, keys) in SHORT_KEYS
                name = f"{codec}-{client}-{keys or 'none'}"
                yield pytest.param(codec, client, keys, id=name, marks=() if short else pytest.mark.slow)


def test_the_page_is_what_the_code_says():
    assert pairings.PAGE.read_text("utf-8") == pairings.page(), "run: uv run tools/pairings.py"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A models.toml with a source for each codec."""
    path = write_models(tmp_path_factory.mktemp("three"), [*CODECS])
    with serving(read_models(path, PLUGINS)) as server:
        yield server


class Clients:
    """openpi's client closes no session: a process for each model, which the next one waits for otherwise."""

    def __init__(self, factory):
        self._factory, self._stack, self._codec = factory, contextlib.ExitStack(), None

    def of(self, codec):
        if codec != self._codec:
            self._stack.close()
            self._codec, self._client = codec, None
        return self

    def get(self):
        self._client = self._client or self._stack.enter_context(Genuine(shared_python(self._factory)))
        return self._client


@pytest.fixture(scope="module")
def clients(tmp_path_factory):
    clients = Clients(tmp_path_factory)
    yield clients
    clients.of(None)


@pytest.mark.parametrize(("codec", "client", "keys"), [*pairs()])
def test_a_robot_drives_a_model_or_is_refused(server, clients, codec, client, keys):
    """What it is told is what offboard's own client is, which sees the same."""
    expected = pairings.verdict(client, pairings.key_sets(client)[keys], CODECS[codec])
    clients.of(codec)

    def drive(steps=1):
        if client == "gr00t":
            return by_gr00t(server, codec, keys)
        if client == "lerobot":
            return by_lerobot(server, codec, keys)
        if client == "roboarena":
            return by_roboarena(server, codec, keys)
        if client == "pathon":
            return by_pathon(server, codec, keys, steps)
        if client == "vla_eval":
            return by_vla_eval(server, codec, keys, steps)
        return by_openpi(clients.get(), server, codec, keys)

    if not expected.served:
        with pytest.raises((Failed, NotServed, RuntimeError, ConnectionClosed), match=re.escape(expected.why[:60])):
            drive()
        return
    told = by_offboard(server, codec, seen_beside(codec, client, keys, expected.mark))
    steps = len(next(iter(told.values())))
    heard = in_canonical_terms(codec, client, keys, expected.mark, drive(steps))
    assert heard.keys() == told.keys()
    for name, steps in told.items():
        found = heard[name][: len(steps)]
        if name in ("target_pose", "pose_delta"):
            signs = np.sign(np.sum(found[:, 3:] * steps[:, 3:], axis=1, keepdims=True))
            found = np.concatenate([found[:, :3], found[:, 3:] * signs], axis=1)
        np.testing.assert_allclose(found, steps, atol=1e-5, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("codec", CODECS)
def test_inside_lerobot_it_is_as_with_its_robot_client(server, clients, codec):
    from lerobot_policy_offboard.side import Side  # LeRobot is imported for it
    from lerobot_policy_offboard.wiring import wire

    clients.of(codec)  # openpi's client would hold its model
    with InferenceClient(server.host, server.port) as client, client.new_session(name_of(codec)) as session:
        meta = session.metadata
    names = pairings.ROBOT.vectors["observation.state"]
    for units in pairings.key_sets("lerobot"):
        side = Side(
            vectors={"observation.state": len(names)}, images=frozenset(pairings.ROBOT.cameras),
            names={"observation.state": names, "action": names}, actions=len(names),
            fps=meta.get("action_fps") or 30.0, units=units,
        )  # fmt: skip
        served = pairings.verdict("lerobot", units, CODECS[codec]).served
        with contextlib.nullcontext() if served else pytest.raises(ConfigurationError):
            wire(side, meta, {}, False)


# -- the page about three vendors -----------------------------------------------------------------------------------
ROOT = Path(__file__).parents[2]
SEVERAL = (ROOT / "docs" / "how-to" / "several-models.md").read_text("utf-8")
(THREE,) = re.findall(r"```toml\n(# models.toml\n\[act\].+?)```", SEVERAL.partition("## Three vendors")[2], re.DOTALL)
NAMES = {"act": "lerobot.ee", "pi": "openpi.ee", "groot": "gr00t.ee_quat"}


@pytest.fixture(scope="module")
def page_models(tmp_path_factory):
    """The page's file, its checkpoints, and what stands in for openpi and GR00T."""
    folder = tmp_path_factory.mktemp("page")
    tables = tomllib.loads(write_models(folder, [*NAMES.values()]).read_text())
    text = THREE
    for name, codec in NAMES.items():
        written = tables[name_of(codec)]
        assert written["codec"] == codec.partition(".")[2]
        (folder / "runs").mkdir(exist_ok=True)
        (folder / "runs" / name).symlink_to(written["checkpoints_dir"])
        if "options" in written:
            text = text.replace(f"[{name}]\n", f"[{name}]\noptions = {to_toml(written['options'])}\n")
    path = folder / "models.toml"
    path.write_text(text)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("model", NAMES)
def test_the_command_serves_three_vendors_to_robots_of_three_protocols(page_models, clients, model):
    codec, found = NAMES[model], {}
    models = page_models.with_name(f"{model}.toml")
    models.write_text(f'{page_models.read_text()}model = "{model}"\n')
    with serving_command(models, "--listen", "gr00t:0") as (_, said):
        assert {name.partition("/")[0] for name in said["models"]} == {*NAMES}
        with InferenceClient(said["host"], said["port"]) as client, client.new_session(model) as session:
            rows = session.infer(seen_by(codec))
        found["offboard"] = np.stack([row["action"]["target_pose"] for row in rows])
        genuine = clients.of(model).get()
        genuine.connect(host=f"ws://{said['host']}:{said['port']}/?model={model}")
        found["openpi"] = genuine.infer(seen_by(codec, "openpi", "ee"))["actions"][:, :7]
        clients.of(None)
        port = said["listeners"]["gr00t"]["port"]
        found["gr00t"] = asked_of_gr00t(port, seen_by(codec, "gr00t", "ee_quat"))["action.ee_pose"]
    for client, poses in found.items():
        quats = poses[:, 3:] / np.linalg.norm(poses[:, 3:], axis=1, keepdims=True)  # openpi's own are as it made them
        heard = np.concatenate([poses[:, :3], quats], axis=1)[: len(rows)]
        np.testing.assert_allclose(heard, found["offboard"], atol=1e-5, err_msg=client)
