"""Ports for programs that have to be told one before they listen."""

import random
import socket


def free_port() -> int:
    """A port of this machine that is free, and stays so: the system gives those below 32768 to nobody by itself.

    One that it gave us and we gave back may be another test's before the program listens there.
    """
    while True:
        port = random.SystemRandom().randrange(10_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
