"""Control frames: what a client may ask beside inference, the protocol's own and those that a model declares."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, cast

from ..errors import BadMessage, BadParameter, brief, unknown
from .messages import as_map
from .packing import encode

#: A control frame is shorter than this, in bytes.
CONTROL_BYTES = 512
#: The protocol's own, and the status that answers each.
CONTROLS: Mapping[str, str] = MappingProxyType({"reset": "reset", "ping": "pong", "stats": "stats"})
#: The status that answers those that a model's ``meta.controls`` lists.
CALLED = "called"
#: The one among them that is the server's: it changes what may be changed in mid-session.
CONFIGURE = "configure"
#: What is asked and answered so: maps and lists within one another, and their entries altogether.
_DEPTH, _ENTRIES = 8, 1024


def control_frame(kind: str, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The client's question; ``params`` for one that a model declares."""
    return {"type": kind, "params": dict(params)} if params else {"type": kind}


def checked_control(kind: str, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The same, if it can be asked. Raises BadParameter for ``params`` that no control frame holds."""
    frame = control_frame(kind, params)
    if odd := why_not_plain(frame):
        raise BadParameter(f"{kind}: {odd}")
    if (size := len(encode(frame))) >= CONTROL_BYTES:
        raise BadParameter(f"{kind} with these parameters has {size} bytes; expected fewer than {CONTROL_BYTES}")
    return frame


def check_declared(name: str, meta: Mapping[str, Any]) -> None:
    """Raises BadParameter for a control that ``meta.controls`` does not list."""
    there = cast("Mapping[str, Any]", meta.get("controls") or {})
    if name not in there and name == CONFIGURE:
        raise BadParameter("nothing of this model can be changed in an open session: no option is declared changeable")
    if name not in there:
        raise BadParameter(unknown("control", name, there, where="of this model"))


def control_kind(frame: Mapping[str, Any], declared: Iterable[str] = ()) -> str | None:
    """Which control frame this is; None for an observation.

    ``declared``: what the model has beside the protocol's own. Raises BadMessage for a type that does not exist.
    """
    if "type" not in frame:
        return None
    kind, there = frame["type"], [*CONTROLS, *declared]
    if not isinstance(kind, str) or kind not in there:
        raise BadMessage(
            f"there is no control frame of type {brief(kind)}; there are: {', '.join(there)}. "
            "(An observation cannot have a top-level name 'type'.)"
        )
    return kind


def control_params(frame: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a control frame that a model declares. Raises BadMessage: what is not read was meant."""
    if others := sorted(str(name) for name in frame.keys() - {"type", "params"}):
        raise BadMessage(
            f"the control frame {frame['type']} holds {', '.join(others)[:200]} beside 'type' and 'params'; "
            "its parameters belong into 'params'"
        )
    params = frame.get("params", {})
    if not isinstance(params, dict) or not all(isinstance(name, str) for name in cast("dict[Any, Any]", params)):
        raise BadMessage(f"'params' of the control frame {frame['type']} is {brief(params)}; expected a map with names")
    return cast("dict[str, Any]", params)


def control_answer(kind: str, **facts: Any) -> dict[str, Any]:
    """The server's answer to the protocol's own control frame ``kind``."""
    return {"status": CONTROLS[kind], **facts}


def called(kind: str, answer: Mapping[str, Any]) -> dict[str, Any]:
    """The server's answer to a control frame that the model declares."""
    return {"status": CALLED, "type": kind, "answer": answer}


def read_control_answer(frame: Any, kind: str) -> dict[str, Any]:
    """What the server answered to ``kind``, without the status, unless it is an error. Raises BadMessage."""
    found, expected = as_map(frame, f"the answer to {kind}"), CONTROLS.get(kind, CALLED)
    status = found.get("status")
    if not isinstance(status, str) or status != expected:
        raise BadMessage(f"the server answered {kind} with status {brief(status)}, not {expected!r}")
    if kind in CONTROLS:
        return {name: value for name, value in found.items() if name != "status"}
    asked = found.get("type")
    if not isinstance(asked, str) or asked != kind:
        raise BadMessage(f"the server answered the control frame {brief(asked)} where {kind!r} was asked")
    answer = as_map(found.get("answer"), f"the answer to {kind}")
    if odd := why_not_plain(answer):
        raise BadMessage(f"the server's answer to {kind}: {odd}")
    return answer


def why_not_plain(value: Mapping[str, Any]) -> str:
    """What of ``value`` neither a control frame nor its answer can hold; "" if they can."""
    for count, (where, part, depth) in enumerate(_parts("it", value, 0)):
        if depth > _DEPTH or count > _ENTRIES:
            return f"it holds more than {_ENTRIES:,} values, or maps and lists nested more than {_DEPTH} deep"
        if isinstance(part, float) and not math.isfinite(part):
            return f"{where} is {part}; expected a finite number"
        if part is not None and type(part) not in (str, bool, int, float, list, tuple, dict):
            return f"{where} is of type {type(part).__name__}; expected plain data: text, numbers, lists, maps"
        if isinstance(part, dict) and (odd := [name for name in cast("dict[Any, Any]", part) if type(name) is not str]):
            return f"{where} has the name {brief(odd[0])}; expected text"
    return ""


def _parts(where: str, value: Any, depth: int) -> Iterator[tuple[str, Any, int]]:
    """``value`` and whatever is in it, each with what an error calls it. Whoever reads on decides how far."""
    yield where, value, depth
    if isinstance(value, dict):
        for name, part in cast("dict[Any, Any]", value).items():
            yield from _parts(f"{brief(name)}", part, depth + 1)
    elif isinstance(value, list | tuple):
        for i, part in enumerate(cast("list[Any]", value)):
            yield from _parts(f"{where}[{i}]", part, depth + 1)
