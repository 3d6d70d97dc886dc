"""Where a client on this machine hands over memory that its messages lie in (section 15 of the protocol)."""

from __future__ import annotations

import array
import contextlib
import logging
import os
import secrets
import socket
import sys
import threading
from typing import Any

import numpy as np
from offboard_client.memory import (
    KEY_BYTES,
    SEALED,
    TAKEN,
    Broken,
    Incoming,
    MemoryOffer,
    on_one_machine,
    referred,
    same_user,
)
from offboard_client.wire import WireLimits

from ..frontends import lacking
from ..process import unshared

log = logging.getLogger(__name__)

#: Seconds that who has come to the door may take, and how many may stand there at once.
_WAIT, _MOST = 2.0, 16
#: Seconds until it is opened again where the system gives out no connection.
_PAUSE = 1.0
_UNKNOWN = b"no session of this server's waits for memory under this key"
_MESSAGE_BYTES = WireLimits().message_bytes
#: Of a message that is larger than the one, so many bytes are copied in each turn of the event loop (bytes).
AT_ONE_GO, PIECE = 4 << 20, 1 << 20


class Door:
    """Listens on an abstract Unix socket, which is within reach of exactly those who can reach our loopback address.

    On threads of its own: whoever can reach it may pass what takes any time to be closed (a socket that lingers, a file
    of a file system that does not answer), and that is done wherever its last descriptor goes, read or not.

    ``sessions``: how many there may be; memory takes a file descriptor, and none that one of them may need. Raises
    OSError where the system has no such sockets.
    """

    def __init__(self, sessions: int) -> None:
        self._sessions = sessions
        self.name = f"offboard-{secrets.token_hex(16)}"
        self._places: dict[str, Place] = {}
        self._standing: set[socket.socket] = set()
        self._room = threading.Semaphore(_MOST)
        self._closed = threading.Event()
        self._listener = unshared(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
        try:
            self._listener.bind(b"\0" + self.name.encode())
            self._listener.listen(_MOST)
            threading.Thread(target=self._open, name="offboard-door", daemon=True).start()
        except BaseException:
            self._listener.close()
            raise

    def place(self) -> Place:
        """For one session's memory."""
        return Place(self)

    def close(self) -> None:
        """Take nothing any more; waits for nobody. What was taken stays with its session."""
        self._closed.set()
        self._room.release()
        for sock in (self._listener, *self._standing):  # they are closed where somebody waits at them
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def expect(self, place: Place) -> MemoryOffer:
        """Memory for this place may come."""
        key = secrets.token_hex(16)
        self._places[key] = place
        return MemoryOffer(self.name, key)

    def forget(self, key: str) -> None:
        """It may not any more."""
        self._places.pop(key, None)

    # -- inside ----------------------------------------------------------------------------------------------------
    def _open(self) -> None:
        with self._listener:
            while True:
                self._room.acquire()
                try:
                    sock, _ = self._listener.accept()
                    threading.Thread(target=self._visit, args=(sock,), name="offboard-door", daemon=True).start()
                except (OSError, RuntimeError) as error:  # no descriptor, no thread
                    self._room.release()
                    if self._closed.is_set():
                        return
                    log.warning("nobody can hand over memory: %s; trying again in %g s", error, _PAUSE)
                    self._closed.wait(_PAUSE)

    def _visit(self, sock: socket.socket) -> None:
        try:
            with sock:  # who is refused has its connection
                if lacking(sock.fileno() + self._sessions) or not same_user(sock):
                    return
                self._standing.add(sock)
                try:
                    if not self._closed.is_set():
                        self._hear(sock)
                except OSError:
                    pass  # it has gone, says nothing, or does not read
                finally:
                    self._standing.discard(sock)
        finally:
            self._room.release()

    def _hear(self, sock: socket.socket) -> None:
        """Raises OSError."""
        sock.settimeout(_WAIT)
        came = array.array("i")
        room = socket.CMSG_SPACE(2 * came.itemsize)  # for one more than there may be
        try:
            data, ancillary, flags, _ = sock.recvmsg(KEY_BYTES, room, socket.MSG_CMSG_CLOEXEC)
            for level, kind, found in ancillary:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                    came.frombytes(found[: len(found) - len(found) % came.itemsize])
            if data:
                sock.send(self._taken(data, came, flags))
        finally:
            for fd in came:
                os.close(fd)

    def _taken(self, data: bytes, came: array.array[int], flags: int) -> bytes:
        place = self._places.get(data.decode("ascii", "replace"))
        if place is None:
            return _UNKNOWN
        if len(came) != 1 or flags & (socket.MSG_CTRUNC | socket.MSG_TRUNC):
            return b"a key comes with exactly one descriptor"
        try:
            return TAKEN if place.take(came.pop()) else _UNKNOWN
        except Broken as error:
            return str(error).encode()


class Place:
    """Of one session the memory that its client handed over, if it did."""

    def __init__(self, door: Door) -> None:
        self._door, self._key = door, ""
        #: What it handed over.
        self.memory: Incoming | None = None
        self._lock, self._waits = threading.Lock(), False

    def offer(self) -> MemoryOffer:
        """As :class:`~offboard_core.frontends.SocketMemory`."""
        offer = self._door.expect(self)
        self._key, self._waits = offer.key, True
        return offer

    def take(self, fd: int) -> bool:
        """It has come: whether it was waited for, once for each session. On any thread.

        Raises Broken; ``fd`` is closed in any case.
        """
        memory = Incoming()
        memory.take(fd)
        with self._lock:
            waited, self._waits = self._waits, False
            if waited:
                self.memory = memory
        return waited

    def close(self) -> None:
        """The session has ended."""
        with self._lock:
            self._waits, self.memory = False, None
        self._door.forget(self._key)

    def message(self, sent: bytes | memoryview, *, owed: bool) -> bytes | memoryview | Copying:
        """The message that was sent, or the one that it refers to, copied: whoever wrote it may write there again.

        A large one is still to be copied: the event loop does others' work meanwhile.

        One that refers to what is not there stays as it is, and is no message; so does one that came while an answer
        was ``owed``: for nine bytes of a client's that does not wait, nobody waits while 32 MiB are copied.
        """
        memory = self.memory
        if memory is None or owed or (size := referred(sent)) is None:
            return sent
        if memory.map is None or size > min(memory.size, _MESSAGE_BYTES):
            return sent
        return memory.map[:size] if size <= AT_ONE_GO else Copying(memoryview(memory.map)[:size])


def is_here(scope: Any) -> bool:
    """Whether a client, by ASGI's description of its connection, is on this machine."""
    client, server = scope.get("client"), scope.get("server")
    return bool(client and server) and on_one_machine(client[0], server[0])


class Copying:
    """A large message on its way out of a client's memory, each byte of it once."""

    def __init__(self, source: memoryview) -> None:
        self._source = source
        # Not filled with zeros: pages that nothing is written to are not there.
        self._copy: memoryview = np.empty(len(source), np.uint8).data
        self._end = 0

    def go_on(self) -> memoryview | None:
        """Copy the next piece; the message, once it is whole."""
        start, self._end = self._end, min(self._end + PIECE, len(self._copy))
        self._copy[start : self._end] = self._source[start : self._end]
        return self._copy.toreadonly() if self._end == len(self._copy) else None


def make_door(sessions: int) -> Door | None:
    """A :class:`Door`, or None where the system has none."""
    if sys.platform != "linux" or not SEALED:
        return None
    try:
        return Door(sessions)
    except OSError as error:
        log.info("clients on this machine share no memory with this server: %s", error.strerror)
        return None
