"""Core's policy without a server passes the kit that third parties' policies inherit."""

from offboard_client.cli import synthetic_observation
from offboard_client.testing import PolicyConformance


class TestLocal(PolicyConformance):
    name = "local:scripted"
    light = frozenset({"pluggy"})

    def observation(self, meta):
        return synthetic_observation(meta)
