"""Everything offboard raises on purpose, as one tree.

Each class that can cross the wire has a stable ``code``; the server answers
``{"error": text, "code": code}`` and the client raises the class that carries this code::

    OffboardError
    ├── BadMessage            bad_message          the frame could not be decoded, or breaks a limit
    ├── BadObservation        bad_observation      a name is missing, or has the wrong shape, dtype or range
    ├── BadParameter          bad_parameter        a session parameter or option is unknown or malformed
    ├── DialectUnsupported    dialect_unsupported  the session's dialect cannot express this action
    ├── Busy                  busy                 an observation is already in flight
    ├── Idle                  idle                 the session slept while another waited for its place
    ├── DeadlineExceeded      deadline_exceeded    the observation was too late to be worth an inference
    ├── ModelNotFound         model_not_found      no such checkpoint
    ├── LoadFailed            load_failed          the checkpoint could not be loaded or warmed up
    ├── PolicyFailed          policy_failed        the policy raised
    ├── InvalidAction         invalid_action       the policy answered numbers that must not reach a robot
    ├── InferTimeout          timeout              the policy did not answer in time
    ├── ModelLost             model_lost           the model died and could not be restarted
    ├── Unauthorized          unauthorized         wrong or missing token
    ├── Forbidden             forbidden            a web page of another site, as far as the server can tell
    ├── NotFound              not_found            the server has no such path
    ├── Full                  full                 the server takes no more sessions now
    ├── ShuttingDown          shutting_down        the server is going away
    ├── Internal              internal             a fault of the server itself; its log has the traceback
    ├── ConfigurationError    configuration        options, files or plugins on this machine are wrong
    ├── ServerChanged         server_changed       the server serves something else than before
    └── ConnectionFailed      connection           no session could be opened, or the socket broke
        ├── ConnectionLost    connection_lost      … after the session had been opened
        └── ProtocolError     protocol_error       what answers there does not keep to the protocol

The text of an error says what happened, what was expected, what exists, and what to do next. Whoever wrote it, a
peer or a child's log, it holds nothing but printable characters and line feeds, and not more than 32 Ki of them.
"""

from __future__ import annotations

from .printable import printable, shortened


def _fit_to_print(text: str) -> str:
    return printable(shortened(text), lines=True)


class OffboardError(Exception):
    """Root of every error that offboard raises on purpose. ``code`` is stable, the text is for people."""

    code: str = "internal"

    def __init__(self, *args: object) -> None:
        super().__init__(*(_fit_to_print(part) if isinstance(part, str) else part for part in args))

    @property
    def text(self) -> str:
        """The message alone."""
        return str(self.args[0]) if self.args else self.code


class BadMessage(OffboardError):
    """A frame could not be decoded, or breaks one of the wire's limits. Nothing of it was used."""

    code = "bad_message"


class BadObservation(OffboardError):
    """An observation lacks a name, or holds one of the wrong shape, dtype or range."""

    code = "bad_observation"


class BadParameter(OffboardError):
    """A session parameter is unknown, repeated or malformed."""

    code = "bad_parameter"


class DialectUnsupported(OffboardError):
    """The session's dialect has no form for this kind of action."""

    code = "dialect_unsupported"


class Busy(OffboardError):
    """The session has an observation in flight; one at a time."""

    code = "busy"


class Idle(OffboardError):
    """The session sent nothing for so long that it had to make room for another one that waited."""

    code = "idle"


class DeadlineExceeded(OffboardError):
    """The observation's own deadline had passed before the model saw it."""

    code = "deadline_exceeded"


class ModelNotFound(OffboardError):
    """No checkpoint of this name. The text lists what exists."""

    code = "model_not_found"


class LoadFailed(OffboardError):
    """The checkpoint could not be loaded, or failed its warm-up.

    ``permanent``: a loader's word that no other try of the same process can do better, as where a library or a device
    is missing; what a network, a disk or another process may mend is not. A server whose default model it is ends. It
    does not cross the wire.
    """

    code = "load_failed"

    def __init__(self, *args: object, permanent: bool = False) -> None:
        super().__init__(*args)
        self.permanent = permanent


class PolicyFailed(OffboardError):
    """The policy raised while it handled this observation. The session goes on."""

    code = "policy_failed"


class InvalidAction(OffboardError):
    """The policy answered numbers that must not reach a robot: not finite, or of the wrong shape."""

    code = "invalid_action"


class InferTimeout(OffboardError, TimeoutError):
    """The policy did not answer within the server's or the client's limit."""

    code = "timeout"


class ModelLost(OffboardError):
    """The model died under the session and could not be restarted."""

    code = "model_lost"


class Unauthorized(OffboardError):
    """The token is wrong or missing."""

    code = "unauthorized"


class Forbidden(OffboardError):
    """A server without a token takes this for a web page's request, by its ``Origin`` or ``Host``."""

    code = "forbidden"


class NotFound(OffboardError):
    """The server has nothing under this path. The text lists what exists."""

    code = "not_found"


class Full(OffboardError):
    """The server takes no more sessions at the moment."""

    code = "full"


class ShuttingDown(OffboardError):
    """The server is draining."""

    code = "shutting_down"


class Internal(OffboardError):
    """A fault of the server itself. Its log holds the traceback."""

    code = "internal"


class ConfigurationError(OffboardError):
    """Options, files or plugins on this machine are wrong. Never sent by a server."""

    code = "configuration"


class RobotFailed(OffboardError):
    """The robot on this machine, or its task, raised where it was called. Never sent by a server."""

    code = "robot_failed"


class RecordingFailed(OffboardError):
    """A recording on this machine cannot be written, or what was to be read is none. Never sent by a server."""

    code = "recording_failed"


class ServerChanged(OffboardError):
    """A session was to be opened anew, and what answers there now is another model or another contract."""

    code = "server_changed"


class ConnectionFailed(OffboardError, ConnectionError):
    """No session could be opened: the address, the network, or what answers there."""

    code = "connection"


class ConnectionLost(ConnectionFailed):
    """The socket of an open session broke. The observation in flight was not resent."""

    code = "connection_lost"


class ProtocolError(ConnectionFailed):
    """What answers does not speak protocol v1, or its handshake holds what cannot be. No session was opened."""

    code = "protocol_error"


def _tree(root: type[OffboardError]) -> dict[str, type[OffboardError]]:
    found = {root.code: root}
    for child in root.__subclasses__():
        found.update(_tree(child))
    return found


#: Every code and the class that carries it.
BY_CODE: dict[str, type[OffboardError]] = {**_tree(OffboardError), "internal": Internal}


def from_code(code: object, text: str) -> OffboardError:
    """The error a peer named, as the class of that code (unknown codes become :class:`OffboardError`)."""
    return BY_CODE.get(code if isinstance(code, str) else "", OffboardError)(text)
