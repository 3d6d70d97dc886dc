"""Instructions that the simulation can judge, as plain sentences."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ...errors import BadParameter

COLOURS = ("red", "green", "blue")
#: The edge of every cube, m.
CUBE_SIZE = 0.04
_SENTENCE = re.compile(
    r"(?:stack|put|place)\s+(?:the\s+)?(\w+)\s+(?:cube|block)\s+on(?:\s*to|\s+top\s+of)?\s+(?:the\s+)?(\w+)\s+(?:cube|block)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class StackTask:
    """Put one cube on another. ``top`` and ``bottom`` are colours."""

    top: str = "red"
    bottom: str = "green"

    @property
    def instruction(self) -> str:
        """The sentence."""
        return f"stack the {self.top} cube on the {self.bottom} cube"

    @staticmethod
    def parse(instruction: str) -> StackTask:
        """The task a sentence names. Raises BadParameter that shows a sentence which is understood."""
        match = _SENTENCE.fullmatch(instruction.strip().rstrip("."))
        task = StackTask(match[1].lower(), match[2].lower()) if match else None
        if task is None or task.top == task.bottom or not {task.top, task.bottom} <= set(COLOURS):
            raise BadParameter(
                f"no task of this simulation: {instruction[:200]!r}; say "
                f"{StackTask().instruction!r}, with two different colours of {', '.join(COLOURS)}"
            )
        return task
