"""``offboard stats`` and ``offboard train``: a vendor's own training, in the vendor's own environment."""

from __future__ import annotations

import dataclasses
import json
import shlex
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, cast

import tyro
from offboard_client.errors import ConfigurationError
from offboard_client.plugins import UsageError
from offboard_client.terminal import Line, emit_json, note, parse, peek, say
from tyro.conf import Positional

from ..catalog import codec_of, with_variant
from ..codecs import rate
from ..data_sets import plain_options
from ..plugins import CODEC, LOADER, TRAINER, Offer, Plugins, TrainerEntry
from ..training import Trainer
from .training_codec import training_codec

#: Seconds between two lines of progress, where no terminal shows one line that changes.
_QUIET = 10.0


@dataclass(frozen=True, kw_only=True)
class StatsOptions:
    """Options of ``offboard stats``; the vendor's come on top."""

    vendor: str | None = None
    """Whose training this is for; it may be left away while only one vendor that trains is installed."""
    json: bool = False
    """Print one JSON object on stdout."""


@dataclass(frozen=True, kw_only=True)
class TrainOptions(StatsOptions):
    """Options of ``offboard train``; the vendor's come on top."""

    variant: Annotated[Positional[str | None], tyro.conf.arg(metavar="[VARIANT]")] = None
    """The vendor's word for a codec and options of its own, where it has such words."""
    codec: str | None = None
    """The codec that the data set was made with, else the vendor's default. It is recorded beside the checkpoints."""
    fps: float | None = None
    """Steps per second of the data set, recorded likewise; else the codec's."""


def stats(arguments: list[str]) -> int:
    """Compute a data set's statistics. Raises ConfigurationError with the end of the log of what was run."""
    _help(StatsOptions, arguments, "stats", "Compute what training needs to know of a data set.")
    offer = _choose(Plugins.discover(), arguments)
    trainer = offer.make()
    if type(trainer).stats is Trainer.stats and not {"-h", "--help"} & set(arguments):
        trainer.stats(None, lambda _: None)  # says that there are none, whatever they were to be made of
    summary = f"Compute what training needs to know of a data set ({offer.name})."
    core, options = _parse(StatsOptions, trainer.stats_options, arguments, f"stats --vendor {offer.name}", summary)
    with TrainingLine() as progress:
        place = trainer.stats(options, progress.report)
    _tell(core, {"statistics": str(place)})
    return 0


def train(arguments: list[str]) -> int:
    """Train, and record the codec beside the checkpoints. Raises ConfigurationError like :func:`stats`."""
    _help(TrainOptions, arguments, "train", "Train a policy in its vendor's environment.")
    plugins = Plugins.discover()
    offer = _choose(plugins, arguments)
    trainer = offer.make()
    summary = f"Train a policy ({offer.name}): {offer.entry.summary}"
    passed: list[str] = []
    if trainer.passed_on is not None:
        arguments, passed = _apart(arguments, (TrainOptions, trainer.train_options))
    core, options = _parse(TrainOptions, trainer.train_options, arguments, f"train --vendor {offer.name}", summary)
    if trainer.passed_on is not None and passed:
        given = getattr(options, trainer.passed_on)
        options = replace(options, **{trainer.passed_on: f"{given} {shlex.join(passed)}".strip()})
    codec, options = _codec(plugins, offer, core, options)
    record = _record(plugins, offer, codec, core.fps, trainer.said_of(options))
    with TrainingLine() as progress:
        place = trainer.train(options, record, progress.report)
    _tell(core, {"checkpoints": str(place), **record})
    return 0


def _codec(plugins: Plugins, offer: Offer[TrainerEntry], core: TrainOptions, options: Any) -> tuple[str | None, Any]:
    """The codec that was asked for, by its name, by the vendor's word, or by options that only one such word says."""
    if core.variant is None and core.codec is not None:
        return core.codec, options
    served = next((loader for loader in plugins.offers(LOADER) if loader.name == offer.name), None)
    if core.variant is not None:
        if served is None:
            raise ConfigurationError(f"{offer.name} has no words for a codec: leave {core.variant} away")
        return with_variant(served, core.variant, core.codec, options)
    return None if served is None else codec_of(served, options), options


def _record(
    plugins: Plugins, offer: Offer[TrainerEntry], asked: str | None, fps: float | None, said: Mapping[str, Any]
) -> dict[str, Any]:
    """What is written beside the checkpoints, where the data set says something itself. Raises ConfigurationError."""
    made, theirs = said.get("codec"), said.get("action_fps")
    if theirs is not None and fps not in (None, theirs):
        raise ConfigurationError(
            f"--fps says {fps:g}, and the data set has {theirs:g} steps per second; leave --fps away"
        )
    if made is not None:
        try:
            made = plugins.get(CODEC, made, offer.provider.name).name
        except ConfigurationError as error:
            raise ConfigurationError(f"the data set was made with a codec that is not here: {error.text}") from None
        if asked is not None and (name := plugins.get(CODEC, asked, offer.provider.name).name) != made:
            raise ConfigurationError(
                f"--codec asks for {name}, but the data set was made with {made}, its meta/offboard.json says; leave "
                f"--codec away, or convert the recordings with {name}"
            )
    if theirs is not None and made is None and asked is None:
        return {"action_fps": _rate("the data set", theirs)}
    options: Mapping[str, Any] | None = said.get("codec_options") if made is not None else None
    return record_of(plugins, offer, made or asked, fps if theirs is None else theirs, options)


def record_of(
    plugins: Plugins,
    offer: Offer[TrainerEntry],
    asked: str | None,
    fps: float | None,
    options: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What is written beside the checkpoints: the codec, its rate, and those of its options that are not as they are
    by themselves. Raises ConfigurationError for a codec that is for serving only.

    ``options``: what the data set was made with. How long a chunk is played is no matter of the data.
    """
    vendor = offer.provider.name
    name = plugins.get(LOADER, offer.name).entry.default_codec if asked is None else asked
    given = {option: value for option, value in (options or {}).items() if option not in ("fps", "horizon_sec")}
    made, usual = (training_codec(plugins, name, vendor, each, fps) for each in (given, {}))
    said, alone = (json.loads(json.dumps(plain_options(each.options))) for each in (made, usual))
    told = {option: value for option, value in said.items() if value != alone[option]}
    return {"codec": made.name, "action_fps": made.fps, **({"codec_options": told} if told else {})}


def _rate(where: str, fps: float) -> float:
    try:
        return rate(fps)
    except ValueError as error:
        raise ConfigurationError(f"{where}: {error}") from None


def _apart(arguments: Sequence[str], declared: Sequence[type]) -> tuple[list[str], list[str]]:
    """The arguments that ``declared`` dataclasses have, and the options that they have not, as ``--name=value``.

    Of these a name has underscores, and a value may stand behind it.
    """
    known = {field.name for each in declared for field in dataclasses.fields(each)} | {"help"}
    ours: list[str] = []
    others: list[str] = []
    words = deque(arguments)
    while words:
        word = words.popleft()
        name, equals, _ = word.partition("=")
        named = name[2:].replace("-", "_")
        if not name.startswith("--") or named in known:
            ours.append(word)
            continue
        option = f"--{named}{word[len(name) :]}"
        if not equals and words and not words[0].startswith("--"):
            option += f"={words.popleft()}"
        others.append(option)
    return ours, others


def _help(core: type[Any], arguments: Sequence[str], command: str, summary: str) -> None:
    """Help that no vendor was named for: the options that all of them have."""
    if peek(arguments, "vendor") is None and {"-h", "--help"} & set(arguments):
        parse(
            core, ["--help"], command, f"{summary} A vendor's own options: `offboard {command} --vendor NAME --help`."
        )


def _choose(plugins: Plugins, arguments: Sequence[str]) -> Offer[TrainerEntry]:
    name = peek(arguments, "vendor")
    if name is not None:
        return plugins.get(TRAINER, name)
    offers = plugins.offers(TRAINER)
    if len(offers) != 1:
        names = ", ".join(offer.name for offer in offers)
        raise UsageError(
            f"say whose training: --vendor NAME (there are: {names or 'none; install a vendor that trains'})"
        )
    return offers[0]


def _parse(core: type[Any], vendor: type, arguments: Sequence[str], command: str, summary: str) -> tuple[Any, Any]:
    both = dataclasses.make_dataclass(
        "Options",
        [
            ("core", Annotated[core, tyro.conf.arg(name="")]),
            ("vendor_options", Annotated[vendor, tyro.conf.arg(name="")]),
        ],
        frozen=True,
    )
    try:
        parsed = cast("Any", parse(both, arguments, command, summary))
    except ValueError as refused:  # tyro reports it itself only for options that have a prefix of their own
        raise UsageError(f"offboard {command} refuses its options: {refused}") from refused
    return parsed.core, parsed.vendor_options


def _tell(core: StatsOptions, result: dict[str, Any]) -> None:
    if core.json:
        emit_json(result)
        return
    for name, value in result.items():
        say(f"{name}: {value}")


class TrainingLine:
    """The last line of what runs, on stderr: one line that changes on a terminal, else a line now and then."""

    def __init__(self) -> None:
        self._line = Line()
        self._last = self._noted = ""
        self._at = 0.0

    def report(self, text: str) -> None:
        """Show a line, if there is something new to show and it is time for it."""
        self._last = text
        self._line.show(text)
        if not self._line.live and (not self._noted or time.monotonic() - self._at >= _QUIET):
            self._note()

    def _note(self) -> None:
        if self._last != self._noted:
            note(self._last)
            self._noted, self._at = self._last, time.monotonic()

    def __enter__(self) -> TrainingLine:
        return self

    def __exit__(self, *_: object) -> None:
        self._line.stop()
        self._note()
