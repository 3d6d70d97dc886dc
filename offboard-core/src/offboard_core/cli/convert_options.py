"""The options of ``offboard convert``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import tyro
from offboard_client.errors import unknown
from offboard_client.plugins import UsageError
from offboard_client.terminal import parse, split_dotted
from tyro.conf import Positional

from ..data_sets import Query
from .positronic_convert import from_positronic

_SUMMARY = (
    "Make a data set for training of recorded episodes, through a codec: its rows are what the model will see when it "
    "is served, and what it should have answered. --codec.NAME VALUE sets an option of the codec (`offboard codecs` "
    "lists them), --codec.map FROM=TO, which may be repeated, an entry of one that is a map. The same command again "
    "adds what is new."
)


@dataclass(frozen=True, kw_only=True)
class ConvertOptions:
    """Options of ``offboard convert``."""

    source: Annotated[Positional[str], tyro.conf.arg(metavar="SOURCE", help_behavior_hint="(required)")] = ""
    """Recordings: a folder, an evaluation's, or one; or a data set of LeRobot's or Positronic's: a folder or a URL."""
    codec: str | None = None
    """The codec, as VENDOR.NAME; the data set is in that vendor's form."""
    output_dir: str | None = None
    """Where the data set is to be, or is: it is added to. Also s3://BUCKET/PATH and hf://datasets/OWNER/NAME."""
    fps: float | None = None
    """Rows a second; without it the codec's own rate. What was known last then is in a row."""
    task: str | None = None
    """The instruction, for all episodes; without it what each was given."""
    score: Annotated[tuple[str, ...], tyro.conf.arg(aliases=["--outcome"])] = ()
    """Only episodes that came out so: success, partial, fail, stall, unsafe."""
    clips: bool = False
    """Only the ranges that were cut out in `offboard replay`, each as an episode of its own."""
    query: str | None = None
    """Only episodes of which this holds: score >= 0.5 and (tags = grasp or note ~ slipped) and not model = 010000."""
    map: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Of a data set: what a column is (target_joints=action[0:7]), where it does not say so. May be repeated."""
    form: str | None = None
    """The form of the data set, where the codec's own package has none."""
    json: bool = False
    """Print one JSON object on stdout."""

    def __post_init__(self) -> None:
        from offboard_client.evaluation import COUNTED

        if not self.source and self.score:
            raise UsageError("say which recordings before --outcome, which takes all words that follow it")
        if not self.source:
            raise UsageError("say which recordings: offboard convert DIR --codec VENDOR.NAME --output-dir DIR")
        if self.codec is None:
            raise UsageError("say through which codec: --codec VENDOR.NAME (`offboard codecs` lists them)")
        if not self.output_dir:
            raise UsageError("say where the data set is to be: --output-dir DIR")
        for name in self.score:
            if name not in COUNTED:
                raise UsageError(f"--outcome: {unknown('outcome', name, COUNTED)}")
        if self.query is not None:
            Query(self.query)


def parse_convert(arguments: Sequence[str]) -> tuple[ConvertOptions, dict[str, Any]]:
    """The command line, ours or Positronic's; and the codec's options that were given. Raises UsageError."""
    rest, dotted = split_dotted(from_positronic(arguments), ["codec"])
    return parse(ConvertOptions, rest, "convert", _SUMMARY), dotted.get("codec", {})
