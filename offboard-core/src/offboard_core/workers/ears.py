"""What one worker says unasked."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from offboard_client.errors import LoadFailed, printable

from .._version import __version__
from ..types import Health, Progress
from ._boot import PROTOCOL
from .interpreter import PATIENCE

log = logging.getLogger(__name__)

#: Seconds between two looks at whether a call takes too long.
_LOOK = 0.25
_EVENT_BYTES = 1 << 17
#: Bytes that are read at once, and seconds that each event is given: who says a great deal waits with it, and robots do
#: not wait for that.
_READ, _EACH = 1 << 12, 0.001


class Ears:
    """Hears what one process says unasked, on a thread of its own.

    ``watch``: called several times a second. ``stop``: ends the process; called where it says what it may not.
    """

    def __init__(self, sock: socket.socket, watch: Callable[[], None], stop: Callable[[], None], name: str) -> None:
        self._socket, self._watch, self._stop = sock, watch, stop
        self._name = name
        self._heard = time.monotonic()
        self._news: str | None = None
        self._change = threading.Condition()
        self.greeted = self.loaded = False
        #: The version of its Python.
        self.python = ""
        self._pid = 0
        self.failure: LoadFailed | None = None
        self.health = Health()
        self._closing = False
        self._thread = threading.Thread(target=self._listen, name=f"offboard-{name}-events", daemon=True)
        self._thread.start()

    def tell(self, event: dict[str, Any]) -> None:
        """The only thing that it is told here."""
        data = json.dumps(event).encode()
        self._socket.sendall(struct.pack("<I", len(data)) + data)

    def process(self, leader: int) -> int | None:
        """The process that it says it is, if that is of the session that ``leader`` leads."""
        with contextlib.suppress(OSError, OverflowError):
            if self._pid > 0 and os.getsid(self._pid) == leader:
                return self._pid
        return None

    def news(self, seconds: float) -> str | None:
        """How far it is, if that is new; waits at most so long for anything to happen."""
        with self._change:
            self._change.wait_for(lambda: self._news is not None or self.loaded or self.failure is not None, seconds)
            news, self._news = self._news, None
            return news

    def check_heard_of(self, load_timeout: float, python: Path, leader: int) -> None:
        """Raises LoadFailed where it says nothing for longer than it may: at first a minute, then ``load_timeout``.

        ``leader``: as for :meth:`process`.
        """
        silent = time.monotonic() - self._heard
        if not self.greeted and silent > PATIENCE:
            raise LoadFailed(
                f"{self._name} has said nothing for {silent:.0f} s, and a worker does so at once. See whether {python} "
                "is a Python, and whether its disk hangs or somebody has stopped it"
            )
        if silent > PATIENCE and (pid := self.process(leader)) is not None and _stopped(pid):
            raise LoadFailed(
                f"{self._name}, process {pid}, was stopped by somebody (SIGSTOP) while it loads, and is silent"
            )
        if silent > load_timeout:
            raise LoadFailed(
                f"nothing was heard of {self._name} for {silent:.0f} s. See whether its disk, network or program "
                "hangs; raise --load-timeout if it needs longer for that"
            )

    def hang_up(self) -> None:
        """Let its thread end."""
        self._closing = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Wait for that."""
        self.hang_up()
        if self._thread is not threading.current_thread():
            self._thread.join(10.0)
        self._socket.close()

    def _listen(self) -> None:
        rest, ready = b"", select.poll()
        ready.register(self._socket, select.POLLIN)
        try:
            while True:
                if not ready.poll(_LOOK * 1e3):
                    self._watch()
                    continue
                if not (data := self._socket.recv(_READ)):
                    break
                rest += data
                heard = 0
                while len(rest) >= 4:
                    (size,) = struct.unpack_from("<I", rest)
                    if size > _EVENT_BYTES:
                        raise ValueError(f"it announces an event of {size:,} bytes")
                    if len(rest) < 4 + size:
                        break
                    self._take(json.loads(rest[4 : 4 + size]))
                    rest = rest[4 + size :]
                    heard += 1
                self._watch()
                time.sleep(heard * _EACH)
        except OSError:
            pass
        except Exception as error:  # whatever is wrong with what is no event
            log.error("%s, and is stopped", text := f"it sent what is no event ({type(error).__name__}: {error})")
            with self._change:
                self._fail(text, permanent=False)
                self._change.notify_all()
        if not self._closing:  # who does not tell any more how it is may not go on
            self._stop()

    def failed(self) -> LoadFailed | None:
        """Why the load failed, if the process said so before it ended."""
        if self._closing:
            self._thread.join(1.0)
        return None if self.loaded else self.failure

    def _take(self, event: dict[str, Any]) -> None:
        with self._change:
            self._heard = time.monotonic()
            if "hello" in event:
                self._pid, self.python = int(event["pid"]), printable(str(event["python"])[:20])
                log.info("%s is process %d, of Python %s", self._name, self._pid, self.python)
                self.greeted = True
            if "hello" in event and event["hello"] != PROTOCOL:
                self._fail(
                    f"its worker speaks protocol {event['hello']!r:.20} and this server {PROTOCOL}: offboard was "
                    "changed while this server ran; restart it",
                    permanent=True,
                )
            if "version" in event and event["version"] != __version__:
                self._fail(
                    f"its worker has offboard-core {event['version']!r:.40} and this server {__version__}: offboard "
                    "was changed while this server ran; restart it",
                    permanent=True,
                )
            if "failed" in event:
                self._fail(str(event["failed"]), permanent=bool(event.get("permanent")))
            if "progress" in event:
                text = str(event["progress"])
                sized = "total" in event
                self._news = Progress(str(event["phase"]), int(event["done"]), int(event["total"])) if sized else text
            if "health" in event:
                self.health = Health(event["health"], str(event["reason"]))
            # What has failed before, such as its version, is not mended by a load.
            self.loaded = self.loaded or ("loaded" in event and self.failure is None)
            self._change.notify_all()

    def _fail(self, text: str, *, permanent: bool) -> None:
        self.failure = self.failure or LoadFailed(text, permanent=permanent)


def _stopped(pid: int) -> bool:
    """Whether Linux says so; one that a debugger holds is another thing."""
    with contextlib.suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] == b"T"
    return False


__all__ = ["Ears"]
