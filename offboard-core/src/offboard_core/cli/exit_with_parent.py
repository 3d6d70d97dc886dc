"""``python -m offboard_core.cli.exit_with_parent serve …``: ``offboard``, ended with the process that started it.

Its standard input is a pipe that its parent holds and never writes to. However the parent ends, the pipe ends
with it, and the command is told to stop; a parent that is killed could not do that itself.
"""

from __future__ import annotations

import os
import signal
import sys
import threading

from offboard_client.cli import main


def _stop_with_the_parent() -> None:
    # Not through sys.stdin, whose lock a thread that waits may not hold while the interpreter ends.
    os.read(0, 1)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=_stop_with_the_parent, daemon=True).start()
    sys.exit(main())
