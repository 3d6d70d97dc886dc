"""``offboard convert SOURCE --codec VENDOR.NAME --output-dir DIR``: recorded episodes through a codec, to train on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from offboard_client.errors import ConfigurationError, RecordingFailed
from offboard_client.terminal import Clock, Line, note, terminable, unbroken

from ..checkpoints.remote import is_url
from ..data_sets import Conversion, DataSetForm, RemoteSet, SourceEpisode, plain_options
from ..plugins import DATA_SET, DataSetEntry, Offer, Plugins
from .convert_options import ConvertOptions, parse_convert
from .convert_report import Converted
from .convert_sources import check_apart, choose_episodes
from .training_codec import TrainingCodec, training_codec


def run(arguments: Sequence[str]) -> int:
    """Convert what was chosen. Nothing that is there is written over, and nothing stays half written.

    0 if all are there, 1 if one could not be. After Ctrl-C what was written is said before it is raised; the same
    command goes on.
    """
    options, given = parse_convert(arguments)
    check_apart(options.source, str(options.output_dir))
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
    if options.json:
        found.emit(target, made.name, made.fps, interrupted)
    else:
        found.say(target, made.name, made.fps)
    if interrupted:
        where = "; what was converted is on this machine, and nothing was uploaded" if is_url(target) else ""
        note(f"this was interrupted{where}; the same command goes on from here")
        raise KeyboardInterrupt
    return int(bool(found.failures))


def _into(conversion: Conversion, options: ConvertOptions, found: Converted, line: Line) -> None:
    try:
        line.show("looking at the episodes")
        _convert(conversion, choose_episodes(options, conversion, line, found.passed), found, line)
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
        if (other := conversion.taken(episode)) is None:
            found.skipped.append(episode.name)
        else:
            found.passed["same"] += 1
            line.aside(f"{episode.name} is left out: it is {other} once more")
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
        for said in filter(None, (found.count(episode, added), added.odd)):
            line.aside(said)


def _keep(conversion: Conversion, found: Converted, line: Line) -> None:
    line.show("the data set is finished")
    with unbroken():
        found.use = conversion.keep()
