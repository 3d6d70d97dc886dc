"""A model of each codec of the three vendors behind one server, and robots of six protocols in front of it."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import gr00t_standin
import grpc
import numpy as np
import openpi_standin
from gr00t_clients import N17Client
from lerobot_async import Client
from lerobot_checkpoints import SIDE, change_weights, save_policy
from offboard_client import InferenceClient
from offboard_core import InferenceServer
from offboard_core.catalog import ModelSource
from offboard_core.engine import ServiceTimeouts
from offboard_core.plugins import CODEC, Plugins
from offboard_core.types import Array, Checkpoint, Chunk
from offboard_gr00t.keysets import KEYSETS as GR00T_KEYS
from offboard_gr00t.listener import GR00TListener
from offboard_gr00t.options import GR00TListenerOptions
from offboard_lerobot.async_inference import make_listener
from offboard_lerobot.async_inference.options import RobotClientOptions
from offboard_lerobot.pathon.frontend import PathOnFrontend
from offboard_lerobot.pathon.keysets import KEYSETS as PATHON_KEYS
from offboard_lerobot.pathon.options import PathOnOptions
from offboard_openpi.frontend import OpenPIFrontend
from offboard_openpi.keysets import KEYSETS as OPENPI_KEYS
from offboard_openpi.options import OpenPIFrontendOptions
from offboard_openpi.roboarena import SPACES
from offboard_vla_eval.benchmarks import KEYSETS as VLA_EVAL_KEYS
from offboard_vla_eval.frontend import VLAEvalFrontend
from offboard_vla_eval.options import VLAEvalOptions
from pathon_client import PathOnClient
from puppets import PATIENCE
from roboarena_client import RoboArenaClient
from robots import connect_to
from vla_eval.protocol.messages import Message, MessageType, pack_message, unpack_message

PLUGINS = Plugins.discover()
#: The config of openpi whose checkpoints a codec is for.
CONFIGS = {"droid": "pi05_droid", "droid_jointpos": "pi05_full_droid_finetune", "libero": "pi05_libero",
           "aloha": "pi0_aloha"}  # fmt: skip
#: Where the cubes of the simulated arm are.
COLOURS = {"red": 0.4, "green": 0.5, "blue": 0.6}
_UNIT = np.array([0.9, 0.1, -0.3, 0.2]) / np.linalg.norm([0.9, 0.1, -0.3, 0.2])


def _picture(seed: int) -> Array:
    return np.random.default_rng(seed).integers(0, 256, (224, 224, 3), dtype=np.uint8)


#: What a robot measures, under the protocol's names: one arm, and two.
SEEN: dict[str, Any] = {
    "robot_state.ee_pose": np.concatenate([[0.4, -0.1, 0.3], _UNIT]).astype(np.float32),
    "robot_state.q": np.float32([0.1, -0.2, 0.3, -1.4, 0.5, 1.6, 0.7]),
    "grip": np.float32([0.25]),
    "robot_state.left.q": np.float32([0.1, -0.2, 0.3, -1.4, 0.5, 1.6]),
    "robot_state.right.q": np.float32([-0.1, 0.2, -0.3, 1.4, -0.5, -1.6]),
    "grip.left": np.float32([0.75]),
    "grip.right": np.float32([0.0]),
    "image.wrist": _picture(1),
    "image.exterior": _picture(2),
    "image.low": _picture(3),
    "motors": np.float32([10, -20, 30, -40, 50, 60, 70, 25]),
    **{
        f"sim.objects.{colour}_cube": np.concatenate([[x, 0.1, 0.02], _UNIT]).astype(np.float32)
        for colour, x in COLOURS.items()
    },
    "task": "stack the red cube on the green cube",
}


def codec_of(name: str) -> Any:
    """A codec by its full name, made for no checkpoint."""
    offer = PLUGINS.get(CODEC, name)
    return offer.make(offer.options()(), Checkpoint(id="any"))


# -- the models -----------------------------------------------------------------------------------------------------
def write_models(folder: Path, codecs: list[str]) -> Path:
    """A ``models.toml`` with a source for each codec, called like it, and the checkpoints that it names."""
    tables = [_WRITERS[codec.partition(".")[0]](folder, codec) for codec in codecs]
    path = folder / "models.toml"
    path.write_text("\n".join(tables))
    return path


def _table(name: str, codec: str, place: Path, **more: Any) -> str:
    vendor, _, own = codec.partition(".")
    lines = {"vendor": vendor, "checkpoints_dir": str(place), "codec": own, **more}
    return "\n".join([f'["{name}"]', *(f"{key} = {to_toml(value)}" for key, value in lines.items()), ""])


def to_toml(value: Any) -> str:
    """A value as TOML, on one line."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{json.dumps(key)} = {to_toml(each)}" for key, each in value.items()) + " }"
    return "[" + ", ".join(map(to_toml, value)) + "]" if isinstance(value, tuple) else json.dumps(value)


def name_of(codec: str) -> str:
    """A codec's source."""
    return codec.replace(".", "_")


def _lerobot(folder: Path, codec: str) -> str:
    motors = codec == "lerobot.motors"
    place = folder / ("motors" if motors else "act")
    if not place.exists():
        saved = save_policy(place / "checkpoints" / "000010" / "pretrained_model", "act")
        for file in (*saved.glob("policy_*processor*.safetensors"),):
            change_weights(file, _in_degrees if motors else _calm)
    more: dict[str, Any] = {}
    if motors:
        names = (*(f"joint_{i}" for i in range(1, 8)), "gripper")
        images = {"image.wrist": "left", "image.exterior": "side"}
        more["codec_options"] = {"units": "degrees", "names": names, "map": images}
    return _table(name_of(codec), codec, place, **more)


def _calm(tensors: dict[str, Any]) -> None:
    """Random weights answer anything; like this, poses and joints near one that an arm may have, and half a grip."""
    mean = tensors["action.mean"]
    tensors["action.mean"] = mean.new_tensor([0.4, 0.0, 0.3, 1.0, 0.1, 0.0, 0.0, 0.5])
    tensors["action.std"] = mean.new_full((8,), 1e-3)


def _in_degrees(tensors: dict[str, Any]) -> None:
    """As if it had been trained on motors."""
    for name in ("observation.state", "action"):
        tensors[f"{name}.min"] = tensors[f"{name}.min"].new_tensor([-90.0] * 7 + [0.0])
        tensors[f"{name}.max"] = tensors[f"{name}.max"].new_tensor([90.0] * 7 + [100.0])


def _openpi(folder: Path, codec: str) -> str:
    name = codec.partition(".")[2]
    config = CONFIGS.get(name, "pi05_positronic_lowmem")
    wide = name.startswith("ee_joints")
    place = folder / f"{config}{'_wide' if wide else ''}"
    if not place.exists():
        openpi_standin.write_step(place / "1000", openpi_standin.ASSETS[config], width=15 if wide else 8, value=0.75)
    options = {**openpi_standin.options(), "config_name": config}
    return _table(name_of(codec), codec, place, options=options)


def _gr00t(folder: Path, codec: str) -> str:
    keys = GR00T_KEYS.get(codec.partition(".")[2], GR00T_KEYS["ee_quat"])
    place = folder / f"gr00t_{keys.name}"
    if not place.exists():
        gr00t_standin.write_checkpoint(
            place / "checkpoint-1000",
            video=[name.removeprefix("video.") for name in keys.images],
            state={
                name.removeprefix("state."): field.shape[0]
                for name, field in keys.fields(set()).items()
                if name.startswith("state.") and field.shape
            },
            action={name.removeprefix("action."): width for name, width in keys.layout.items()},
            language=keys.instruction,
            value=0.75,
        )
    return _table(name_of(codec), codec, place, options=gr00t_standin.options())


def _core(folder: Path, codec: str) -> str:
    """LeRobot's checkpoint, with the codec of those that have none."""
    return (
        _lerobot(folder, "lerobot.native")
        .replace(name_of("lerobot.native"), name_of(codec))
        .replace('codec = "native"', f'codec = "{codec}"')
    )


def _scripted(folder: Path, codec: str) -> str:
    return f'["{name_of(codec)}"]\nvendor = "scripted"\n'


_WRITERS = {"lerobot": _lerobot, "openpi": _openpi, "gr00t": _gr00t, "core": _core, "scripted": _scripted}


# -- the server -----------------------------------------------------------------------------------------------------
#: Key set → openpi's path for it.
PATHS = {None: "/", **{name: f"/keys/{name}" for name in OPENPI_KEYS}}
#: The same for RoboArena's, PathOn-AI's and vla-eval.
ROBOARENA_PATHS: dict[str | None, str] = {None: "/roboarena", **{name: f"/roboarena/{name}" for name in SPACES}}
PATHON_PATHS: dict[str | None, str] = {None: "/pathon", **{name: f"/pathon/{name}" for name in PATHON_KEYS}}
VLA_EVAL_PATHS: dict[str | None, str] = {None: "/vla-eval", **{name: f"/vla-eval/{name}" for name in VLA_EVAL_KEYS}}


@contextlib.contextmanager
def serving(sources: Mapping[str, ModelSource]) -> Iterator[InferenceServer]:
    """These, for robots of every key set; GR00T's robots of each on a port of its own, for each source."""
    frontends = {path: OpenPIFrontend(OpenPIFrontendOptions(codec=name)) for name, path in PATHS.items()}
    frontends |= {
        path: OpenPIFrontend(OpenPIFrontendOptions(codec=name, dialect="roboarena"))  # type: ignore[arg-type]
        for name, path in ROBOARENA_PATHS.items()
    }
    frontends |= {
        path: VLAEvalFrontend(VLAEvalOptions(codec=name))  # type: ignore[arg-type]
        for name, path in VLA_EVAL_PATHS.items()
    }
    frontends |= {
        path: PathOnFrontend(PathOnOptions(codec=name, stale_after=PATIENCE))  # type: ignore[arg-type]
        for name, path in PATHON_PATHS.items()
    }
    listeners = {
        f"{source}.{name}": (GR00TListener(GR00TListenerOptions(codec=name, model=source)), 0)
        for source, name in itertools.product(sources, (None, *GR00T_KEYS))
    }
    listeners |= {
        f"lerobot.{units}": (make_listener(RobotClientOptions(units=units)), 0) for units in (None, "degrees", "range")
    }
    with InferenceServer(
        sources, port=0, frontends=frontends, listeners=listeners, limits=ServiceTimeouts(close=PATIENCE)
    ) as server:
        yield server


# -- the robots -----------------------------------------------------------------------------------------------------
def seen_by(codec: str, client: str = "offboard", keys: str | None = None) -> dict[str, Any]:
    """What a robot sends to a model: its key set's names, else those of the model, which are the protocol's mostly."""
    own = codec.partition(".")[2]
    if client == "vla_eval" and keys is not None:
        made = codec_of("openpi.libero").encode(SEEN)
        return {theirs: made[name] for name, theirs in _OF_A_BENCHMARK.items()}
    if client == "roboarena":
        return codec_of("openpi.droid").encode(SEEN)
    if client == "pathon" and keys is not None:
        made = codec_of(f"lerobot.{keys}").encode(SEEN)
        return _as_small(made) if codec == "core.native" else made  # which fits no pictures
    if client != "offboard" and keys is not None:
        return codec_of(f"{client}.{keys}").encode(SEEN)
    if client == "gr00t" and own in GR00T_KEYS:
        return codec_of(codec).encode(SEEN)
    if own != "native":
        return SEEN
    return _as_small(codec_of(_LIKE[codec]).encode(SEEN))


def _as_small(seen: Mapping[str, Any]) -> dict[str, Any]:
    """With pictures of the checkpoints' size."""
    return {name: value[:SIDE, :SIDE] if getattr(value, "ndim", 0) == 3 else value for name, value in seen.items()}


#: What vla-eval's LIBERO calls what openpi's checkpoints for it call so.
_OF_A_BENCHMARK = {
    "observation/state": "states", "observation/image": "images/agentview", "observation/wrist_image": "images/wrist",
    "prompt": "task_description",
}  # fmt: skip
#: The codec that makes the names of the checkpoints that are served with their own.
_LIKE = {"lerobot.native": "lerobot.ee", "openpi.native": "openpi.ee", "gr00t.native": "gr00t.ee_quat",
         "core.native": "lerobot.ee"}  # fmt: skip


def seen_beside(codec: str, client: str, keys: str | None, mark: str) -> dict[str, Any]:
    """What offboard's client sends, for the model to see the same: a key set's pictures have a size of their own."""
    if client == "lerobot":
        arm = seen_by_lerobots()
        motors = np.float32([value for name, value in arm.items() if name.endswith(".pos")])
        own = {"observation.state": motors, **{f"observation.images.{name}": arm[name] for name in ("left", "side")}}
        return {**SEEN, "motors": motors} if codec == "lerobot.motors" else {**own, "task": arm["task"]}
    if mark == "t":
        found = _KEYS[client][keys].to_canonical(seen_by(codec, client, keys))
        return {**SEEN, **{name: value for name, value in found.items() if name.startswith("image.")}}
    return seen_by(codec, client, keys) if codec.endswith(".native") else seen_by(codec)


_KEYS: Mapping[str, Mapping[Any, Any]] = {
    "openpi": OPENPI_KEYS, "gr00t": GR00T_KEYS, "vla_eval": VLA_EVAL_KEYS, "pathon": PATHON_KEYS,
    # Without an option: only joints to go to are made of another vendor's.
    "roboarena": {None: OPENPI_KEYS["droid_jointpos"], **OPENPI_KEYS},
}  # fmt: skip


def by_offboard(server: InferenceServer, codec: str, seen: Mapping[str, Any]) -> dict[str, Array]:
    """What offboard's own client is answered: each action (T, D)."""
    with (
        InferenceClient(server.host, server.port) as client,
        client.new_session(name_of(codec)) as session,
    ):
        rows = session.infer(seen)
    return {name: np.stack([row["action"][name] for row in rows]) for name in rows[0]["action"]}


def by_openpi(client: Any, server: InferenceServer, codec: str, keys: str | None) -> dict[str, Array]:
    """What openpi's client is answered, each part (T, D) as the metadata says. ``client``: the genuine one."""
    said = client.connect(host=f"ws://{server.host}:{server.port}{PATHS[keys]}?model={name_of(codec)}")
    actions = client.infer(seen_by(codec, "openpi", keys))["actions"]
    names, widths = zip(*said["action_layout"], strict=True)
    assert sum(widths) == actions.shape[1]
    return dict(zip(names, np.split(actions, np.cumsum(widths)[:-1], axis=1), strict=True))


def by_gr00t(server: InferenceServer, codec: str, keys: str | None) -> dict[str, Array]:
    """What GR00T's client is answered: each group of actions (T, D)."""
    port = server.listeners.addresses[f"{name_of(codec)}.{keys}"][1]
    return asked_of_gr00t(port, seen_by(codec, "gr00t", keys))


def by_vla_eval(server: InferenceServer, codec: str, keys: str | None, steps: int) -> dict[str, Array]:
    """What vla-eval's client is told in so many steps, each part (T, D)."""
    asked: dict[str, Any] = {}
    for name, value in seen_by(codec, "vla_eval", keys).items():
        whole, _, part = name.rpartition("/")
        if whole == "images":
            asked.setdefault(whole, {})[part] = value
        else:
            asked[name] = value
    path = f"{VLA_EVAL_PATHS[keys]}?model={name_of(codec)}"
    with connect_to(f"ws://{server.host}:{server.port}{path}") as socket:

        def ask(kind: MessageType, payload: dict[str, Any]) -> dict[str, Any]:
            socket.send(pack_message(Message(kind, payload)))
            reply = unpack_message(socket.recv(timeout=PATIENCE))
            assert reply.type != MessageType.ERROR, reply
            return reply.payload

        said = ask(MessageType.HELLO, {"protocol_version": 1})
        actions = np.stack([ask(MessageType.OBSERVATION, asked)["actions"] for _ in range(steps)])
    names, widths = zip(*said["action_layout"], strict=True)
    return dict(zip(names, np.split(actions, np.cumsum(widths)[:-1], axis=1), strict=True))


def by_pathon(server: InferenceServer, codec: str, keys: str | None, steps: int) -> dict[str, Array]:
    """What PathOn-AI's client is told in so many steps, each part (T, D): it is not told what its numbers are."""
    seen = seen_by(codec, "pathon", keys)
    with PathOnClient(f"ws://{server.host}:{server.port}{PATHON_PATHS[keys]}?model={name_of(codec)}") as client:
        instruction = {} if "prompt" in seen else {"task": [SEEN["task"]]}
        taken = [client.select_action({**seen, **instruction}) for _ in range(steps)]
    actions = np.concatenate(taken)
    if keys is not None:
        return {"action": actions}
    with InferenceClient(server.host, server.port) as client, client.new_session(name_of(codec)) as session:
        widths = {name: field["shape"][0] for name, field in session.metadata["action"].items()}
    return dict(zip(widths, np.split(actions, np.cumsum([*widths.values()])[:-1], axis=1), strict=True))


def by_roboarena(server: InferenceServer, codec: str, keys: str | None) -> dict[str, Array]:
    """What RoboArena's client is answered, each part (T, D)."""
    with RoboArenaClient(server.host, f"{server.port}{ROBOARENA_PATHS[keys]}?model={name_of(codec)}") as client:
        actions = client.infer({**seen_by(codec, "roboarena", keys), "session_id": "s1"})["actions"]
        return {client.config.action_space: actions[:, :7], "gripper_position": actions[:, 7:]}


def seen_by_lerobots() -> dict[str, Any]:
    """What a robot of LeRobot's sends: a number for each motor, and four pictures."""
    names = (*(f"joint_{i}.pos" for i in range(1, 8)), "gripper.pos")
    pictures = {"left": SEEN["image.wrist"][:SIDE, :SIDE], "side": SEEN["image.exterior"][:SIDE, :SIDE],
                "wrist": SEEN["image.wrist"], "exterior": SEEN["image.exterior"]}  # fmt: skip
    return {**dict(zip(names, SEEN["motors"].tolist(), strict=True)), **pictures, "task": SEEN["task"]}


def by_lerobot(server: InferenceServer, codec: str, units: str | None) -> dict[str, Array]:
    """What LeRobot's client is answered: its motors' vector (T, D)."""
    arm = seen_by_lerobots()
    features: dict[str, Any] = {
        "observation.state": {"dtype": "float32", "names": [n for n in arm if n.endswith(".pos")]}
    }
    features |= {f"observation.images.{name}": {"dtype": "image"} for name in ("left", "side", "wrist", "exterior")}
    with Client(server.listeners.addresses[f"lerobot.{units}"][1]) as client:
        try:
            client.start(
                policy_type="offboard", pretrained_name_or_path=name_of(codec), lerobot_features=features,
                actions_per_chunk=100,
            )  # fmt: skip
        except grpc.RpcError as error:
            raise RuntimeError(error.details()) from None
        rows = np.stack([action.numbers for action in client.ask(**arm)])
    return {"target_motors" if codec == "lerobot.motors" else "action": rows}


def asked_of_gr00t(port: int, seen: Mapping[str, Any]) -> dict[str, Array]:
    """The same, of the server there. ``seen``: the robot's names, flat."""
    asked: dict[str, dict[str, Any]] = {"video": {}, "state": {}, "language": {}}
    for name, value in seen.items():
        kind, _, bare = name.partition(".")
        if kind in ("video", "state"):
            asked[kind][bare] = value[None, None]
        else:
            asked["language"][name] = [[value]]
    with N17Client(port, timeout=PATIENCE) as client:
        actions, _ = client.get_action(asked)
    return {f"action.{name}": steps[0] for name, steps in actions.items()}


def in_canonical_terms(codec: str, client: str, keys: str | None, mark: str, played: Mapping[str, Array]) -> Any:
    """What a robot was told, as offboard's client hears the same from the same model."""
    own = codec.partition(".")[2]
    if client == "lerobot":
        return played
    if mark == "t":
        return _KEYS[client][keys].actions_to_canonical(played)
    if own == "native" or client in ("vla_eval", "pathon") or (client == "openpi" and keys is None):
        return played
    whole = {"action": np.concatenate([*played.values()], axis=1)}
    answered = whole if client in ("openpi", "roboarena") else dict(played)
    return codec_of(codec).decode(Chunk(answered), SEEN).columns()
