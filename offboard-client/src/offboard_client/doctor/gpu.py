"""NVIDIA's graphics processors, as ``nvidia-smi`` tells of them: on the server's computer, or a robot's own."""

from __future__ import annotations

from collections.abc import Iterator

from .files import Files
from .finding import Finding, not_known
from .interface import Ask, ask_command

_FIELDS = ("name", "persistence_mode", "pstate")
#: Why its clock is lower than it could be, as newer and as older drivers call it.
_CLOCKS = ("clocks_event_reasons.active", "clocks_throttle_reasons.active")
#: Of the bits of the last field: nothing, idle, and what somebody has set.
_HARMLESS = 0x1 | 0x2 | 0x100
_REASONS = {
    0x4: "its power limit", 0x8: "the hardware", 0x20: "its temperature", 0x40: "its temperature",
    0x80: "its power supply",
}  # fmt: skip


def look_at_gpu(files: Files, ask: Ask = ask_command) -> Iterator[Finding]:
    """Of each, a finding; none where there is no driver."""
    if not files.there("proc/driver/nvidia/version"):
        return
    said = None
    for clocks in _CLOCKS:
        if said is None:
            said = ask(["nvidia-smi", f"--query-gpu={','.join((*_FIELDS, clocks))}", "--format=csv,noheader,nounits"])
    if said is None:
        yield not_known("GPU", "nvidia-smi does not answer")
        return
    for line in said.splitlines()[:64]:
        words = [word.strip() for word in line.split(",")]
        if len(words) == len(_FIELDS) + 1:
            yield _gpu(*words)


def _gpu(name: str, persistence: str, state: str, reasons: str) -> Finding:
    found = f"{name}, {state}, persistence mode {persistence.lower()}"
    held = _held(reasons)
    if held:
        return Finding(
            "GPU", "mend", f"{found}, slowed down by {held}", "not slowed down",
            "its clock is lower than the model's time was measured with",
            "nvidia-smi -q -d PERFORMANCE,POWER,TEMPERATURE",
        )  # fmt: skip
    if persistence.lower() == "disabled":
        return Finding(
            "GPU", "mend", found, "persistence mode enabled",
            "where nobody uses it the driver puts it away, and who comes next waits 1 to 3 s (NVIDIA's figure)",
            "sudo systemctl enable --now nvidia-persistenced, or: sudo nvidia-smi -pm 1",
        )  # fmt: skip
    return Finding("GPU", "fine", found)


def _held(reasons: str) -> str:
    try:
        bits = int(reasons, 16)
    except ValueError:
        return ""
    return ", ".join(dict.fromkeys(text for bit, text in _REASONS.items() if bits & bit)) if bits & ~_HARMLESS else ""
