"""What to do where there is no room for a model, or for what torch keeps of one. Imports no torch."""

from __future__ import annotations

import os

from offboard_client.errors import told

#: How torch says it of a GPU: its own allocator's words, and those of what it asks.
_GPU = ("CUDA out of memory", "CUDA error: out of memory", "MPS backend out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
#: And of the machine's own memory.
_MACHINE = ("can't allocate memory", "MemoryError", "Unable to allocate")

#: What torch calls the folder for what it compiles, in that for temporary files.
_COMPILED = "torchinductor_"


def is_full(error: BaseException) -> bool:
    """Whether that is a GPU without room, which ends when somebody leaves."""
    return any(each in told(error) for each in _GPU)


def step_for(error: BaseException | None) -> str:
    """The likely cause and the next step, to go behind the error's own words; nothing where it is something else."""
    seen: list[BaseException] = []
    while error is not None:
        seen.append(error)
        error = error.__cause__
    kept = os.environ.get("TORCHINDUCTOR_CACHE_DIR")
    if any(map(is_full, seen)):
        return (
            ". Most likely another program holds the GPU's memory (nvidia-smi names it), or the model is too large for "
            "it. End that program, or serve the model on another device (--device); the next session has the load "
            "tried again"
        )
    if any(text in told(each) for each in seen for text in _MACHINE):
        return (
            ". This machine has not enough memory left for the model: end what holds it; the next session has the load "
            "tried again"
        )
    if any(_COMPILED in told(each) or (kept and kept in told(each)) for each in seen if isinstance(each, OSError)):
        return (
            ". torch makes a folder there as soon as it is imported: have TORCHINDUCTOR_CACHE_DIR name one that may be "
            "written"
        )
    return ""


__all__ = ["is_full", "step_for"]
