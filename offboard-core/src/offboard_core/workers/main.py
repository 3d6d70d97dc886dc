"""A worker: it loads one policy, and answers its server's questions about it, one after the other, on one thread."""

from __future__ import annotations

import contextlib
import faulthandler
import json
import logging
import socket
import struct
import threading
from collections.abc import Mapping
from typing import Any, cast

from offboard_client.errors import ConfigurationError, LoadFailed, OffboardError, told
from offboard_client.memory import Broken
from offboard_client.plugins import build, import_attr

from .._version import __version__
from ..process import unshared
from ..types import Health, Placement, Policy, Progress
from .channel import ANSWER_BYTES, QUESTION_BYTES, Channel
from .forms import checkpoint_in
from .hosted import Hosted, overrides, uncrossable

log = logging.getLogger("offboard_core.workers")

#: Seconds between two looks at how the policy is; the server asks as often.
_LOOK = 0.25
#: The longest text of one event.
_TEXT = 10_000


class Events:
    """What the server is told unasked: how far a load is, and how the policy is. For any thread."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket, self._lock = sock, threading.Lock()

    def tell(self, **event: Any) -> None:
        """Raises OSError where the server is gone."""
        data = json.dumps(event).encode()
        with self._lock:
            self._socket.sendall(struct.pack("<I", len(data)) + data)

    def progress(self, message: str) -> None:
        """A loader's ``report``."""
        phase: Any = (
            {"phase": message.phase, "done": message.done, "total": message.total}
            if isinstance(message, Progress)
            else {}
        )
        self.tell(progress=str(message)[:_TEXT], **phase)

    def failed(self, error: BaseException) -> None:
        """The load has failed."""
        if isinstance(error, OffboardError):
            text, permanent = error.text, isinstance(error, LoadFailed) and error.permanent
        else:  # what is not installed will not be at the next try
            text, permanent = told(error), isinstance(error, ImportError)
        self.tell(failed=text[:_TEXT], permanent=permanent)


def serve(questions: socket.socket, events_socket: socket.socket, start: Mapping[str, Any]) -> None:
    """Until the server closes, or says so."""
    faulthandler.enable()
    logging.basicConfig(level=start["level"], format="%(levelname)s %(name)s: %(message)s")
    events = Events(unshared(events_socket))
    events.tell(version=__version__)
    channel = Channel(unshared(questions), sends=ANSWER_BYTES, takes=QUESTION_BYTES, copies=False)
    try:
        number, recipe = channel.receive()
        try:
            policy = _load(recipe, events)
            hosted = Hosted(policy)
            _pack_described(channel, hosted)
        # SystemExit included: a vendor's code that leaves the program says why like any other.
        except BaseException as error:
            if not isinstance(error, OffboardError) or error.__cause__ is not None:  # else its text says all
                log.warning("the load failed", exc_info=True)
            events.failed(error)
            return
        channel.write(number)
        events.tell(loaded=True)
        if overrides(policy, Policy, "health"):
            threading.Thread(target=_tell_health, args=(policy, events), daemon=True).start()
        del policy
        _answer(channel, hosted)
    except (Broken, OSError) as error:
        log.info("the server is gone: %s", error)
    finally:
        channel.close()


def _pack_described(channel: Channel, hosted: Hosted) -> None:
    try:
        channel.pack(["ok", hosted.described()])
    except (TypeError, ValueError, OverflowError) as error:
        raise LoadFailed(f"what the policy declares does not cross from its worker: {error}", permanent=True) from error


def _answer(channel: Channel, hosted: Hosted) -> None:
    while not hosted.closed:
        number, question = channel.receive()
        answer: Any = hosted.answer(question)
        try:
            channel.pack(answer)
        except (TypeError, ValueError, OverflowError) as error:
            log.exception("an answer of the policy does not cross")
            channel.pack(_crossing(channel, question, answer) or uncrossable(error))
        # What is left of the question's arrays now, the policy holds.
        del question, answer
        channel.write(number, kept=channel.done())


def _crossing(channel: Channel, question: Any, answer: Any) -> list[Any] | None:
    """The answer to a batch in which each robot's part that does not cross has become its own error; else None."""
    if question[0] != "infer" or answer[0] != "ok":
        return None
    parts = list[Any]()
    for part in answer[1]:
        try:
            channel.pack(part)
            parts.append(part)
        except (TypeError, ValueError, OverflowError) as error:
            parts.append(uncrossable(error))
    try:
        channel.pack(told := ["ok", parts, *answer[2:]])
    except (TypeError, ValueError, OverflowError):  # each alone would, but not all together
        return None
    return told


def _load(recipe: Mapping[str, Any], events: Events) -> Policy[Any]:
    owner = f"the vendor {recipe['vendor']}"
    options: Any = import_attr(recipe["options"])
    loader = import_attr(recipe["factory"])(build(options, recipe["values"], owner, ConfigurationError))
    made = loader.load(checkpoint_in(recipe["checkpoint"]), events.progress, Placement(*recipe["place"]))
    if not isinstance(made, Policy):
        raise LoadFailed(f"the loader made {type(made).__name__}; expected a Policy")
    return cast("Policy[Any]", made)


def _tell_health(policy: Policy[Any], events: Events) -> None:
    said, pause = Health(), threading.Event()
    with contextlib.suppress(OSError):
        while not pause.wait(_LOOK):
            try:
                health = policy.health()
            except Exception:
                log.exception("the policy does not say how it is, and is taken for ready")
                return
            if health != said:
                said = health
                events.tell(health=health.state, reason=health.reason[:_TEXT])
