"""Where a client on this machine hands over memory that its messages lie in (section 15 of the protocol)."""

from __future__ import annotations

import array
import asyncio
import contextlib
import logging
import os
import secrets
import socket
import sys

from offboard_client.memory import KEY_BYTES, TAKEN, Broken, Incoming, MemoryOffer, referred, same_user
from offboard_client.wire import WireLimits

from ..frontends import lacking
from ..process import unshared

log = logging.getLogger(__name__)

#: Seconds that who has come to the door may take, and how many may stand there at once.
_WAIT, _MOST = 2.0, 16
#: Seconds until it is opened again where the system gives out no connection.
_PAUSE = 1.0
_MESSAGE_BYTES = WireLimits().message_bytes


class Door:
    """Listens on an abstract Unix socket, which is within reach of exactly those who can reach our loopback address.

    On the event loop. ``sessions``: how many there may be; memory takes a file descriptor, and none that one of them
    may need. Raises OSError where the system has no such sockets.
    """

    def __init__(self, sessions: int) -> None:
        self._sessions = sessions
        self.name = f"offboard-{secrets.token_hex(16)}"
        self._loop = asyncio.get_running_loop()
        self._places: dict[str, Place] = {}
        self._standing: dict[socket.socket, asyncio.TimerHandle] = {}
        self._pause: asyncio.TimerHandle | None = None
        self._listener = unshared(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
        try:
            self._listener.setblocking(False)
            self._listener.bind(b"\0" + self.name.encode())
            self._listener.listen(_MOST)
            self._open()
        except BaseException:
            self._listener.close()
            raise

    def place(self) -> Place:
        """For one session's memory."""
        return Place(self)

    def close(self) -> None:
        """Take nothing any more. What was taken stays with its session."""
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._listener)
        self._listener.close()
        for sock in list(self._standing):
            self._leave(sock)

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
        self._loop.add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as error:
            log.warning("nobody can hand over memory: %s; trying again in %g s", error.strerror, _PAUSE)
            self._loop.remove_reader(self._listener)
            self._pause = self._loop.call_later(_PAUSE, self._open)
            return
        if len(self._standing) >= _MOST or lacking(sock.fileno() + self._sessions) or not same_user(sock):
            sock.close()  # who is refused has its connection
            return
        sock.setblocking(False)
        self._standing[sock] = self._loop.call_later(_WAIT, self._leave, sock)
        self._loop.add_reader(sock, self._read, sock)

    def _read(self, sock: socket.socket) -> None:
        came = array.array("i")
        room = socket.CMSG_SPACE(2 * came.itemsize)  # for one more than there may be
        try:
            data, ancillary, flags, _ = sock.recvmsg(KEY_BYTES, room, socket.MSG_CMSG_CLOEXEC)
            for level, kind, found in ancillary:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                    came.frombytes(found[: len(found) - len(found) % came.itemsize])
            answer = self._taken(data, came, flags) if data else b""
        except BlockingIOError:
            return
        except OSError:
            answer = b""
        finally:
            for fd in came:
                os.close(fd)
        if answer:
            with contextlib.suppress(OSError):  # it has gone, or does not read
                sock.send(answer)
        self._leave(sock)

    def _taken(self, data: bytes, came: array.array[int], flags: int) -> bytes:
        place = self._places.get(data.decode("ascii", "replace"))
        if place is None:
            return b"no session of this server's waits for memory under this key"
        if len(came) != 1 or flags & (socket.MSG_CTRUNC | socket.MSG_TRUNC):
            return b"a key comes with exactly one descriptor"
        try:
            place.take(came.pop())
        except Broken as error:
            return str(error).encode()
        return TAKEN

    def _leave(self, sock: socket.socket) -> None:
        self._standing.pop(sock).cancel()
        self._loop.remove_reader(sock)
        sock.close()


class Place:
    """Of one session the memory that its client handed over, if it did."""

    def __init__(self, door: Door) -> None:
        self._door, self._key = door, ""
        self._in: Incoming | None = None

    def offer(self) -> MemoryOffer:
        """As :class:`~offboard_core.frontends.SocketMemory`."""
        offer = self._door.expect(self)
        self._key = offer.key
        return offer

    def take(self, fd: int) -> None:
        """It has come: once for each session. Raises Broken; ``fd`` is closed in any case."""
        memory = Incoming()
        memory.take(fd)
        self._in = memory
        self._door.forget(self._key)

    def close(self) -> None:
        """The session has ended."""
        self._door.forget(self._key)
        if self._in is not None:
            self._in.drop()
            self._in = None

    def message(self, sent: bytes | memoryview) -> bytes | memoryview:
        """The message that was sent, or the one that it refers to, copied: whoever wrote it may write there again.

        One that refers to what is not there stays as it is, and is no message.
        """
        memory, size = self._in, referred(sent)
        if size is None or memory is None or memory.map is None or not size <= min(memory.size, _MESSAGE_BYTES):
            return sent
        return memory.map[:size]


def make_door(sessions: int) -> Door | None:
    """A :class:`Door`, or None where the system has none."""
    if sys.platform != "linux":
        return None
    try:
        return Door(sessions)
    except OSError as error:
        log.info("clients on this machine share no memory with this server: %s", error.strerror)
        return None
