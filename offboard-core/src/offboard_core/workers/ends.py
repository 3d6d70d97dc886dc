"""Why a worker has ended, and what to do next."""

from __future__ import annotations

from pathlib import Path

from offboard_client.errors import LoadFailed

from ..process import MACHINE, PROGRAM, diagnose
from .ears import Ears

OUT_OF_MEMORY = "the kernel killed it, for memory ran out"


def explained(
    text: str, ears: Ears | None, status: int | None, name: str, python: Path, out_of_memory: bool
) -> LoadFailed:
    """The error for how a worker ended, or did not answer.

    ``status``: of its exit, negative for a signal. ``out_of_memory``: whether the kernel has killed for that since.
    """
    failure = None if ears is None else ears.failed()
    if failure is not None:
        return LoadFailed(text if failure.text in text else failure.text, permanent=failure.permanent)
    if "was killed by SIGKILL" in text and out_of_memory:
        return LoadFailed(f"{text}\nLikely cause: {OUT_OF_MEMORY}. Next: see with free how much there is.")
    if ears is not None and not ears.greeted and status is not None and status >= 0:  # it ended by itself
        return LoadFailed(f"{python} is no Python that a worker can run in: {text}", permanent=True)
    return diagnose(text, (*PROGRAM, *MACHINE), name=name, command="--python", root="its environment",
                    script="offboard", env="--inherit")  # fmt: skip


__all__ = ["OUT_OF_MEMORY", "explained"]
