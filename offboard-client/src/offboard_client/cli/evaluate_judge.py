"""What a person says of a trial on a robot that nobody else can judge."""

from __future__ import annotations

import re
import sys

from ..errors import BadParameter, ConfigurationError
from ..evaluation import Judgement, TrialOutcome, Turn
from ..terminal import Line, note

_OUTCOMES: dict[str, TrialOutcome] = {
    "s": "success", "p": "partial", "f": "fail", "t": "stall", "u": "unsafe", "a": "annulled",
}  # fmt: skip
_ASKED = (
    "[s]uccess, [p]artial SHARE, [f]ail, s[t]all, [u]nsafe, [a]nnul; then how many items of how many (3/5), a note, "
    "#tags in it: "
)
_COUNT = re.compile(r"([0-9]{1,6})/([0-9]{1,6})")


def require_person() -> None:
    """Raises ConfigurationError where nobody can be asked."""
    if not sys.stdin.isatty():
        raise ConfigurationError(
            "somebody has to set the scene up and to say what came of each trial, and stdin is no terminal: run it in "
            "one, over ssh with -t"
        )


def ask_ready(turn: Turn, line: Line) -> None:
    """Wait until the scene is set up. EOF ends the evaluation, as Ctrl-C does; the arm moves on an empty line alone."""
    line.stop()
    asked = f"{turn.label}: set the scene up for start {turn.start}, then press Enter "
    while _ask(asked):
        note("Enter alone begins the trial, and Ctrl-C ends the evaluation")


def ask_judgement(turn: Turn, line: Line) -> Judgement:
    """What somebody has seen, asked until it is understood."""
    line.stop()
    while True:
        try:
            return read_judgement(_ask(f"{turn.label} from start {turn.start}: {_ASKED}"))
        except BadParameter as error:
            note(error.text)


def read_judgement(said: str) -> Judgement:
    """``p 3/5 dropped it #slip``: a letter, how many items of how many, a note. ``p`` takes a share instead (0.6).

    Raises BadParameter.
    """
    letter, _, rest = said.strip().partition(" ")
    outcome = _OUTCOMES.get(letter.lower())
    if outcome is None:
        raise BadParameter(f"{letter[:20]!r} is none of {', '.join(_OUTCOMES)}")
    score, items, total, rest = _count(rest.strip()) if outcome != "annulled" else (None, None, None, rest)
    if outcome == "partial" and score is None:
        share, _, rest = rest.partition(" ")
        try:
            score = float(share)
        except ValueError:
            score = -1.0
        if not 0 <= score <= 1:
            raise BadParameter("a partial success has a share: p 3/5, so many items of so many, or p 0.6, from 0 to 1")
    if outcome == "annulled" and not rest.strip():
        raise BadParameter("a trial is annulled for a reason; it is in the report: a the camera was blocked")
    words = rest.split()
    tags = tuple(dict.fromkeys(word[1:] for word in words if word.startswith("#") and len(word) > 1))
    told = " ".join(word for word in words if not word.startswith("#"))
    return Judgement(outcome, score, tags, told, items, total)


def _count(rest: str) -> tuple[float | None, int | None, int | None, str]:
    """The share, both numbers, and what follows them, where that is how it begins. Raises BadParameter."""
    first, _, more = rest.partition(" ")
    if (found := _COUNT.fullmatch(first)) is None:
        return None, None, None, rest
    items, total = int(found[1]), int(found[2])
    if not items <= total or not total:
        raise BadParameter(f"{first}: so many items were done of so many, such as 3/5")
    return items / total, items, total, more


def _ask(prompt: str) -> str:
    try:
        return input(prompt)
    except EOFError:
        raise KeyboardInterrupt from None
