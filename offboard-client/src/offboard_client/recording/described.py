"""What a recording says of itself: whether it is one of ours, and whether that is what a recorder says."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from mcap.records import Channel

from ..errors import RecordingFailed, brief
from .broken import damaged
from .file import EPISODE, OUTCOME, PROFILE, VERSION

#: What became of an episode whose run was killed.
KILLED: dict[str, Any] = {
    "success": None, "failure": ["killed", "the run ended, or its disk was full, before the episode did"],
    "stopped": True,
}  # fmt: skip

#: Topic, or what it begins with → the schemas that its messages may have.
_SCHEMAS: dict[str, tuple[str, ...]] = {
    "/observation/": ("offboard.Values", "offboard.Text"), "/action/": ("offboard.Values", "offboard.Text"),
    "/input/": ("offboard.Values", "offboard.Text"), "/video/": ("foxglove.CompressedVideo",),
    "/sent/": ("foxglove.CompressedImage",), "/seen/": ("foxglove.CompressedImage",),
    "/observed": ("offboard.Observed",), "/played": ("offboard.Played",), "/answer": ("offboard.Answer",),
    "/shadow/answer": ("offboard.Answer",), "/exchange": ("offboard.Exchange",), "/chunk/": ("offboard.Chunk",),
    "/shadow/chunk/": ("offboard.Chunk",), "/output/": ("offboard.Chunk",), "/pose/": ("foxglove.PoseInFrame",),
}  # fmt: skip


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e12


def _whole(value: object) -> bool:
    return type(value) is int


def _map(value: object) -> bool:
    return isinstance(value, dict)


def _yes_or_no(value: object) -> bool:
    return isinstance(value, bool)


def _texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)  # pyright: ignore[reportUnknownVariableType]


#: What is read of both, what it has to be where it is said, and the words for that.
_KINDS: dict[str, tuple[Callable[[object], bool], str]] = {
    "wall_time": (_number, "a number"), "control_period": (_number, "a number"), "action_period": (_number, "a number"),
    "number": (_whole, "a whole number"), "seed": (_whole, "a whole number"), "run": (_map, "a map"),
    "meta": (_map, "a map"),
}  # fmt: skip
_ENDS: dict[str, tuple[Callable[[object], bool], str]] = {
    "success": (_yes_or_no, "true or false"), "stopped": (_yes_or_no, "true or false"),
    "failure": (_texts, "a code and a text"), "seconds": (_number, "a number"), "missed": (_whole, "a whole number"),
    "scores": (_map, "a map"), "rungs": (_map, "a map"),
}  # fmt: skip


def read_described(
    name: str, profile: str, said: Mapping[str, Mapping[str, str]], whole: bool = True
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a file says of the episode and of what became of it. Raises RecordingFailed for what is none of ours."""
    if profile != PROFILE or EPISODE not in said or not whole:
        raise RecordingFailed(
            f"{name} is an MCAP file, and no recording of offboard's: what `offboard run --output-dir` writes says so"
        )
    try:
        about, outcome = read_values(said[EPISODE]), read_values(said.get(OUTCOME, {}))
        if (version := about.get("version")) != VERSION:
            raise RecordingFailed(
                f"{name} is a recording of version {brief(version)}, and this offboard reads version {VERSION}: use "
                "the offboard that wrote it, or a newer one"
            )
        for values, kinds in ((about, _KINDS), (outcome, _ENDS)):
            _check(values, kinds)
    except (ValueError, RecursionError) as error:
        raise damaged(name, error) from error
    return about, outcome


def nothing_of(name: str) -> RecordingFailed:
    """What is said of one of ours that was cut off before it says what it is of."""
    return RecordingFailed(f"{name} ends before it says what it is of: nothing of its episode was recorded")


def read_values(said: Mapping[str, str]) -> dict[str, Any]:
    """A metadata record's values. Raises ValueError, and RecursionError for what is too deep."""
    return {name: json.loads(value) for name, value in said.items()}


def check_topics(channels: Iterable[Channel], kinds: Mapping[str, str]) -> None:
    """``kinds``: topic → the name of its schema. Raises ValueError for a topic of ours that no recorder makes."""
    for channel in channels:
        topic, kind = channel.topic, kinds.get(channel.topic)
        for known, schemas in _SCHEMAS.items():
            ours = topic.startswith(known) if known.endswith("/") else topic == known
            if ours and kind not in schemas:
                raise ValueError(f"{topic[:64]} has messages of {brief(kind)}; expected {' or '.join(schemas)}")
            if ours and known.endswith("/"):
                _check_said(topic, channel.metadata)


def _check_said(topic: str, said: Mapping[str, str]) -> None:
    """What a topic says of itself: its name, and of what kind its numbers or pictures are."""
    name = said.get("name", "")
    if not name or "\0" in name:
        raise ValueError(f"{topic[:64]} says that it is of {brief(name)}; expected a name")
    if (dtype := said.get("dtype")) is not None and not _is_dtype(dtype):
        raise ValueError(f"{topic[:64]} has numbers of {brief(dtype)}; expected a type of numbers, such as '<f4'")
    sizes = [said.get("height", "1"), said.get("width", "1"), *filter(None, said.get("shape", "").split(","))]
    if not all(size.isdecimal() and len(size) < 6 for size in sizes):
        raise ValueError(f"{topic[:64]} has the shape {brief(','.join(sizes))}; expected whole numbers")


def _is_dtype(text: str) -> bool:
    try:
        return len(text) < 16 and np.dtype(text).kind in "biuf"
    except TypeError:
        return False


def _check(values: Mapping[str, Any], kinds: Mapping[str, tuple[Callable[[object], bool], str]]) -> None:
    for name, (fits, words) in kinds.items():
        value = values.get(name)
        if value is not None and not fits(value):
            raise ValueError(f"{name} is {brief(value)}; expected {words}")
