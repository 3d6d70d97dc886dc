"""What a person says of a trial on a robot that nobody else can judge."""

from __future__ import annotations

import sys

from ..errors import BadParameter, ConfigurationError
from ..evaluation import Judgement, TrialOutcome, Turn
from ..terminal import Line, note

_OUTCOMES: dict[str, TrialOutcome] = {
    "s": "success", "p": "partial", "f": "fail", "t": "stall", "u": "unsafe", "a": "annulled",
}  # fmt: skip
_ASKED = "[s]uccess, [p]artial SHARE, [f]ail, s[t]all, [u]nsafe, [a]nnul; then a note, #tags in it: "


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
    """``p 0.5 dropped it #slip``: a letter, of ``p`` a share from 0 to 1, a note. Raises BadParameter."""
    letter, _, rest = said.strip().partition(" ")
    outcome = _OUTCOMES.get(letter.lower())
    if outcome is None:
        raise BadParameter(f"{letter[:20]!r} is none of {', '.join(_OUTCOMES)}")
    score: float | None = None
    if outcome == "partial":
        share, _, rest = rest.strip().partition(" ")
        try:
            score = float(share)
        except ValueError:
            score = -1.0
        if not 0 <= score <= 1:
            raise BadParameter("a partial success has a share: p 0.5, from 0 to 1")
    if outcome == "annulled" and not rest.strip():
        raise BadParameter("a trial is annulled for a reason; it is in the report: a the camera was blocked")
    words = rest.split()
    tags = tuple(dict.fromkeys(word[1:] for word in words if word.startswith("#") and len(word) > 1))
    return Judgement(outcome, score, tags, " ".join(word for word in words if not word.startswith("#")))


def _ask(prompt: str) -> str:
    try:
        return input(prompt)
    except EOFError:
        raise KeyboardInterrupt from None
