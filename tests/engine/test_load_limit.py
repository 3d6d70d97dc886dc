"""How long a load may take: as long as there is news of it."""

import contextlib
import queue

import pytest
from model_bench import run_by_hand, until
from offboard_client.errors import LoadFailed
from offboard_core.engine import ServiceTimeouts
from offboard_core.types import Progress
from puppets import PATIENCE, Door, Puppet
from slot_bed import Want, becomes, bed, turns

LIMIT = 1200.0


class Told:
    """A load that says what it is given, and ends when it is given a policy."""

    def __init__(self):
        self.words = queue.SimpleQueue()

    def __call__(self, report, place):
        while isinstance(word := self.words.get(timeout=PATIENCE), str):
            report(word)
        return word


def wanted(b, name, load):
    spec = b.spec(name)
    return Want(b.slot, type(spec)(spec.key, spec.label, load), "a robot")


def test_a_load_may_take_any_time_while_there_is_news_of_it():
    told = Told()

    async def main(clock):
        async with bed(load=LIMIT) as b:
            want = wanted(b, "x", told)
            for done in range(5):
                word = Progress("fetching x", done * 10**9, 10**10)
                told.words.put(word)
                await becomes(lambda word=word: b.slot.status()["loading"] and _heard(b, word))
                clock.move(LIMIT - 1)
                await turns()
                assert want.waits
            told.words.put("fetching x: the same word")
            told.words.put("fetching x: the same word")
            await becomes(lambda: _heard(b, "fetching x: the same word"))
            told.words.put(Puppet())
            assert (await want.lease()).replica.label == "x"

    def _heard(b, word):
        return b.slot.status()["loading"]["progress"] == word

    run_by_hand(main)


@pytest.mark.parametrize("said", [[], ["warming up"]])
def test_one_without_news_is_given_up_and_says_at_what(said):
    told = Told()

    async def main(clock):
        async with bed(load=LIMIT) as b:
            want = wanted(b, "x", told)
            await want.hears("loading")
            for word in said:
                told.words.put(word)
                await want.hears("loading", word)
            await turns()
            clock.move(LIMIT + 100)
            with pytest.raises(LoadFailed) as caught:
                await want.lease()
            assert caught.value.text.startswith("x could not be loaded: nothing was heard of it for 13")
            assert f"was last at '{(said or ['starting'])[-1]}'" in caught.value.text
            assert "raise --load-timeout" in caught.value.text
            # What still hangs ends at its next word, and until then nothing is loaded beside it.
            with pytest.raises(LoadFailed, match="x was given up, but its last call has not returned yet"):
                await b.have("y")
            told.words.put("at last")
            while b.slot.loaded is None:
                with contextlib.suppress(LoadFailed):
                    await b.have("y")
            assert b.loads == ["y"]

    run_by_hand(main)


def test_what_a_load_that_was_given_up_brings_later_is_closed():
    async def main(clock):
        with Door() as door:

            def hanging():
                door.passing()
                return Puppet()

            async with bed(load=LIMIT) as b:
                want = b.want("x", make=hanging)
                await until(door.entered)
                clock.move(LIMIT)
                with pytest.raises(LoadFailed, match="x could not be loaded: nothing was heard of it"):
                    await want.lease()
                door.open()
                await becomes(lambda: "x" in b.policies)
                await until(b.policies["x"].closed)

    run_by_hand(main)


def test_the_limit_is_longer_than_what_is_bounded_by_itself():
    from offboard_core import cache
    from offboard_openpi.options import OpenPIOptions

    assert ServiceTimeouts().load > max(cache.PATIENCE, OpenPIOptions().startup_timeout)
