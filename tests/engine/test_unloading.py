"""A model's memory is free before the next model is loaded, whatever the collector is doing just then."""

import gc
import threading
import weakref

from model_bench import run
from offboard_core.engine import ModelSpec
from puppets import Door, Puppet, reached
from slot_bed import Want, becomes, bed


class Lingering:
    """Garbage whose finalizer holds up the collection that finds it."""

    def __init__(self, door):
        self.cycle, self.door = self, door

    def __del__(self):
        self.door.passing()


def collect_garbage(door):
    Lingering(door)
    gc.collect()


def test_a_model_is_freed_though_another_thread_is_collecting():
    async def main():
        found, left = [], []

        def load_x(report, place):
            policy = Puppet()
            policy.cycle = policy
            found.append(weakref.ref(policy))
            return policy

        def load_y(report, place):
            left.append(found[0]())
            return Puppet()

        with Door() as door:
            async with bed() as b:
                lease = await Want(b.slot, ModelSpec(("test", "x"), "x", load_x), "a robot").lease()
                thread = lease.replica.executor
                collecting = threading.Thread(target=collect_garbage, args=[door])
                collecting.start()
                reached(door.entered)
                b.slot.release(lease)
                del lease
                want = Want(b.slot, ModelSpec(("test", "y"), "y", load_y), "a robot")
                await becomes(lambda: left or thread.busy_for() > 0.1)
                door.open()
                await want.lease()
                collecting.join()
        assert left == [None]

    gc.disable()  # no collection but those of the test
    try:
        run(main())
    finally:
        gc.enable()
