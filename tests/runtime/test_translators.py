"""What is translated beside a model's thread, and whom it can harm."""

import numpy as np
from model_bench import Asked, run, until
from offboard_core import NoParams
from offboard_core.runtime import thread
from offboard_core.runtime.exchange import Route
from offboard_core.runtime.stats import SessionStats
from puppets import PATIENCE, Door, PlainWire, Puppet, bound
from slot_bed import bed, turns


class Hangs(PlainWire):
    """Its translation does not return."""

    def __init__(self, door):
        self.door = door

    def read(self, frame):
        self.door.passing()
        return super().read(frame)


async def beside_a_call(made, lease, door, wires):
    """Exchanges that come while the model is in its second call, so that what they bring is translated beside it."""
    model = lease.loaded

    async def ask(wire):
        episode = await model.thread.call(lambda: model.policy.new_session(NoParams()), PATIENCE, "an episode")
        return Route(episode, bound(None), lambda: wire, SessionStats(made.stats))

    first, second, *routes = [await ask(wire) for wire in (PlainWire(), PlainWire(), *wires)]
    await Asked(model.thread, first, {"x": np.zeros(1)}, None).reply()
    busy = Asked(model.thread, second, {"x": np.zeros(1)}, None)
    await until(door.entered)
    beside = [Asked(model.thread, route, {"x": np.zeros(1)}, None) for route in routes]
    await turns()
    door.open()
    await busy.reply()
    return beside


def test_translations_that_never_return_keep_no_other_model_from_answering(monkeypatch):
    monkeypatch.setattr(thread, "WORTH_OVERLAPPING", 0.0)

    async def main():
        with Door() as never, Door() as in_a, Door() as in_b:
            async with bed() as made:
                a = await made.have("a", make=lambda: Puppet(doors={1: in_a}))
                await beside_a_call(made, a, in_a, [Hangs(never), Hangs(never)])
                await until(never.entered)
                made.slot.release(a)
                b = await made.have("b", make=lambda: Puppet(doors={1: in_b}))
                (asked,) = await beside_a_call(made, b, in_b, [PlainWire()])
                chunk, _ = await asked.reply()
                assert chunk.columns()["action"].shape == (2, 3)

    run(main())
