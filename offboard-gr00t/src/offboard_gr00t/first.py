"""A server's first answers, which show that it serves what the files of the checkpoint say."""

from __future__ import annotations

from collections.abc import Callable

from offboard_client.errors import InferTimeout, PolicyFailed

from .checks import Checks
from .connection import Connection
from .generation import Generation
from .modality import Modalities

#: Seconds that one look at the answer takes, and that a server which is idle has for its description.
_LOOK, _DESCRIBES = 0.1, 10.0


class FirstInference:
    """Asks a server that starts for its modalities, and one synthetic observation.

    ``checks_of``: what is checked of a server that says so; raises an OffboardError where that contradicts what is
    known. It may ask the connection more.
    Afterwards ``checks`` is what it made, and ``warmed_up`` whether the server has inferred: False where nobody knows
    how wide the model's groups are.
    """

    def __init__(self, checks_of: Callable[[Modalities, Connection], Checks]) -> None:
        self._checks_of = checks_of
        self._checks: Checks | None = None
        self.warmed_up = False

    @property
    def checks(self) -> Checks:
        """Of what the server said, once it has."""
        assert self._checks is not None
        return self._checks

    def answered(self, connection: Connection) -> bool:
        """Whether it has answered. Raises an OffboardError for an answer that is wrong, a ConnectionError for none."""
        if not connection.busy:
            try:
                checks = self._checks = self._checks_of(connection.modalities(_DESCRIBES), connection)
            except InferTimeout:
                raise ConnectionError("it infers for somebody else") from None
            synthetic = checks.synthetic()
            if synthetic is None:
                return True
            connection.send(synthetic)
        reply = connection.receive(_LOOK)
        if reply is None:
            return False
        self.checks.columns(reply)
        self.warmed_up = True
        return True


def is_wrapped(connection: Connection, said: Modalities, timeout: float) -> bool:
    """Whether GR00T's wrapper for simulators is put before the model, of which its description says nothing.

    An observation that holds nothing is refused by both, and each calls what it lacks by its own names. Raises as
    :meth:`Connection.get_action`, but for that refusal.
    """
    if connection.generation is Generation.N1_5:
        return False
    try:
        connection.get_action({}, timeout)
    except PolicyFailed as error:
        names = [f"video.{camera}" for camera in said.video] + [f"state.{group}" for group in said.state]
        return any(f"'{name}'" in error.text for name in names)
    return False
