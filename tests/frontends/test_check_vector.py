"""A model that reads a robot's own names answers as many numbers as that plays, or is refused."""

from __future__ import annotations

import pytest
from offboard_client.errors import DialectUnsupported
from offboard_core import Codec, CodecMeta, Field
from offboard_core.frontends import ResolvedCodec, check_vector
from offboard_lerobot.pathon.bridge import bridge as pathon
from offboard_lerobot.pathon.keysets import KEYSETS as PATHON
from offboard_openpi.bridge import bridge as openpi
from offboard_openpi.keysets import KEYSETS as OPENPI
from offboard_vla_eval.benchmarks import KEYSETS as VLA_EVAL
from offboard_vla_eval.bridge import bridge as vla_eval

ROBOTS = [(pathon, PATHON["ee"]), (vla_eval, VLA_EVAL["libero"]), (openpi, OPENPI["libero"])]


class Declared(Codec):
    """Declares, and changes nothing."""

    meta = CodecMeta()

    def __init__(self, meta: CodecMeta) -> None:
        self.meta = meta

    def encode(self, observation):
        return dict(observation)

    def decode(self, chunk, observation):
        return chunk


def own(keys: object, **widths: int | None) -> ResolvedCodec:
    """A model that reads the robot's own names; its actions and their widths, None where it does not say."""
    observation = keys.fields(keys.provides)
    action = {name: Field(shape=None if width is None else (width,)) for name, width in widths.items()}
    return ResolvedCodec(Declared(CodecMeta(observation=observation, action=action)), "puppet.own", "default")


@pytest.mark.parametrize(("bridge", "keys"), ROBOTS, ids=["pathon", "vla-eval", "openpi"])
def test_another_width_is_refused(bridge, keys) -> None:
    whole = sum(keys.layout.values())
    for widths in ({"a": whole}, {"a": whole - 1, "b": 1}, {"a": whole - 1, "b": None}, {}):
        bridge(keys, own(keys, **widths))
    with pytest.raises(DialectUnsupported, match=rf"the model answers a \({whole - 1}\)$"):
        bridge(keys, own(keys, a=whole - 1))


def test_what_to_try_comes_first() -> None:
    keys = OPENPI["libero"]
    with pytest.raises(
        DialectUnsupported, match=r"^try that: the robot plays .*, the model answers a \(1\), b \(99\)$"
    ):
        check_vector(keys, own(keys, a=1, b=99), "try that: ")
