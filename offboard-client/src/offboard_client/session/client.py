"""The client for a robot's control loop: blocking calls, one thread's work, nothing in between.

::

    with InferenceClient("gpu-box", 8000) as client, client.new_session() as session:
        chunk = session.infer({"robot_state.q": q, "image.wrist": image, "task": "pick up the cube"})
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, TypeVar

from ..errors import Busy
from ..protocol import BaseClient, Settings
from ..wire import CONFIGURE, Row
from .blocking import Connection, open_connection
from .http import ask_models, ask_status, waiting
from .state import SessionFacts, changed

Result = TypeVar("Result")


class InferenceClient(BaseClient["InferenceSession"]):
    """A server of policies. Opens sessions; holds no connection of its own. Thread-safe.

    ``host``: a name, ``name:port``, or a whole ``ws://``, ``wss://``, ``http://`` or ``https://`` URL, with
    or without ``/api/v1/session/<id>?name=value``. ``port`` applies where ``host`` names none.
    ``token``: bearer token, by default ``OFFBOARD_AUTH_TOKEN``. ``headers``: more HTTP headers.
    ``params``: session parameters of every session (``{"codec.fps": 10}``).
    ``prepare``: ``prepare(observation, meta)`` returns what is sent instead of each observation (other sizes, other
    names), and changes neither; ``meta`` is the handshake's. What it returns is checked like an observation.
    ``images``: how images are sent: ``"raw"``, as they are; ``"jpeg"`` or ``"jpeg:QUALITY"`` (1 to 100, 90 without a
    word), which loses detail; ``"auto"``, as JPEG where that makes an exchange clearly shorter, which is measured in
    the first exchanges and told to ``on_notice`` (by default a log line). JPEG needs the extra ``images``.
    ``on_status``: told why a session is not ready yet; by default what is new is a log line.
    ``shared_memory``: whether observations may lie in memory that a server on this machine reads, instead of going
    through the socket (Linux). It is used where the server offers it, and the values are the same either way.
    ``ssl``: a context of your own for ``wss``; the default one verifies certificates.

    Seconds: ``connect_timeout`` for one connection; ``connect_deadline`` for opening a session with all
    its retries and all its waiting for the model; ``status_timeout`` between two status frames;
    ``infer_timeout`` for one exchange; ``reconnect_deadline`` for the session that follows a lost one;
    ``wait_for_server`` for an address where nothing has answered yet; ``silence_timeout`` for an offboard server that
    owes an answer and sends nothing, not even the answer to a ping (it answers those while it infers).

    Raises ConfigurationError or BadParameter for arguments that cannot be used.
    """

    def new_session(self, model_id: str | None = None, **overrides: Any) -> InferenceSession:
        """A session that is ready: the model is loaded, nobody else holds the slot.

        ``model_id``: as ``list_models`` names it; by default the one in the URL, else the server's default.
        ``overrides``: session parameters of this session (``**{"codec.fps": 10}``), over the client's.

        Raises ConnectionFailed, Unauthorized, ModelNotFound, LoadFailed, BadParameter, Full or ShuttingDown.
        """
        session = InferenceSession(self._settings, model_id, overrides)
        self._sessions.add(session)
        return session

    def list_models(self) -> list[str]:
        """The ids of the models that a session may name, oldest first."""
        return waiting(self._settings, ask_models)

    def server_status(self) -> dict[str, Any]:
        """What the server is doing, as its ``/api/v1/status`` says it (H-8): what is loaded, replicas, sessions."""
        return waiting(self._settings, ask_status)

    def close(self) -> None:
        """Close every session that is still open."""
        for session in list(self._sessions):
            session.close()

    def __enter__(self) -> InferenceClient:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class InferenceSession(SessionFacts):
    """One robot's session with one model; made by :meth:`InferenceClient.new_session`.

    One thread at a time: a call while another is under way raises Busy. After ConnectionLost or
    InferTimeout the next call opens a new session for the same model: a new episode.
    """

    def __init__(self, settings: Settings, model_id: str | None, overrides: Mapping[str, Any]) -> None:
        super().__init__(settings, model_id, overrides)
        self._turn = threading.Lock()
        self._connection: Connection | None = None
        self._open(settings.timeouts.open)

    def infer(self, observation: Mapping[str, Any]) -> Sequence[Row] | None:
        """The action chunk for an observation: rows ``{"action": …, "timestamp": s}``; None = go on; [] = stop.

        ``timestamp`` counts from the moment when the observation was taken; it is absent while
        ``metadata["action_fps"]`` is None. Vectors are read-only views on the message.

        An observation is sent once. Raises BadObservation before anything is sent if the handshake asks for
        something else; InferTimeout or ConnectionLost where the answer did not come (the next call opens a
        new session); what the server reports; Busy while another thread is in the session.
        """
        found, step = self._using(Connection.infer, observation)
        self._timing.record(step)
        return found

    def reset(self) -> None:
        """Start a new episode: the policy forgets the last one."""
        self._using(Connection.control, "reset")

    def ping(self) -> dict[str, Any]:
        """Ask whether the model answers, not only the socket; what the server says about it."""
        return self._using(Connection.control, "ping")

    def stats(self) -> dict[str, Any]:
        """The server's counts and timings of this session."""
        return self._using(Connection.control, "stats")

    def configure(self, /, **options: Any) -> dict[str, Any]:
        """Change options of this session from the next inference on, all of them or none.

        ``metadata["controls"]["configure"]`` lists those that can change: the policy's by their names, the codec's as
        ``codec.NAME`` (``configure(**{"codec.offset": 0.1})``). They are what they were set to until the session is
        closed, over every reset, and over a reconnect: the call that opens a new session for a lost one repeats them,
        and fails where they cannot be repeated. Returns ``{option: {"old": …, "new": …}}``.

        Raises BadParameter, and nothing has changed, for an option that cannot change or a value that does not fit.
        """
        return changed(self.call(CONFIGURE, **options))

    def call(self, name: str, /, **params: Any) -> dict[str, Any]:
        """Ask the model for something beside inference; what it answers.

        ``metadata["controls"]`` lists what there is, with its parameters and answers. Parameters are plain data; the
        whole question has fewer than 512 bytes. It is asked once, and done after what was asked before it.

        Raises BadParameter for a name or parameters that the model does not have; what the server reports; where no
        answer came, InferTimeout or ConnectionLost: then it is not known whether it was done.
        """

        def ask(connection: Connection) -> dict[str, Any]:
            with self._asking(name, params, connection.protocol):
                return connection.control(name, params)

        return self._using(ask)

    def close(self) -> None:
        """End the session. A call that another thread is in raises ConnectionLost. Never raises; may be repeated."""
        self._closed = True
        connection = self._connection
        if connection is None:
            return
        if not self._turn.acquire(blocking=False):
            connection.interrupt()
            return
        try:
            self._connection = None
            connection.close()
        finally:
            self._turn.release()

    def _using(self, call: Callable[..., Result], *what: Any) -> Result:
        """``call`` of the connection, which is opened first if it was lost."""
        if not self._turn.acquire(blocking=False):
            raise Busy("another thread is using this session: one exchange at a time, or a session for each thread")
        try:
            if self._closed:
                self._check_not_closed()
            connection = self._connection or self._open(self._settings.timeouts.reopen)
            try:
                return call(connection, *what)
            finally:
                if not connection.alive:
                    self._connection = None
        finally:
            self._turn.release()

    def _open(self, seconds: float) -> Connection:
        connection = self._connect(seconds)
        try:
            self._adopt(connection.protocol)
            if self._images.wants_trip:
                connection.control("ping")
            if self._configured:
                with self._repeating(connection.protocol):
                    connection.control(CONFIGURE, self._configured)
            self._check_not_closed()
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return connection

    def _connect(self, seconds: float) -> Connection:
        return open_connection(self._settings, self._url(), seconds)

    def __enter__(self) -> InferenceSession:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
