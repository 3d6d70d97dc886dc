"""What a server in this process has taken in of a protocol's frames; a pong says only that they have arrived."""

from contextlib import contextmanager
from unittest.mock import patch

from waits import until


class TakenIn(list):
    """The frames, in their order."""

    def wait_for(self, count):
        until(lambda: len(self) >= count, f"{count} frames are taken in")


@contextmanager
def taken_in(connection):
    """``connection``: the protocol's class. Each frame goes through ``is_control`` once, when it is taken in."""
    frames, real = TakenIn(), connection.is_control

    def is_control(self, frame):
        found = real(self, frame)
        frames.append(frame)
        return found

    with patch.object(connection, "is_control", is_control):
        yield frames
