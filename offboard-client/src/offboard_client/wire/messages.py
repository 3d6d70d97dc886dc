"""The frames of protocol v1 as values, and the functions that build and read them at both ends.

A frame is the plain data of one WebSocket message; :mod:`~offboard_client.wire` and
:mod:`~offboard_client.wire.json_text` turn it into bytes or text. Reading is strict: what the protocol does not
know is a :class:`~offboard_client.errors.kinds.BadMessage`, never a default.
"""

from __future__ import annotations

import math
from collections.abc import Container, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, cast

from ..errors import BadMessage, BadObservation, OffboardError, brief, from_code, one_line
from ..memory import MemoryOffer, read_offer

#: Paths of protocol v1.
SESSION_PATH = "/api/v1/session"
MODELS_PATH = "/api/v1/models"
STATUS_PATH = "/api/v1/status"

#: WebSocket close codes, as the protocol uses them.
CLOSE_NORMAL = 1000
CLOSE_REFUSED = 1008
CLOSE_TOO_LARGE = 1009
CLOSE_MODEL_LOST = 1011
CLOSE_GOING_AWAY = 1012

#: A session's id travels in a URL.
SESSION_ID_LENGTH = 256
#: A time that a server says is shorter.
LONGEST_MS = 1e12
_TEXT, _PLAIN = frozenset({str}), frozenset({float, int})
# For type checkers these hold they do not know what once it is known that they are these; a call of cast costs time.
_MAP: Any = dict
_LIST: Any = list
#: What a reply may say beside its result: stages of its timing, and warnings.
MOST_REMARKS = 64

#: Names of an observation that carry the exchange itself, not the robot's state.
SEQ = "offboard.seq"
DEADLINE_MS = "offboard.deadline_ms"
OBS_TIME = "obs_time"
#: What an observation may bring for the inference itself, as ``meta.context`` names it → its name in the observation.
CONTEXT: Mapping[str, str] = MappingProxyType(
    {name: f"offboard.{name}" for name in ("prefix", "delay_steps", "seed", "history")}
)
RESERVED_NAMES = frozenset({SEQ, DEADLINE_MS, OBS_TIME, *CONTEXT.values()})
#: Session parameters that choose the form of the session; every other one tunes the codec or the policy.
RESERVED_PARAMS = frozenset({"dialect", "layout", "encoding", "session_id"})

#: Names of the older documents, and the canonical name that each one means.
ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "ee_pose": "robot_state.ee_pose",
        "joint_positions": "robot_state.q",
        "wrist_image": "image.wrist",
        "exterior_image": "image.exterior",
        "prompt": "task",
        "instruction": "task",
    }
)


def canonical(observation: Mapping[str, Any], declared: Container[str] = ()) -> dict[str, Any]:
    """The observation under its canonical names; unknown names, and those that a codec ``declared``, stay as they are.

    Raises BadObservation where two names mean the same thing: only one of the values could be used.
    """
    found: dict[str, Any] = {}
    for name, value in observation.items():
        known = name if name in declared else ALIASES.get(name, name)
        if known in found:
            given = sorted(n for n in observation if n == known or (n not in declared and ALIASES.get(n) == known))
            raise BadObservation(f"{' and '.join(given)} all mean {known}: send one of them")
        found[known] = value
    return found


# -- server to client ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Status:
    """Why the session is not ready yet.

    ``state``: ``waiting`` (behind other sessions) or ``loading`` (the model), as the server says;
    ``connecting`` is the client's own word for an attempt that failed and will be repeated. ``message``: one line of
    printable text, whatever it was made from.

    For a display, where they are known: ``phase``, which is the message without the numbers that change all the time;
    for how many seconds it has been going on; and how many bytes are done of how many.
    """

    state: Literal["waiting", "loading", "connecting"]
    message: str
    phase: str = ""
    elapsed_s: float | None = None
    done_bytes: int | None = None
    total_bytes: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", one_line(self.message))
        object.__setattr__(self, "phase", one_line(self.phase))

    def __str__(self) -> str:
        # offboard's own server begins its messages with the state; others do not.
        return self.message if self.message.startswith(self.state) else f"{self.state}: {self.message}"

    def frame(self) -> dict[str, Any]:
        """As it crosses the wire."""
        more = {name: getattr(self, name) for name in _STATUS_NUMBERS if getattr(self, name) is not None}
        return {"status": self.state, "message": self.message, **({"phase": self.phase} if self.phase else {}), **more}


#: Fields of a status that are numbers from 0 up; they are only shown.
_STATUS_NUMBERS = ("elapsed_s", "done_bytes", "total_bytes")


@dataclass(frozen=True)
class Ready:
    """The end of the handshake. ``meta`` is equal on every connection to one model with one query.

    ``memory``: where the server takes memory for messages of this session, to a client on its own machine.
    """

    meta: Mapping[str, Any]
    session_id: str = ""
    memory: MemoryOffer | None = None

    def frame(self) -> dict[str, Any]:
        """As it crosses the wire."""
        found = {"status": "ready", "meta": self.meta, "session_id": self.session_id}
        return found if self.memory is None else {**found, "memory": self.memory.frame()}


class Reply(NamedTuple):
    """The answer to one observation.

    ``result``: rows, columns, ``[]`` (stop) or None (nothing new). ``timing``: the server's stages in ms.
    ``seq``: the observation's ``offboard.seq``, where it had one.
    """

    result: Any
    timing: Mapping[str, float] = MappingProxyType({})
    warnings: tuple[str, ...] = ()
    seq: int | None = None


def error_frame(error: OffboardError, *, handshake: bool = False) -> dict[str, Any]:
    """The frame that carries ``error``; during the handshake it is a status of its own."""
    frame = {"error": error.text, "code": error.code}
    return {"status": "error", **frame} if handshake else frame


def frame_error(frame: Any) -> OffboardError | None:
    """The error that a frame carries, of the class that its code names; None for any other frame."""
    if not isinstance(frame, _MAP) or ("error" not in frame and "status" not in frame):
        return None
    found: dict[str, Any] = frame
    if "error" not in found and _status(found) != "error":
        return None
    return from_code(found.get("code"), str(found.get("error", "the server reported an error without a text")))


def _status(frame: dict[str, Any]) -> str | None:
    """An array in its place has no truth value to compare by."""
    status = frame.get("status")
    return status if isinstance(status, str) else None


def read_handshake(frame: Any) -> Status | Ready:
    """One frame of the handshake. Raises the error that the server names, or BadMessage."""
    found = as_map(frame, "the handshake")
    error = frame_error(found)
    if error is not None:
        raise error
    state = _status(found)
    if state == "ready":
        meta, session_id = found.get("meta"), found.get("session_id", "")
        if not isinstance(meta, dict) or not isinstance(session_id, str) or len(session_id) > SESSION_ID_LENGTH:
            raise BadMessage(
                f"the server's ready frame needs 'meta' as a map and 'session_id' as a string of at most "
                f"{SESSION_ID_LENGTH} characters"
            )
        return Ready(cast("dict[str, Any]", meta), session_id, read_offer(found.get("memory")))
    if state == "waiting" or state == "loading":
        phase, message = found.get("phase", ""), found.get("message", "")
        return Status(state, str(message), str(phase), *(_shown(found.get(name)) for name in _STATUS_NUMBERS))
    raise BadMessage(
        f"the server sent status {brief(state)} where waiting, loading, ready or error were expected: "
        "it does not speak offboard's protocol v1"
        # openpi's servers begin with a map as well, of whatever the policy says of itself.
        + ("" if "status" in found else "; one of openpi's is driven by --policy openpi://HOST:PORT")
    )


def _shown(value: Any) -> Any:
    """A number that a person may be shown, or None: what is odd about it is no reason to end a session."""
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return value if plain and 0 <= value < math.inf else None


def is_duration(value: Any) -> bool:
    """Whether ``value``, which a server said, can be a time in ms: a number from 0 up, and not longer than 30 years."""
    # Longer ones overflow where they are added up, and what is infinite no report can say.
    return (type(value) is float or type(value) is int) and 0 <= value <= LONGEST_MS


def _are_durations(stages: dict[Any, Any]) -> bool:
    """:func:`is_duration` of all of them under names, asked at once: a number that is none makes a sum that is none."""
    times = stages.values()
    if not (_TEXT.issuperset(map(type, stages)) and _PLAIN.issuperset(map(type, times))):
        return False
    return min(times) >= 0 and sum(times) <= LONGEST_MS


def durations(stages: dict[Any, Any]) -> dict[str, float]:
    """Those of them that are durations under names."""
    return {name: value for name, value in stages.items() if type(name) is str and is_duration(value)}


def read_reply(frame: Any) -> Reply:
    """The answer to an observation, unless it is an error (:func:`frame_error`). Raises BadMessage.

    Of ``timing`` what is no duration is left out: it is no reason to end a session.
    """
    found: dict[str, Any] = frame if isinstance(frame, _MAP) else as_map(frame, "the reply")
    if "result" not in found:
        raise BadMessage(f"the server's reply has no 'result'; it holds {sorted(map(str, found))}")
    stages, texts = found.get("timing", {}), found.get("warnings", [])
    if not isinstance(stages, _MAP) or not isinstance(texts, _LIST):
        raise BadMessage("the server's reply needs 'timing' as a map and 'warnings' as a list")
    if len(stages) > MOST_REMARKS or len(texts) > MOST_REMARKS:
        raise BadMessage(f"the server's reply holds more than {MOST_REMARKS} times or warnings")
    if stages and not _are_durations(stages):
        stages = durations(stages)
    remarks = tuple([one_line(f"{text!s:.1000}") for text in texts]) if texts else ()
    return Reply(found["result"], stages, remarks, found.get(SEQ))


def as_map(frame: Any, what: str) -> dict[str, Any]:
    """The map that ``what`` has to be. Raises BadMessage."""
    if not isinstance(frame, dict):
        raise BadMessage(f"the server sent a {type(frame).__name__} for {what}, where a map was expected")
    return cast("dict[str, Any]", frame)
