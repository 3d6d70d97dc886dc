"""What both clients' sessions know: the model, what the server said about it, and where the time went."""

from __future__ import annotations

import copy
import json
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any, cast

from ..errors import BadMessage, ConnectionFailed, ConnectionLost, OffboardError, ServerChanged
from ..protocol import ImageForm, SessionProtocol, Settings, Timings
from ..wire import CONFIGURE, check_declared, checked_control

#: Characters of a field that has changed.
_SHOWN = 60
#: What replicas of one model may have each its own of: where it lies, and what compiling it gained there.
_ITS_OWN = {"device", "compiled"}


class SessionFacts:
    """One robot's session with one model, without its socket."""

    def __init__(self, settings: Settings, model_id: str | None, overrides: Mapping[str, Any]) -> None:
        self._settings = settings
        self._model_id = model_id
        self._params = {**settings.params, **overrides}
        self._timing = Timings()
        self._protocol: SessionProtocol | None = None
        self._closed = False
        self._images = ImageForm(settings.images, settings.notice)
        #: What was configured in this session, and is told to the one that follows it.
        self._configured: dict[str, Any] = {}

    @property
    def metadata(self) -> Mapping[str, Any]:
        """The handshake's ``meta``: what to send, what comes back, how it was decided."""
        return self._opened.meta

    @property
    def session_id(self) -> str:
        """The server's name for the session; another one after a reconnect."""
        return self._opened.session_id

    @property
    def configured(self) -> Mapping[str, Any]:
        """What :meth:`configure` has set in this session so far, as it was said; it holds beyond a reconnect."""
        return dict(self._configured)

    @property
    def images(self) -> str:
        """How the images of the last observation were sent, or will be of the first: ``raw``, or ``jpeg:QUALITY``."""
        return self._images.used

    @property
    def images_why(self) -> str:
        """Why :attr:`images` is that: it was asked for, or what ``auto`` came to, with the times that it measured."""
        return self._images.why

    @property
    def shared_memory(self) -> bool:
        """Whether large observations lie in memory that the server reads, since it is on this machine."""
        return self._opened.websocket.lay is not None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the server found odd about the first observation."""
        return self._opened.warnings

    @property
    def timing(self) -> Timings:
        """Where the time of the steps went: the last one, and p50, p95 and p99 of each stage."""
        return self._timing

    @property
    def _opened(self) -> SessionProtocol:
        if self._protocol is None:
            raise ConnectionLost("this session has not been opened: enter it, or await client.new_session()")
        return self._protocol

    def _url(self) -> str:
        """The session's URL; after the first time it asks for the model that the lost session held."""
        lost = self._protocol.session_id if self._protocol else ""
        return self._settings.address.session_url(self._model_id, self._params, lost)

    def _adopt(self, protocol: SessionProtocol) -> None:
        """Take over a new connection. Raises ServerChanged if it leads to another model than the one before."""
        if self._protocol is not None:
            check_same(self._protocol.meta, protocol.meta, self._settings)
        self._images.opened(protocol.meta, self._settings.address)
        protocol.images = self._images
        self._protocol = protocol

    @contextmanager
    def _asking(self, name: str, params: Mapping[str, Any], protocol: SessionProtocol) -> Generator[None]:
        """Around the exchange of a control that the model declares. Raises BadParameter for one that it does not."""
        check_declared(name, protocol.meta)
        sent: dict[str, Any] = {}
        if name == CONFIGURE:  # as it is now: the caller may change its lists, even while the answer is awaited
            sent = copy.deepcopy(checked_control(name, params).get("params", {}))
        yield
        self._configured.update(sent)

    @contextmanager
    def _repeating(self, protocol: SessionProtocol) -> Generator[None]:
        """Around the exchange of what was configured. Raises ConnectionFailed if it is refused."""
        try:
            yield
        except OffboardError as error:
            if protocol.state != "ready":
                raise
            raise ConnectionFailed(
                f"{self._settings.address} does not take the settings of the session that was lost "
                f"({', '.join(self._configured)}): {error.text}. Open a new session, and configure it"
            ) from error

    def _check_not_closed(self) -> None:
        if self._closed:
            raise ConnectionLost("this session was closed here: open another one with new_session()")

    def __repr__(self) -> str:
        session_id = self._protocol.session_id if self._protocol else ""
        model = self._protocol.meta.get("checkpoint_id", self._model_id) if self._protocol else self._model_id
        return f"{type(self).__name__}({str(self._settings.address)!r}, model {model!r}, id {session_id!r})"


def changed(answer: Mapping[str, Any]) -> dict[str, Any]:
    """What an answer to ``configure`` says of each option. Raises BadMessage."""
    found = answer.get("changed")
    if not isinstance(found, dict):
        raise BadMessage("the server's answer to configure does not say what it changed")
    return cast("dict[str, Any]", found)


def check_same(old: Mapping[str, Any], new: Mapping[str, Any], settings: Settings) -> None:
    """Raises ServerChanged if a new connection's handshake says another thing than the old one's.

    The device may be another one: a server leads whoever lost a replica of a model to the next. So may be what came of
    compiling it, which each load measures; not how far it may be from the model's own numbers.
    """
    old, new = (_with_tolerance(meta) for meta in (old, new))
    names = sorted({*old, *new} - _ITS_OWN)
    texts = {name: (_text(old.get(name)), _text(new.get(name))) for name in names}
    changed = [
        f"{name} was {_cut(before)} and is {_cut(now)}" for name, (before, now) in texts.items() if before != now
    ]
    if changed:
        raise ServerChanged(
            f"{settings.address} serves something else than before the connection was lost: {'; '.join(changed)}. "
            "Open a new session, and check what it asks for and answers"
        )


def _with_tolerance(meta: Mapping[str, Any]) -> dict[str, Any]:
    """The handshake, and how far its answers may be from those of the model as it is: 0 where nothing is compiled."""
    compiled = cast("Mapping[str, Any]", meta.get("compiled") or {})
    return {**meta, "compile_tolerance": compiled.get("tolerance") or 0}


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=repr)


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
