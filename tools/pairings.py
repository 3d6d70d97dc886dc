"""Which robot drives which model, asked of the code, as a page: ``uv run tools/pairings.py``.

``docs/reference/pairings.md`` is written from what comes of each pair of a client's key set and a model's codec. A test
compares the page; another one serves and drives every pair that it says is served.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from offboard_client.errors import DialectUnsupported
from offboard_core.catalog import ResolvedCodec
from offboard_core.frontends import KeySet, Translated
from offboard_core.plugins import CODEC, Plugins
from offboard_core.types import Checkpoint, Codec, Field
from offboard_gr00t import bridge as gr00t
from offboard_gr00t.keysets import KEYSETS as GR00T_KEYS
from offboard_lerobot.async_inference.payloads import CAMERAS, Instructions
from offboard_lerobot.async_inference.translation import Translation, translate
from offboard_lerobot.pathon import bridge as pathon
from offboard_lerobot.pathon.keysets import KEYSETS as PATHON_KEYS
from offboard_openpi import bridge as openpi
from offboard_openpi.keysets import KEYSETS as OPENPI_KEYS
from offboard_openpi.roboarena import SPACES, roboarena_bridge
from offboard_vla_eval import bridge as vla_eval
from offboard_vla_eval.benchmarks import KEYSETS as VLA_EVAL_KEYS

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "pairings.md"
_PICTURE = Field(shape=(-1, -1, 3), dtype="uint8")
_TEXT = Field(shape=(), dtype="str")
#: What the checkpoints declare that are served with their own names: a small one of each vendor, for one arm.
OWN = {
    "lerobot": Checkpoint(
        id="act",
        inputs={
            "observation.state": Field(shape=(8,), dtype="float32"),
            "observation.images.left": Field(shape=(96, 96, 3), dtype="uint8"),
            "observation.images.side": Field(shape=(96, 96, 3), dtype="uint8"),
        },
        outputs={"action": Field(shape=(8,), dtype="float32")},
    ),
    "openpi": Checkpoint(
        id="1000",
        inputs={
            "observation/state": Field(shape=(8,), dtype="float32"),
            "observation/image": _PICTURE,
            "observation/wrist_image": _PICTURE,
            "task": _TEXT,
        },
        outputs={"action": Field(shape=(8,))},
        extras={"action_space": "absolute"},
    ),
    "gr00t": Checkpoint(
        id="1000",
        inputs={
            "video.wrist_image": _PICTURE,
            "video.exterior_image_1": _PICTURE,
            "state.grip": Field(shape=(1,), dtype="float32"),
            "state.ee_pose": Field(shape=(7,), dtype="float32"),
            "annotation.language.language_instruction": _TEXT,
        },
        outputs={"action.ee_pose": Field(shape=(7,)), "action.grip": Field(shape=(1,))},
    ),
}
#: A model with names of its own, for which no codec is chosen: here LeRobot's checkpoint.
OWN.update({"core": OWN["lerobot"], "scripted": Checkpoint(id="any")})
#: The motors of one arm, and what its client tells when LeRobot's own drives it.
MOTORS = (*(f"joint_{i}" for i in range(1, 8)), "gripper")
ROBOT = Instructions(
    policy_type="offboard",
    model="default",
    vectors={"observation.state": tuple(f"{name}.pos" for name in MOTORS)},
    cameras={f"{CAMERAS}{name}": name for name in ("left", "side", "wrist", "exterior")},
    actions_per_chunk=100,
    device="cpu",
)
#: Of a codec that says nothing without them.
_OPTIONS: dict[str, dict[str, Any]] = {"lerobot.motors": {"units": "degrees", "names": MOTORS}}
#: Why there is no session: what stands in the error → its letter → what the page says.
_REASONS = {
    "which the robot does not send": ("s", "the model reads something that this robot does not send"),
    "the model answers": ("a", "the model's actions are of another kind than those that this robot plays"),
    " for the robot, ": ("c", "they mean different things: a frame, the order of a quaternion, a width, a unit"),
    "steps per second": ("r", "the robot plays steps of another rate than the model's"),
    "serve with --gr00t.codec": ("k", "the model reads none of GR00T's names: the robot's key set has to be said"),
    "serve with --lerobot.units": ("u", "what the robot's joints count in has to be said"),
}
_SERVED = {"=": "what the robot sends reaches the model as it is", "t": "translated"}


@dataclass(frozen=True)
class Verdict:
    """``mark``: ``=`` or ``t`` where there is a session, else the letter of the reason; ``why``: the error's text."""

    mark: str
    why: str = ""

    @property
    def served(self) -> bool:
        """Whether there is a session."""
        return self.mark in _SERVED


def models() -> dict[str, ResolvedCodec]:
    """Each codec of the three vendors, and what is served without one of theirs, as a session has it."""
    plugins = Plugins.discover()
    found: dict[str, ResolvedCodec] = {}
    for offer in plugins.offers(CODEC):
        vendor, _, name = offer.name.partition(".")
        if vendor in OWN:
            checkpoint = OWN[vendor] if name in ("native", "motors") else Checkpoint(id="any")
            options = offer.options()(**_OPTIONS.get(offer.name, {}))
            found[offer.name] = ResolvedCodec(offer.make(options, checkpoint), offer.name, "option", options)
    return found


def key_sets(client: str) -> dict[str | None, KeySet | str | None]:
    """Those of a client's protocol; None: the robot sends the names that the server asks for.

    LeRobot's robots say their names themselves: there it is what their joints count in, None where nobody says it.
    """
    if client == "lerobot":
        return {None: None, "degrees": "degrees", "range": "range"}
    droids = {name: OPENPI_KEYS[name] for name in SPACES}
    sets: Mapping[str, Mapping[str, KeySet]] = {
        "openpi": OPENPI_KEYS, "gr00t": GR00T_KEYS, "vla_eval": VLA_EVAL_KEYS, "roboarena": droids,
        "pathon": PATHON_KEYS,
    }  # fmt: skip
    known = sets[client]
    return {None: None, **known}


def verdict(client: str, keys: Any, codec: ResolvedCodec) -> Verdict:
    """What becomes of a robot with this key set and a model with this codec."""
    try:
        bridged = _BRIDGES[client](keys, codec)
    except DialectUnsupported as error:
        return Verdict(next(letter for says, (letter, _) in _REASONS.items() if says in error.text), error.text)
    translated = bridged.translated if isinstance(bridged, Translation) else _translates(bridged.codec)
    return Verdict("t" if translated else "=")


_BRIDGES: dict[str, Callable[[Any, ResolvedCodec], ResolvedCodec | Translation]] = {
    "openpi": lambda keys, codec: openpi.bridge(keys, codec)[0],
    "gr00t": gr00t.bridge,
    "vla_eval": lambda keys, codec: vla_eval.bridge(keys, codec)[0],
    "pathon": pathon.bridge,
    "roboarena": lambda keys, codec: roboarena_bridge(None if keys is None else keys.name, codec)[0],
    "lerobot": lambda units, codec: translate(ROBOT, codec, units),
}


def _translates(codec: Codec) -> bool:
    held: Any = codec
    parts = [getattr(held, part.name) for part in dataclasses.fields(held)] if dataclasses.is_dataclass(held) else []
    return isinstance(codec, Translated) or any(_translates(part) for part in parts if isinstance(part, Codec))


def page() -> str:
    """The whole page."""
    served = models()
    tables = {client: _table(client, served) for client in _BRIDGES}
    marks = [*_SERVED.items(), *_REASONS.values()]
    return _TEXT_OF_PAGE.format(
        marks="\n".join(f"| {mark} | {'served' if mark in _SERVED else 'refused'}: {says} |" for mark, says in marks),
        codecs=" · ".join(f"`{name}`" for name in served),
        **tables,
    )


def _table(client: str, served: Mapping[str, ResolvedCodec]) -> str:
    sets = key_sets(client)
    head = " | ".join("none" if name is None else f"`{name}`" for name in sets)
    rows = [f"| model's codec | {head} |", "|---" * (len(sets) + 1) + "|"]
    for name, codec in served.items():
        marks = " | ".join(verdict(client, keys, codec).mark for keys in sets.values())
        rows.append(f"| `{name}` | {marks} |")
    return "\n".join(rows)


_TEXT_OF_PAGE = """\
# Which robot drives which model

A robot speaks Protocol v1, openpi's protocol, GR00T's, vla-eval's, RoboArena's, LeRobot's or PathOn-AI's; a model is
LeRobot's, openpi's or GR00T's, and has a codec. Here is what becomes of each pair. `uv run tools/pairings.py` writes
this page, of what the code answers. A test compares it, and another one drives every pair, on one server with a model
for each codec. `core.native` is that of a model which no other codec is chosen for; `scripted` is the built-in
policy's, which wants to be told where the cubes are.

| | |
|---|---|
{marks}

The error says the reason in full, and what to try.

## Robots on Protocol v1

offboard's own client, and Positronic's, send the [protocol's names](protocol.md#7-observations), or those that the
handshake lists. Every model is served to them: {codecs}.

## Robots that run openpi-client

Columns: `--openpi.codec`, the key set of [the robots](../how-to/openpi-clients.md#which-names-which-actions). Without
one the robot sends the names that the metadata lists, whatever these are.

{openpi}

## Robots that run GR00T's client

Columns: `--gr00t.codec`, the key set of [the robots](../how-to/gr00t-clients.md#which-names-which-actions). N1.5, N1.6
and N1.7 are alike here.

{gr00t}

## Benchmarks of vla-eval

Columns: `--vla-eval.codec`, the [benchmark](../how-to/harnesses.md#vla-eval) whose names and actions are translated.
Without one it is as with openpi-client.

{vla_eval}

## Robots of RoboArena

Columns: `--openpi.codec`, which says whether [DROID's arms](../how-to/harnesses.md#roboarena) are sent joint velocities
or joints to go to. Without one it follows from the model.

{roboarena}

## Robots that run PathOn-AI's client

Columns: `--lerobot.pathon.codec`, the [numbers](../how-to/pathon-clients.md) that the robot sends and plays. Without
one the robot sends whatever names the model reads.

{pathon}

## Robots that run LeRobot's robot_client

Columns: `--lerobot.units`, what the [robots' joints](../how-to/lerobot-robots.md#which-names-which-actions) count in.
Here the robot has the motors and the cameras that the checkpoint was trained on.

{lerobot}

The same holds of a robot [inside LeRobot](../how-to/inside-lerobot.md) (`--policy.type=offboard`), with
`--policy.units` for the columns; there `--policy.map` says what the names do not.

## Scripts

`POST /act` is Protocol v1 [over HTTP](../how-to/scripts.md): every model is served, but one that looks back answers
only who brings the history along.

Of `lerobot.native`, `openpi.native` and `gr00t.native` the names are the checkpoint's: here that of a policy for one
arm with a gripper and two cameras (`observation.state` of 8 numbers; the config `pi05_positronic_lowmem`; Positronic's
layout `ee_quat`); of `core.native` that of LeRobot's, too.
"""


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE.relative_to(Path.cwd()) if PAGE.is_relative_to(Path.cwd()) else PAGE}")
