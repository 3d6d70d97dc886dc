"""What cannot be told to a worker, or may not, is refused before anything is started."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
from offboard_client.errors import ConfigurationError, LoadFailed
from offboard_core import Checkpoint, CheckpointLoader, LoaderEntry, hookimpl
from offboard_core.catalog import from_flags
from offboard_core.plugins import Plugins
from offboard_core.types import ALONE
from offboard_core.workers import Isolation


@dataclass(frozen=True)
class Options:
    rate: int = 1
    thing: Any = None


class Loader(CheckpointLoader):
    def __init__(self, options):
        pass

    def load(self, checkpoint, report, place):
        raise AssertionError


def isolated(factory=Loader, inherit=(), **options):
    @hookimpl
    def offboard_checkpoint_loaders():
        yield LoaderEntry(name="arm", summary="", factory=factory, options=Options, inherit=inherit)

    plugins = Plugins.of(arm=SimpleNamespace(offboard_checkpoint_loaders=offboard_checkpoint_loaders))
    return from_flags(plugins, vendor="arm", codec="native", loader_options=options, isolation=Isolation())


def test_what_crosses():
    isolated(inherit=("ARM_*", "ARM_TOKEN"), rate=2, thing={"a": [1, 2.5]})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"thing": object()}, r"its option thing does not cross to one: a builtins\.object; plain data crosses"),
        ({"thing": {1, 2}}, r"its option thing .*: a builtins\.set"),
        ({"rate": 1 << 70}, r"its option rate does not cross to one"),
        (
            {"thing": "x" * (1 << 24)},
            r"its option thing .*: 16,777,\d+ bytes beside the arrays; at most 16,777,216 cross",
        ),
    ],
    ids=["object", "set", "large", "long"],
)
def test_an_option_that_does_not(options, said):
    with pytest.raises(ConfigurationError, match=rf"the vendor arm cannot run in a worker: {said}"):
        isolated(**options)


def nameless(options):
    """It is another one than the one of its name."""
    return Loader(options)


nameless.__qualname__ = "Loader"


def test_a_loader_without_a_name():
    with pytest.raises(ConfigurationError, match=r"its factory is <function.*let its LoaderEntry say factory="):
        isolated(factory=nameless)


def test_the_servers_token_is_no_vendors_business():
    with pytest.raises(ConfigurationError, match=r"the vendor arm .*: its .*inherit names OFFBOARD_AUTH_TOKEN, which"):
        isolated(inherit=("OFFBOARD_AUTH_TOKEN",))


def test_a_checkpoint_that_cannot_be_told():
    source = isolated()
    with pytest.raises(
        LoadFailed, match=r"odd cannot be told to a worker: its registry says a builtins\.set"
    ) as raised:
        source.loader.check(Checkpoint(id="odd", extras={"seen": {1}}))
    assert raised.value.permanent
    source.loader.check(Checkpoint(id="even", extras={"seen": [1]}))


def test_one_that_is_loaded_nevertheless_is_not_tried_again():
    with pytest.raises(LoadFailed, match="what arm's worker is to load does not cross") as raised:
        isolated().loader.load(Checkpoint(id="odd", extras={"seen": {1}}), print, ALONE)
    assert raised.value.permanent
