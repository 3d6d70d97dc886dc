"""A service without a transport, and sessions on it."""

from contextlib import asynccontextmanager

import numpy as np
from offboard_core import Checkpoint, ModelRegistry
from offboard_core.catalog import ModelSource
from offboard_core.engine import PolicyService, ServiceTimeouts
from puppets import PlainSerializer, Puppet, PuppetLoader, source

X = {"x": np.zeros(3)}


@asynccontextmanager
async def serving(*sources, observers=None, **limits):
    named = {f"s{i}": one for i, one in enumerate(sources)} if len(sources) > 1 else {"only": sources[0]}
    service = PolicyService(named, ServiceTimeouts(status_every=0.01, **limits), observers)
    await service.start()
    try:
        yield service
    finally:
        await service.close()


async def open_session(service, model_id=None, *params):
    async def hear(status):
        pass

    return await service.open(
        model_id, params, serializer=lambda codec: PlainSerializer(), holder="a test", on_status=hear
    )


class Growing(ModelRegistry):
    """A folder in which checkpoints appear, and are written anew: ``recorded`` is what lies beside each."""

    def __init__(self, *ids):
        self.ids = list(ids)
        self.recorded = {}
        self.fault = None

    def checkpoints(self):
        if self.fault is not None:
            raise self.fault
        return [Checkpoint(id=name, recorded=dict(self.recorded)) for name in self.ids]


def growing(registry):
    plain = source({})

    class Any_(PuppetLoader):
        def load(self, checkpoint, report, place):
            return Puppet()

    return ModelSource(vendor="puppet", registry=registry, loader=Any_({}), codec=plain.codec)
