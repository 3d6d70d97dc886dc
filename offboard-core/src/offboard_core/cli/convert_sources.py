"""Which episodes ``offboard convert`` takes, and of what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from offboard_client.errors import ConfigurationError, RecordingFailed, counted
from offboard_client.plugins import UsageError
from offboard_client.terminal import Line

from ..checkpoints.remote import is_url
from ..data_sets import Conversion, EpisodeSource, Query, Recordings, SourceEpisode
from ..readers import is_published, open_source
from .convert_options import ConvertOptions

#: Schemes by which the same is reached.
_SAME = {"s3a": "s3", "gcs": "gs"}
_FILE = "file://"


def check_apart(source: str, target: str) -> None:
    """Raises ConfigurationError where one of them lies in the other, wherever links lead: what is read would be
    written, or what is written be read.
    """
    if is_published(source):
        return
    place = _place(target)
    for read in _read(source):
        for inner, outer in ((place, read), (read, place)):
            if inner.is_relative_to(outer):
                shown = {source: read, target: place}
                real = [f"{name} is {at}" for name, at in shown.items() if isinstance(at, Path) and name != str(at)]
                raise ConfigurationError(
                    f"the data set {target} and {source}, which it would be made of, are one in the other"
                    + (f" ({' and '.join(real)})" if real else "")
                    + ": say an --output-dir beside it"
                )


def _read(source: str) -> list[PurePosixPath | Path]:
    """Where it is read: of an evaluation also where its recordings are, which may be a link."""
    place = _place(source)
    return [place, (place / "recordings").resolve()] if isinstance(place, Path) else [place]


def _place(location: str) -> PurePosixPath | Path:
    """A folder as it really is; of a URL its parts, without a revision of the Hub's."""
    if not is_url(location) or location.startswith(_FILE):
        return Path(location.removeprefix(_FILE)).expanduser().resolve()
    scheme, _, path = location.partition("://")
    path = "/".join(part.partition("@")[0] if scheme == "hf" else part for part in path.split("/") if part)
    return PurePosixPath(f"{_SAME.get(scheme, scheme)}:", path)


def choose_episodes(
    options: ConvertOptions, conversion: Conversion, line: Line, passed: Counter[str]
) -> list[SourceEpisode]:
    """Those that were asked for; ``passed``: why → how many others there are.

    Raises ConfigurationError where there is none.
    """
    others = open_source(options.source, _mapped(options.map), line.show)
    if others is None:
        if options.map:
            raise UsageError("--map is for a data set; --codec.map gives a recording's camera another name")
        recordings = Recordings(Path(options.source).expanduser(), options.score, options.clips, line.aside)
        episodes = list(recordings.episodes())
        passed.update(recordings.left_out)
    else:
        episodes = _of_others(others, options, conversion, passed)
        passed.update(others.left_out)
    if options.query is None:
        return episodes
    meant = Query(options.query).choose([episode.origin for episode in episodes])
    # Of what cannot be read nobody can tell; it says why when it is tried.
    chosen = [episode for episode, wanted in zip(episodes, meant, strict=True) if wanted or not episode.origin]
    passed["query"] += len(episodes) - len(chosen)
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


def _of_others(
    source: EpisodeSource, options: ConvertOptions, conversion: Conversion, passed: Counter[str]
) -> list[SourceEpisode]:
    if options.clips:
        raise UsageError("--clips takes what was cut out of recordings, and this is a data set")
    if source.fps is not None and conversion.fps > source.fps * (1 + 1e-6):
        raise ConfigurationError(
            f"{options.source} has {source.fps:g} frames a second, and {conversion.fps:g} are asked for: some would be "
            f"taken twice; say --fps {source.fps:g}, or less"
        )
    episodes = list(source.episodes())
    chosen = [each for each in episodes if not options.score or each.origin.get("outcome") in options.score]
    passed["another_outcome"] += len(episodes) - len(chosen)
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
