"""A process that is forked from this one and stays, as a worker of multiprocessing's "fork" does."""

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def forked() -> Iterator[int]:
    """Its process id. It runs, and does nothing, until the end of the block."""
    theirs, mine = os.pipe()
    said, says = os.pipe()
    if (pid := os.fork()) == 0:
        os.close(mine)
        os.write(says, b"1")
        os.read(theirs, 1)
        os._exit(0)
    try:
        assert os.read(said, 1) == b"1"
        yield pid
    finally:
        for end in (theirs, mine, said, says):
            os.close(end)
        os.waitpid(pid, 0)
