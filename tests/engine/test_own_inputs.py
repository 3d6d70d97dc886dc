"""A policy may do what it likes with the lists and maps that it is given: they are its own."""

from collections import OrderedDict
from dataclasses import dataclass, field

import numpy as np
import pytest
from model_bench import Bench, run
from offboard_core import Chunk, CodecMeta
from offboard_core.catalog import ResolvedCodec
from puppets import Declared, Puppet


def frame():
    return {
        "words": ["pick", ["the", "cube"]],
        "where": {"table": ["left"], "shelves": [{"id": 1}]},
        "x": np.zeros(3),
    }


@dataclass(frozen=True)
class ReadsAgain(Declared):
    """``found``: the observations that its ``decode`` was given. Its ``encode`` gives on what it gets."""

    meta: CodecMeta = field(default_factory=CodecMeta)
    found: list = field(default_factory=list)

    def encode(self, observation):
        return observation

    def decode(self, chunk, observation):
        self.found.append(repr(observation))
        return chunk


def scribbles(episode, inputs):
    inputs["words"][1].append("sphere")
    inputs["words"].clear()
    inputs["where"]["shelves"][0]["id"] = 2
    inputs["where"]["table"] = []
    del inputs["x"]
    return Chunk(np.zeros((1, 3)))


@pytest.mark.rule("O-12")
def test_what_a_policy_writes_into_a_list_or_map_does_not_reach_its_codec():
    codec = ReadsAgain()

    async def main():
        async with Bench(Puppet(scribbles)) as bench:
            pipeline = await bench.pipeline()
            pipeline.codec = ResolvedCodec(codec, "puppet.reads_again", "default")
            result, _ = await bench.submit(pipeline, frame()).reply()
            assert isinstance(result, Chunk)

    run(main())
    assert codec.found == [repr(frame())]


def test_arrays_are_given_on_as_they_are():
    sent, seen = frame(), []

    def look(episode, inputs):
        seen.append(inputs["x"])
        return Chunk(np.zeros((1, 3)))

    async def main():
        async with Bench(Puppet(look)) as bench:
            await bench.submit(await bench.pipeline(), sent).reply()

    run(main())
    assert seen[0] is sent["x"]


class Words(list):
    """A codec may make lists and maps of a kind of its own."""


def test_a_list_or_map_of_a_codecs_own_kind_is_made_anew_as_any_other():
    sent = {"words": Words(["pick"]), "where": OrderedDict(table="left")}
    seen = []

    def look(episode, inputs):
        seen.append(inputs)
        return Chunk(np.zeros((1, 3)))

    async def main():
        async with Bench(Puppet(look)) as bench:
            await bench.submit(await bench.pipeline(), sent).reply()

    run(main())
    assert seen[0] == sent
    assert seen[0]["words"] is not sent["words"]
    assert seen[0]["where"] is not sent["where"]
