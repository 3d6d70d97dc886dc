"""What the fields of ``adapter_config.json`` may hold: PEFT computes with them, and runs texts as patterns."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, cast

#: Characters of a text that names layers, and fewer ways than this to try it on a layer's name: Python tries one after
#: the other, and nothing else runs meanwhile.
_LONGEST, _MOST = 1000, 2**20
#: In how many of them a part of any length is, about as many as a name has characters.
_LENGTHS = 32
_PLAIN = re.compile(r"[\w.]+", re.ASCII)
#: All that PEFT's users write, and no look-around, back reference or repeated group.
_PATTERN = re.compile(r"(?:[\w.|^$-]|\\[.dw]|\[\^?[\w.-]+\]|\((?:\?:)?|\)\??|[*+?])*", re.ASCII)
#: What a pattern is made of: digits of any number, of which there are few in a name, or one character or bracket.
_PART = re.compile(r"\\d[*+]|\\.|\[[^]]*\]|\(\?:|.")


def why_no_value(name: str, value: Any) -> str | None:
    """Why a field cannot be that; None: it can, or it is none of those that PEFT is told."""
    rule = _RULES.get(name)
    return None if rule is None or rule[0](value) else f"is no {rule[1]}"


def _is_rank(value: Any) -> bool:
    return type(value) is int and value > 0


def _is_scale(value: Any) -> bool:
    return type(value) in (int, float) and 0 < value < math.inf


def _is_flag(value: Any) -> bool:
    return type(value) is bool


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _LONGEST and _PLAIN.fullmatch(value) is not None


def _is_pattern(value: Any) -> bool:
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST or _PATTERN.fullmatch(value) is None:
        return False
    # A group that holds a part of any length is never repeated, as no * or + comes after a bracket.
    if re.search(r"\)\??[*+]|[*+?][*+]", value):
        return False
    try:
        re.compile(value)
    except re.error:
        return False
    return _ways(value) < _MOST


def _ways(pattern: str) -> int:
    """In how many it may be tried at most: those of what follows each other multiply, those of alternatives add."""
    groups = [[1]]  # of each bracket that is open, its alternatives
    for part in _PART.findall(pattern):
        if part in ("(", "(?:"):
            groups.append([1])
        elif part == "|":
            groups[-1].append(1)
        elif part == ")":
            inner = sum(groups.pop())
            groups[-1][-1] *= inner
        elif part in ("*", "+"):
            groups[-1][-1] *= _LENGTHS
        elif part == "?" or part in (r"\d*", r"\d+"):
            groups[-1][-1] *= 2
    return sum(groups[0])


def _list_of(rule: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(rule, cast("list[Any]", value)))


def _map_of(rule: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: (
        isinstance(value, dict)
        and all(_is_pattern(key) and rule(of) for key, of in cast("dict[Any, Any]", value).items())
    )


def _or_none(rule: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or rule(value)


def _either(*rules: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: any(rule(value) for rule in rules)


_NAMES = _list_of(_is_name)
_LAYERS = (
    "name of layers, list of names, or simple pattern (of three * and + and few choices in each alternative, and none "
    "after a bracket)"
)
_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "r": (_is_rank, "rank, a whole number above 0"),
    "lora_alpha": (_is_scale, "number above 0"),
    "rank_pattern": (_or_none(_map_of(_is_rank)), "map of layers to ranks"),
    "alpha_pattern": (_or_none(_map_of(_is_scale)), "map of layers to numbers above 0"),
    "target_modules": (_either(_is_pattern, lambda value: bool(value) and _NAMES(value)), _LAYERS),
    "exclude_modules": (_or_none(_either(_is_pattern, _NAMES)), _LAYERS),
    "modules_to_save": (_or_none(_NAMES), "list of names"),
    "layers_pattern": (_or_none(_either(_is_name, _NAMES)), "name of layers, or list of names"),
    "layers_to_transform": (
        _or_none(_either(lambda value: type(value) is int, _list_of(lambda value: type(value) is int))),
        "number of a layer, or list of numbers",
    ),
    "bias": (lambda value: value in ("none", "all", "lora_only"), '"none", "all" or "lora_only"'),
    **dict.fromkeys(("fan_in_fan_out", "use_rslora", "use_dora", "lora_bias"), (_is_flag, "true or false")),
}
