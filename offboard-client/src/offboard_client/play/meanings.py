"""What a unit, a frame, a convention and a joint's name say that can be compared, of texts that people wrote.

Only what is recognised is judged; of everything else it is said that nobody could.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

_SPACED = r"[\s,]*"
_ALONE = r"(?!\s*(?:/|per\b))"
_A_SECOND = r"\s*(?:/\s*s\b|per\s+second)"


def _in_order(letters: str) -> str:
    return rf"\b{_SPACED.join(letters)}\b"


#: What is recognised: what it is about → each value and how it is written. Two values at once say nothing.
_SAID: dict[str, dict[str, str]] = {
    "length in": {
        "m": rf"\b(?:m|met(?:er|re)s?)\b{_ALONE}",
        "m/s": rf"\b(?:m|met(?:er|re)s?)\b{_A_SECOND}",
        "cm": r"\bcm\b",
        "mm": r"\bmm\b|\bmillimet(?:er|re)s?\b",
        "inches": r"\binch(?:es)?\b",
    },
    "angle in": {
        "rad": rf"\brad(?:ians?)?\b{_ALONE}",
        "rad/s": rf"\brad(?:ians?)?\b{_A_SECOND}",
        "degrees": rf"(?:\bdeg(?:rees?)?\b|°){_ALONE}",
        "degrees/s": rf"(?:\bdeg(?:rees?)?\b|°){_A_SECOND}",
        "-100 to 100 of the motor's range": r"-100 to 100\b",
    },
    "quaternion": {"w x y z": _in_order("wxyz"), "x y z w": _in_order("xyzw")},
    "grip": {
        "0 open": r"\b0(?:\.0)?\s*(?:is|=|:)?\s*open|\b1(?:\.0)?\s*(?:is|=|:)?\s*closed",
        "0 closed": r"\b0(?:\.0)?\s*(?:is|=|:)?\s*closed|\b1(?:\.0)?\s*(?:is|=|:)?\s*open",
    },
    "colours": {"RGB": r"\bs?RGB\b", "BGR": r"\bBGR\b"},
}
_FRAMES = {
    "base": r"\bbase\b",
    "world": r"\b(?:world|map)\b",
    "camera": r"\bcamera\b",
    "tool": r"\b(?:tool|tcp|hand|flange|gripper|end.effector)\b",
}


@dataclass(frozen=True)
class Meaning:
    """``facts``: what is known, by what it is about. ``unread``: texts that say something else, by what they are."""

    facts: Mapping[str, str]
    unread: Mapping[str, str]


def read_meaning(
    name: str, protocol: str | None, unit: str | None, frame: str | None, conventions: Mapping[str, str]
) -> Meaning:
    """What is declared of ``name``.

    ``protocol``: the unit that the protocol has for it, which holds where ``unit`` is silent. ``frame``: with whatever
    follows a semicolon left out. ``conventions``: the handshake's; they hold for what the unit does not say.
    """
    facts, unread = _facts(protocol or ""), dict[str, str]()
    if "quaternion" in facts and "quaternion" in conventions:
        facts.update(_one("quaternion", conventions["quaternion"], _SAID["quaternion"]))
    if "grip" in facts and "grip" in conventions:
        facts.update(_one("grip", conventions["grip"], _SAID["grip"]))
    said = _facts(unit or "")
    facts.update(said)
    if unit and not said:
        unread["unit"] = unit
    posed = "quaternion" in facts
    for text in (conventions.get("frame") if posed and "frame" not in said else None, frame):
        if text:
            read = _one("frame", text.partition(";")[0], _FRAMES)
            facts.update(read)
            if not read:
                facts.pop("frame", None)
                unread["frame"] = text
    return Meaning(facts, unread)


def differences(
    robot: Meaning, policy: Meaning
) -> tuple[list[tuple[str, str, str]], list[tuple[str, str | None, str | None]]]:
    """What is known to differ, and what cannot be told: each with what the robot and what the policy says."""
    shared = robot.facts.keys() & policy.facts.keys()
    differ = [
        (what, robot.facts[what], policy.facts[what])
        for what in sorted(shared)
        if robot.facts[what] != policy.facts[what]
    ]
    unclear: list[tuple[str, str | None, str | None]] = []
    for what in sorted(robot.unread.keys() | policy.unread.keys()):
        ours, theirs = (_told(what, meaning) for meaning in (robot, policy))
        if _plain(ours) != _plain(theirs):
            unclear.append((what, ours, theirs))
    unread = robot.unread.keys() | policy.unread.keys()
    for what in sorted((robot.facts.keys() ^ policy.facts.keys()) - unread):
        unclear.append((what, robot.facts.get(what), policy.facts.get(what)))
    return differ, unclear


def compare_joints(ours: Sequence[str], theirs: Sequence[str]) -> Literal["same", "alike", "uneven", "order", "names"]:
    """How two lists of joints go together.

    ``same``: but for case and separators. ``alike``: but for what all of a list begin or end with, or where its numbers
    begin, which may be a make or a side. ``order``: what both name stands in another order. ``uneven``: one names more.
    ``names``: they name other joints.
    """
    ours, theirs = _bare(ours), _bare(theirs)
    if ours == theirs:
        return "same"
    apart, theirs_apart = _apart(ours), _apart(theirs)
    if apart == theirs_apart:
        return "alike"
    if _reordered(ours, theirs) or _reordered(apart, theirs_apart):
        return "order"
    return "names" if len(ours) == len(theirs) else "uneven"


def _bare(names: Sequence[str]) -> list[str]:
    return [re.sub(r"[\W_]+", "", name).casefold() for name in names]


def _apart(names: Sequence[str]) -> list[str]:
    """What tells the names of one list from each other: ``["j1", "j2"]`` is ``["0", "1"]``."""
    if len(names) < 2:
        return list(names)
    head = _alike(names)
    tail = _alike([name[:head:-1] for name in names])
    left = [name[head : len(name) - tail] for name in names]
    if len(set(left)) != len(names):
        return list(names)
    if all(each.isascii() and each.isdecimal() and len(each) < 10 for each in left):
        first = min(map(int, left))
        return [str(int(each) - first) for each in left]
    return left


def _alike(names: Sequence[str]) -> int:
    """How many characters all of them begin with."""
    first, last = min(names), max(names)
    return next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))


def _reordered(ours: Sequence[str], theirs: Sequence[str]) -> bool:
    shared = set(ours) & set(theirs)
    return [name for name in ours if name in shared] != [name for name in theirs if name in shared]


def _told(what: str, meaning: Meaning) -> str | None:
    if what in meaning.unread:
        return meaning.unread[what]
    if what == "frame":
        return meaning.facts.get("frame")
    return ", ".join(value for about, value in meaning.facts.items() if about != "frame") or None


def _plain(text: str | None) -> str:
    return " ".join(re.findall(r"\w+", (text or "").lower()))


def _facts(text: str) -> dict[str, str]:
    facts: dict[str, str] = {}
    for about, values in _SAID.items():
        facts.update(_one(about, text, values))
    if "quaternion" in facts:
        facts.update(_one("frame", text, _FRAMES))
    return facts


def _one(about: str, text: str, values: Mapping[str, str]) -> dict[str, str]:
    found = [value for value, pattern in values.items() if re.search(pattern, text, re.IGNORECASE)]
    return {about: found[0]} if len(found) == 1 else {}
