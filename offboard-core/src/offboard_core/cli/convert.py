"""``offboard convert SOURCE --codec VENDOR.NAME --output-dir DIR``: recorded episodes through a codec, to train on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro
from offboard_client.errors import ConfigurationError, RecordingFailed, counted, unknown
from offboard_client.plugins import UsageError
from offboard_client.terminal import Clock, Line, emit_json, note, parse, split_dotted, tell, terminable, unbroken
from tyro.conf import Positional

from ..checkpoints.remote import is_url
from ..data_sets import (
    Added,
    Conversion,
    DataSetForm,
    EpisodeSource,
    Query,
    Recordings,
    RemoteSet,
    SourceEpisode,
    plain_options,
)
from ..plugins import DATA_SET, DataSetEntry, Offer, Plugins
from ..readers import open_source
from .positronic_convert import from_positronic
from .training_codec import TrainingCodec, training_codec

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


@dataclass
class Converted:
    """By episode's name. ``skipped``: what was there already. ``failures``: name → why it is left out. ``uploaded``:
    files."""

    written: list[str] = field(default_factory=list[str])
    skipped: list[str] = field(default_factory=list[str])
    failures: dict[str, str] = field(default_factory=dict[str, str])
    frames: int = 0
    led: int = 0
    use: str = ""
    uploaded: int = 0

    def count(self, episode: SourceEpisode, added: Added) -> None:
        """An episode is in it."""
        self.written.append(episode.name)
        self.frames, self.led = self.frames + added.frames, self.led + added.led


def parse_convert(arguments: Sequence[str]) -> tuple[ConvertOptions, dict[str, Any]]:
    """The command line, ours or Positronic's; and the codec's options that were given. Raises UsageError."""
    rest, dotted = split_dotted(from_positronic(arguments), ["codec"])
    return parse(ConvertOptions, rest, "convert", _SUMMARY), dotted.get("codec", {})


def run(arguments: Sequence[str]) -> int:
    """Convert what was chosen. Nothing that is there is written over, and nothing stays half written.

    0 if all are there, 1 if one could not be. After Ctrl-C what was written is said before it is raised; the same
    command goes on.
    """
    options, given = parse_convert(arguments)
    plugins = Plugins.discover()
    made = training_codec(plugins, str(options.codec), None, given, options.fps)
    offer = _form(plugins, options.form, made)
    target = str(options.output_dir)
    target = target if is_url(target) else str(Path(target).expanduser())
    form = DataSetForm(
        codec=made.name, features=made.codec.features, fps=made.fps, options=plain_options(made.options),
        conventions=made.codec.meta.conventions, target=target,
    )  # fmt: skip
    found, interrupted = Converted(), False

    def begun(folder: Path) -> Conversion:
        return Conversion(folder, offer.name, offer.make, form, made.codec, options.task)

    try:
        with terminable(), Line() as line:
            if is_url(target):
                line.show(f"looking at {target}")
                with RemoteSet(target, line.show) as remote:
                    _into(begun(remote.folder), options, found, line)
                    found.uploaded = remote.push()
            else:
                _into(begun(Path(target)), options, found, line)
    except KeyboardInterrupt:
        interrupted = True
    _say(options, target, made, found, interrupted)
    if interrupted:
        where = "; what was converted is on this machine, and nothing was uploaded" if is_url(target) else ""
        note(f"this was interrupted{where}; the same command goes on from here")
        raise KeyboardInterrupt
    return int(bool(found.failures))


def _into(conversion: Conversion, options: ConvertOptions, found: Converted, line: Line) -> None:
    try:
        line.show("looking at the episodes")
        _convert(conversion, _episodes(options, conversion, line), found, line)
    except KeyboardInterrupt:
        raise
    except BaseException:
        conversion.discard()
        raise


def _form(plugins: Plugins, asked: str | None, made: TrainingCodec) -> Offer[DataSetEntry]:
    there = [offer.name for offer in plugins.offers(DATA_SET)]
    name = asked or made.plugin
    if asked is None and name not in there:
        raise ConfigurationError(
            f"{made.plugin}, which has the codec {made.name}, has no form of data sets: say one with --form "
            f"(there are: {', '.join(there) or 'none'})"
        )
    return plugins.get(DATA_SET, name)


def _episodes(options: ConvertOptions, conversion: Conversion, line: Line) -> list[SourceEpisode]:
    """Those that were asked for. Raises ConfigurationError where there is none."""
    others = open_source(options.source, _mapped(options.map), line.show)
    if others is None:
        if options.map:
            raise UsageError("--map is for a data set; --codec.map gives a recording's camera another name")
        recordings = Recordings(Path(options.source).expanduser(), options.score, options.clips, line.aside)
        episodes = list(recordings.episodes())
    else:
        episodes = _of_others(others, options, conversion)
    if options.query is None:
        return episodes
    meant = Query(options.query).choose([episode.origin for episode in episodes])
    # Of what cannot be read nobody can tell; it says why when it is tried.
    chosen = [episode for episode, wanted in zip(episodes, meant, strict=True) if wanted or not episode.origin]
    if not any(meant):
        raise ConfigurationError(f"of none of {counted(len(episodes), 'episode')} in {options.source} the query holds")
    return chosen


def _mapped(said: Sequence[str]) -> dict[str, str]:
    """Each name with its column, as ``--map NAME=COLUMN`` says it."""
    found: dict[str, str] = {}
    for text in said:
        name, _, column = text.partition("=")
        if not name or not column:
            raise UsageError(f"--map {text[:200]} cannot be understood: write --map target_joints=action[0:7]")
        if name in found:
            raise UsageError(f"--map gives {name} two columns: {found[name]} and {column}")
        found[name] = column
    return found


def _of_others(source: EpisodeSource, options: ConvertOptions, conversion: Conversion) -> list[SourceEpisode]:
    if options.clips:
        raise UsageError("--clips takes what was cut out of recordings, and this is a data set")
    episodes = list(source.episodes())
    chosen = [each for each in episodes if not options.score or each.origin.get("outcome") in options.score]
    if not chosen:
        told = sorted({str(each.origin["outcome"]) for each in episodes if "outcome" in each.origin})
        raise ConfigurationError(
            f"none of {counted(len(episodes), 'episode')} in {options.source} came out {' or '.join(options.score)}: "
            f"there are {', '.join(told) or 'none of which it says how they came out'}"
        )
    why = None
    for episode in chosen:
        try:
            conversion.check(episode)
        except RecordingFailed as error:
            why = why or error.text
            continue
        return chosen
    raise ConfigurationError(f"{why}. It is so with each of {counted(len(chosen), 'episode')}")


def _convert(conversion: Conversion, episodes: Sequence[SourceEpisode], found: Converted, line: Line) -> None:
    """Raises KeyboardInterrupt with the whole episodes kept; ConfigurationError where it cannot go on."""
    clock = Clock(line, [episode.name for episode in episodes], [episode.seconds for episode in episodes])
    try:
        for number, episode in enumerate(episodes):
            _one(conversion, episode, number, found, clock, line)
    except KeyboardInterrupt:
        _keep(conversion, found, line)
        raise
    _keep(conversion, found, line)


def _one(
    conversion: Conversion, episode: SourceEpisode, number: int, found: Converted, clock: Clock, line: Line
) -> None:
    if conversion.has(episode):
        found.skipped.append(episode.name)
        clock.skip(number)
        return
    clock.show(number, 0.0)
    length = max(episode.seconds, 1e-9)
    try:
        added = conversion.add(episode, lambda seconds: clock.show(number, min(1.0, seconds / length)))
    except RecordingFailed as error:
        found.failures[episode.name] = error.text
        line.aside(f"{episode.name} is left out: {error.text}")
    except KeyboardInterrupt:
        if conversion.has(episode):  # it was saved, and that is not broken off
            found.count(episode, conversion.added)
        raise
    else:
        found.count(episode, added)


def _keep(conversion: Conversion, found: Converted, line: Line) -> None:
    line.show("the data set is finished")
    with unbroken():
        found.use = conversion.keep()


def _say(options: ConvertOptions, folder: str, made: TrainingCodec, found: Converted, interrupted: bool) -> None:
    if options.json:
        said: dict[str, Any] = {**vars(found), "codec": made.name, "fps": made.fps, "interrupted": interrupted}
        emit_json({"folder": folder, **said})
        return
    led = f", {found.led} of them led by a person" if found.led else ""
    tell(
        f"{counted(len(found.written), 'episode')} written into {folder} through {made.name}: "
        f"{counted(found.frames, 'frame')}{led}, {made.fps:g} a second"
    )
    if found.skipped:
        was = "was" if len(found.skipped) == 1 else "were"
        tell(f"{counted(len(found.skipped), 'episode')} {was} there already, and {was} left as before")
    if found.uploaded:
        tell(f"{counted(found.uploaded, 'file')} uploaded")
    if found.use:
        tell(found.use)
