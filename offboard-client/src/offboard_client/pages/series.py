"""An episode as curves: what was measured, commanded and answered, why, and how long the answers took."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..recording import Episode, Said, stamp
from .timeline import Timeline

#: Blocks that are read for one look; of a longer time as many as that, evenly apart.
MOST_BLOCKS = 120
#: Numbers of a vector that are shown, points of a curve, and chunks that are drawn.
_WIDTH, _POINTS, _CHUNKS = 32, 1500, 400
#: A command → what it is held against. With two arms, the arm's name stands within both.
_PAIRS = {
    "target_pose": "robot_state.ee_pose", "target_joints": "robot_state.q", "target_grip": "grip",
    "joint_velocity": "robot_state.dq",
}  # fmt: skip
#: Where the rows of answers are.
_CHUNK = ("/chunk/", "/shadow/chunk/")
#: Characters of a joint's name that are shown.
_LONG = 40
_POSE = ("x", "y", "z", "qw", "qx", "qy", "qz")


def plots(topics: Mapping[str, str], orders: Mapping[str, list[str]] | None = None) -> list[dict[str, Any]]:
    """What is drawn with what: ``name``, and the topics of what was ``measured``, ``commanded`` and ``answered``.

    ``shadow``: of what another model answered, which drove nothing. ``orders``: as of :func:`orders_of`.
    """
    orders = orders or {}
    measured, shadow = _named(topics, "/observation/"), _named(topics, "/shadow/chunk/")
    commanded, answered = _named(topics, "/action/"), _named(topics, "/chunk/")
    found: list[dict[str, Any]] = []
    for name in sorted({*commanded, *answered, *shadow}):
        other = _measured(name, measured)
        found.append({
            "name": name, "measured": measured.pop(other, None) if other else None, "against": other,
            "commanded": commanded.get(name), "answered": answered.get(name), "shadow": shadow.get(name),
            "labels": orders.get(name) or orders.get(other or "") or _labels(name),
        })  # fmt: skip
    for name, topic in sorted(measured.items()):
        alone = {"against": name, "commanded": None, "answered": None, "shadow": None}
        found.append({"name": name, "measured": topic, "labels": orders.get(name) or _labels(name), **alone})
    return found


def orders_of(robot: object) -> dict[str, list[str]]:
    """Name → what its numbers are called, of a robot's contract as plain data, whatever stands there."""
    found: dict[str, list[str]] = {}
    for kind in ("plays", "measures"):
        for name, channel in _map(_map(robot).get(kind)).items():
            order = _map(channel).get("order")
            called: list[Any] = [*order[:_WIDTH]] if isinstance(order, list | tuple) else []  # pyright: ignore[reportUnknownArgumentType]
            if called and all(isinstance(each, str) for each in called):
                found[name] = [each[:_LONG] for each in called]
    return found


def series(episode: Episode, timeline: Timeline, start: float, end: float) -> dict[str, Any]:
    """All curves between two times, in seconds of the episode, as plain JSON data. Raises RecordingFailed.

    ``curves``: topic → ``t`` and ``v``, one list for each number of the vector. ``shadow``: its exchanges, as
    ``answers`` are the policy's. ``sampled``: whether only a part of the time was looked at, for it is long.
    """
    wanted = [topic for topic in episode.topics if topic.startswith(("/observation/", "/action/", *_CHUNK))]
    wanted += ["/answer", "/played", "/shadow/answer"]
    first, last = timeline.wall(start), timeline.wall(end, end=True)
    blocks = [block for block in episode.blocks(wanted) if block.end >= first and block.start <= last]
    step = max(1, -(-len(blocks) // MOST_BLOCKS))
    sampled = step > 1
    if sampled:  # single chunks say nothing there
        wanted = [topic for topic in wanted if not topic.startswith(_CHUNK)]
    curves: dict[str, list[tuple[NDArray[np.float64], NDArray[np.float64]]]] = {}
    answers: dict[str, list[dict[str, Any]]] = {"/answer": [], "/shadow/answer": []}
    rungs, chunks, texts = list[Any](), dict[str, list[Any]](), list[Any]()
    for block in blocks[::step]:
        by: dict[str, list[Said]] = {}
        for said in episode.read_block(block, wanted):
            by.setdefault(said.topic, []).append(said)
        for topic, given in by.items():
            # A shadow's rows lie where the policy's lie, whenever they came.
            late = topic.startswith("/shadow/chunk/")
            at = timeline.seconds([stamp(said.message) if late else said.at for said in given])
            placed = list(zip(given, at.tolist(), strict=True))
            if topic in answers:
                answers[topic] += [_answer(said, t) for said, t in placed]
            elif topic == "/played":
                _add_rungs(rungs, given)
            elif topic.startswith(_CHUNK):
                chunks.setdefault(topic, []).extend(_chunk(said, t) for said, t in placed)
            elif hasattr(given[0].message, "text"):
                texts += [[said.name, t, said.message.text[:500]] for said, t in placed]
            elif (found := _curve(given, at)) is not None:
                curves.setdefault(topic, []).append(_ends(*found) if sampled else found)
    return {
        "from": start, "to": end, "sampled": sampled,
        "curves": {topic: _joined(parts) for topic, parts in curves.items()},
        "answers": answers["/answer"], "shadow": answers["/shadow/answer"], "rungs": rungs, "texts": texts,
        "chunks": {topic: found[:: -(-len(found) // _CHUNKS)] for topic, found in chunks.items()},
    }  # fmt: skip


def _named(topics: Mapping[str, str], kind: str) -> dict[str, str]:
    return {name or topic: topic for topic, name in topics.items() if topic.startswith(kind)}


def _measured(command: str, measured: Mapping[str, str]) -> str | None:
    """What is measured of what this commands."""
    first, _, arm = command.partition(".")
    if (pair := _PAIRS.get(first)) is not None:
        head, dot, tail = pair.partition(".")
        names = [".".join(filter(None, (head, arm, tail if dot else "")))]
    else:
        names = [command, command.removeprefix("target_"), f"robot_state.{command}"]
    return next((name for name in names if name in measured), None)


def _map(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}  # pyright: ignore[reportUnknownVariableType]


def _labels(name: str) -> list[str]:
    return list(_POSE) if name.partition(".")[0] == "target_pose" or name.endswith("ee_pose") else []


def _curve(given: Iterable[Said], at: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    rows = [list(said.message.values[:_WIDTH]) for said in given]
    if len({len(row) for row in rows}) != 1 or not rows[0]:  # it changes its length: no curve
        return None
    return at, np.array(rows, dtype=np.float64)


def _ends(at: NDArray[np.float64], values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A second of a long time: its least and its most."""
    middle = float(at.mean())
    return np.array([middle, middle]), np.stack([values.min(axis=0), values.max(axis=0)])


def _joined(parts: list[tuple[NDArray[np.float64], NDArray[np.float64]]]) -> dict[str, Any]:
    width = parts[0][1].shape[1]
    parts = [part for part in parts if part[1].shape[1] == width]
    at, values = np.concatenate([t for t, _ in parts]), np.concatenate([v for _, v in parts])
    order = np.argsort(at, kind="stable")
    at, values = at[order], values[order]
    if len(at) > _POINTS:
        # Of each stretch its first, its least and its most: peaks stay, and so does what is left out between them.
        size = -(-len(at) * 2 // _POINTS)
        count = -(-len(at) // size)
        filled = np.pad(values, ((0, count * size - len(at)), (0, 0)), mode="edge").reshape(count, size, width)
        values = np.stack([filled.min(axis=1), filled.max(axis=1)], axis=1).reshape(2 * count, width)
        at = np.repeat(at[::size], 2)
    plain = np.round(values, 6)
    return {
        "t": np.round(at, 4).tolist(),
        "v": [[x if abs(x) < float("inf") else None for x in column] for column in plain.T.tolist()],
    }


def _answer(said: Said, at: float) -> dict[str, Any]:
    message = said.message
    return {
        "t": round(at, 4), "ms": _finite(message.round_trip_ms), "failure": message.failure,
        "text": message.failure_text[:500], "dropped": message.dropped, "end": message.end,
    }  # fmt: skip


def _chunk(said: Said, at: float) -> dict[str, Any]:
    message = said.message
    width = max(1, message.width)
    values = np.round(np.array(message.values, dtype=np.float64), 5)
    rows = values[: len(values) // width * width].reshape(-1, width)[:, :_WIDTH]
    finite = np.where(np.isfinite(rows), rows, 0.0)
    return {"t": [_finite(at + offset) for offset in message.offsets[: len(rows)]], "v": finite.T.tolist()}


def _add_rungs(rungs: list[Any], given: Iterable[Said]) -> None:
    """Stretches of time with the same rung: ``[from, to, rung]``."""
    for said in given:
        begins, rung = float(said.message.seconds), str(said.message.rung)
        if not abs(ends := begins + float(said.message.duration)) < float("inf"):
            continue
        if rungs and rungs[-1][2] == rung and begins <= rungs[-1][1] + 0.5:
            rungs[-1][1] = round(max(ends, rungs[-1][1]), 4)
        else:
            rungs.append([round(begins, 4), round(ends, 4), rung])


def _finite(value: float) -> float | None:
    return round(value, 4) if abs(value) < float("inf") else None
