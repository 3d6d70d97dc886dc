"""A relay between a client and a server that can stop passing bytes, or deliver an answer twice."""

import contextlib
import queue
import socket
import threading

PATIENCE_S = 30


class Relay:
    """Passes bytes on, one connection at a time, while TCP stays up whatever it does with them.

    ``stalled``: set, nothing is passed on any more. ``twice``: each message of the server comes again, late: right
    after the client's next one was passed on.
    """

    def __init__(self, port, *, twice=False):
        self._to = port
        self._twice = twice
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.stalled = threading.Event()
        self._over = threading.Event()
        self._sockets = []
        self._threads = [threading.Thread(target=self._accept)]

    def __enter__(self):
        self._threads[0].start()
        return self

    def __exit__(self, *_):
        self._over.set()
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S).close()
        self._threads[0].join(PATIENCE_S)
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive()
        for one in (self._listener, *self._sockets):
            one.close()

    def _accept(self):
        while True:
            client, _ = self._listener.accept()
            self._sockets.append(client)
            if self._over.is_set():
                return
            server = socket.create_connection(("127.0.0.1", self._to), timeout=PATIENCE_S)
            self._sockets.append(server)
            copies = queue.SimpleQueue()
            for work in (self._up, self._down):
                thread = threading.Thread(target=work, args=(client, server, copies))
                self._threads.append(thread)
                thread.start()

    def _up(self, client, server, copies):
        with contextlib.suppress(OSError):
            for data in self._read(client):
                server.sendall(data)
                if not copies.empty():
                    client.sendall(copies.get())

    def _down(self, client, server, copies):
        """An answer comes in one piece here: it is small, and the server writes it at once."""
        opened = False
        with contextlib.suppress(OSError):
            for data in self._read(server):
                if self._twice and opened and data[0] == 0x82:
                    copies.put(data)
                client.sendall(data)
                opened = opened or b"ready" in data

    def _read(self, source):
        source.settimeout(0.05)
        while not self._over.is_set():
            try:
                data = source.recv(65536)
            except TimeoutError:
                continue
            except OSError:
                return
            while self.stalled.is_set():
                if self._over.wait(0.05):
                    return
            if not data:
                return
            yield data
