"""Commands of ``offboard`` in processes of their own, which end with this one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from typing import IO

#: Seconds that one has to leave.
STOP_TIMEOUT = 10.0


def start(arguments: Sequence[str], out: IO[bytes] | int, err: IO[bytes] | None = None) -> subprocess.Popen[bytes]:
    """``offboard ARGUMENTS``, whose stdout and stderr go there."""
    # A session of its own: Ctrl-C in the terminal is for this process, which ends the others in their order.
    return subprocess.Popen(
        [sys.executable, "-m", "offboard_core.cli.exit_with_parent", *arguments],
        stdin=subprocess.PIPE,
        stdout=out,
        stderr=err,
        start_new_session=True,
    )


def stop(child: subprocess.Popen[bytes]) -> None:
    """End it, in good order if it is in time for that."""
    try:
        child.terminate()
        child.wait(STOP_TIMEOUT)
    except BaseException as error:
        # It did not leave in time, or the user did not want to wait for that.
        child.kill()
        child.wait(STOP_TIMEOUT)
        if not isinstance(error, subprocess.TimeoutExpired):
            raise
    finally:
        if child.stdin is not None:
            child.stdin.close()
