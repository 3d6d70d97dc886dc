"""Which checkpoints of GR00T lie at a place."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from offboard_client.errors import ConfigurationError, LoadFailed, ModelNotFound
from offboard_core.checkpoints import Incomplete, LocalPlace, Place, check_listed, numbered_folders
from offboard_core.checkpoints.remote import RemotePlace, is_url, open_folder, open_place
from offboard_core.types import Checkpoint, ModelRegistry

from . import files
from .checkpoint import Contents, described, read, read_contents
from .generation import Generation


class GR00TRegistry(ModelRegistry):
    """The checkpoints of a training run, by number; or the one that ``location`` itself is.

    ``location``: a folder, ``s3://…``, ``gs://…`` or ``hf://org/name@revision``. ``checkpoint-2000`` is called
    ``2000``, as Positronic's clients ask for it; copies of the best ones keep their names, come before all others and
    are the default only where there are no others. What is half written is not listed. Remote ones are listed where
    they are, and fetched when they are loaded.
    """

    def __init__(self, location: str) -> None:
        self._place: _Local | _Remote = _Remote(location) if is_url(location) else _Local(Path(location).expanduser())

    def checkpoints(self) -> Sequence[Checkpoint]:
        """The complete ones, oldest first. Raises ConfigurationError if there is none, or nowhere to look."""
        return self._place.checkpoints()

    def resolve(self, model_id: str) -> Checkpoint:
        """See :meth:`ModelRegistry.resolve`; ``checkpoint-2000`` finds ``2000``, too.

        For one that is there but not complete the error says why.
        """
        number = model_id.removeprefix(files.PREFIX)
        try:
            return super().resolve(number if number.isascii() and number.isdigit() else model_id)
        except ModelNotFound:
            if problem := self._place.problem(model_id):
                raise ModelNotFound(f"the checkpoint {model_id[:200]} is no complete checkpoint: {problem}") from None
            raise


def enriched(checkpoint: Checkpoint, tag: str | None, told: Generation | None = None) -> Checkpoint:
    """What the registry found, as the embodiment ``tag`` has it; that is read anew only where it found another one.

    Raises ConfigurationError.
    """
    is_named = told is not None or "generation" in checkpoint.extras
    has = checkpoint.extras.get("embodiment_tag")
    if not is_named or (has is not None and (tag is None or str(has).lower() == tag.lower())):
        return checkpoint  # which generation it is of has to be told: who loads it says so
    try:
        return described(checkpoint, read(open_place(checkpoint.location), tag, told))
    except Incomplete as error:
        raise ConfigurationError(f"{checkpoint.location} {error.verdict}: {error}") from None


def check_same(place: Place, listed: Checkpoint, enrich: Callable[[Checkpoint], Checkpoint]) -> None:
    """Raises LoadFailed where the files are not those that were listed, of which the codec was made.

    ``enrich``: of the loader, which has completed ``listed``.
    """
    try:
        contents = read_contents(place)
        if not place.is_local and not contents.recorded:  # the run's record is not looked at from here
            contents = replace(contents, recorded=listed.recorded)
        check_listed(enrich(_made(place, contents, listed.id, listed.experiment)), enrich(listed))
    except Incomplete as error:
        raise LoadFailed(f"{place.location} {error.verdict}: {error}") from None
    except ConfigurationError as error:
        raise LoadFailed(error.text) from None


class _Local:
    def __init__(self, place: Path) -> None:
        self._place = place

    def checkpoints(self) -> list[Checkpoint]:
        names = self._names()
        if not files.is_run(names) and files.is_checkpoint(LocalPlace(self._place)):
            folder = self._place.resolve()
            if isinstance(found := _look(folder), str):
                raise ConfigurationError(f"{folder} is no complete checkpoint: {found}")
            return [_made(LocalPlace(folder), found, _id(folder.name), folder.parent.name)]
        whole: dict[Path, Contents] = {}

        def problem(folder: Path) -> str | None:
            if isinstance(found := _look(folder), str):
                return found
            whole[folder] = found
            return None

        listed = [self._place / name for name in _best(names) if problem(self._place / name) is None]
        try:
            numbered = numbered_folders(self._place, problem, prefix=files.PREFIX, expected=files.EXPECTED)
            listed += [folder for _, folder in numbered]
        except ConfigurationError:
            if not listed:
                raise
        run = self._place.resolve().name
        return [_made(LocalPlace(each.resolve()), whole[each], _id(each.name), run) for each in listed]

    def problem(self, model_id: str) -> str | None:
        looks = (_look(self._place / name) for name in self._names() if files.is_run([name]) and _is(name, model_id))
        return next((look for look in looks if isinstance(look, str)), None)

    def _names(self) -> list[str]:
        with contextlib.suppress(OSError):
            return sorted(os.listdir(self._place))
        return []


class _Remote:
    def __init__(self, url: str) -> None:
        self._root = open_folder(url)
        self._known: dict[str, tuple[tuple[str, ...], Contents | str]] = {}

    def checkpoints(self) -> list[Checkpoint]:
        place = RemotePlace(self._root, self._root.files())
        names = sorted({path.partition("/")[0] for path in place.files if "/" in path})
        if not files.is_run(names) and files.is_checkpoint(place):
            if isinstance(found := self._look(place), str):
                raise ConfigurationError(f"{self._root.url} is no complete checkpoint: {found}")
            return [_made(place, found, _id(self._root.name), self._root.url.rsplit("/", 2)[-2].partition("@")[0])]
        numbered = sorted(
            (name for name in names if name.removeprefix(files.PREFIX).isdigit() and files.is_run([name])),
            key=lambda name: int(name.removeprefix(files.PREFIX)),
        )
        looks = {name: self._look(RemotePlace(self._root, place.files, name)) for name in [*_best(names), *numbered]}
        whole = [
            _made(RemotePlace(self._root, place.files, name), look, _id(name), self._root.name)
            for name, look in looks.items()
            if not isinstance(look, str)
        ]
        if not whole:
            wrong = [f"of {name}, {look}" for name, look in looks.items()][-3:]
            told = (
                f"there is no complete checkpoint in {self._root.url}: it holds {', '.join(names[:8]) or 'nothing'}; "
            )
            raise ConfigurationError(
                told
                + "; ".join([f"expected folders called {files.PREFIX}<number>, each with {files.EXPECTED}", *wrong])
            )
        return whole

    def problem(self, model_id: str) -> str | None:
        looks = (look for path, (_, look) in self._known.items() if path and _is(path, model_id))
        return next((look for look in looks if isinstance(look, str)), None)

    def _look(self, place: RemotePlace) -> Contents | str:
        """What the files say, or what is wrong with them; read again only when they changed."""
        version, known = place.version(), self._known.get(place.path)
        if known is not None and known[0] == version:
            return known[1]
        try:
            look: Contents | str = files.look(place)
        except Incomplete as error:
            look = str(error)
        self._known[place.path] = version, look
        return look


def _best(names: Sequence[str]) -> list[str]:
    found = [(int(match[1]), name) for name in names if (match := files.BEST.fullmatch(name))]
    return [name for _, name in sorted(found)]


def _id(name: str) -> str:
    """``checkpoint-02000`` → ``2000``; a best copy's as it is."""
    number = name.removeprefix(files.PREFIX)
    return str(int(number)) if number.isdigit() else name


def _is(name: str, model_id: str) -> bool:
    return name == model_id or (_id(name).isdigit() and _id(name) == model_id.removeprefix(files.PREFIX).lstrip("0"))


def _look(folder: Path) -> Contents | str:
    """What a checkpoint on this machine says, or what is wrong with it and what to do about that."""
    try:
        return files.look(LocalPlace(folder))
    except Incomplete as error:
        return files.explained(error, folder)


def _made(place: Place, contents: Contents, id: str, run: str) -> Checkpoint:
    """``contents``: of ``place``. Which of several embodiments is meant is left open where nothing says it."""
    found = Checkpoint(
        id=id,
        location=place.location,
        experiment=run,
        type="gr00t",
        recorded=contents.recorded,
        extras={"embodiment_tags": list(contents.embodiments)},
    )
    if contents.generation is None:
        return found
    found = replace(found, extras={"generation": contents.generation.value, **found.extras})
    with contextlib.suppress(ConfigurationError, Incomplete):
        return described(found, contents.meant(None))
    return found
