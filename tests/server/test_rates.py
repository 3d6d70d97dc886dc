"""A rate that clients refuse is refused where it is given, whoever gives it."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from offboard_client import BadParameter, ConfigurationError, InferenceClient, LoadFailed
from offboard_client.plugins import build
from offboard_client.protocol import FPS_RANGE, check_meta
from offboard_core import Chunk, Codec, CodecEntry, CodecMeta, InferenceServer, hookimpl
from offboard_core.catalog import from_callables
from offboard_core.cli import record_of
from offboard_core.codecs import ActionTiming, NativeOptions
from offboard_core.plugins import TRAINER, Plugins
from offboard_core.types import Checkpoint
from puppets import Puppet, source

LOW, HIGH = FPS_RANGE
REFUSED = [0, -10.0, float("nan"), float("inf"), 0.99 * LOW, 1.01 * HIGH, 1e-9, 1e9]
WORDS = r"expected steps per second from 0\.01 to 10,000"
#: Options say so of every number.
NOT_FINITE = "expects a number.*, not (NaN|Infinity)"

pytestmark = pytest.mark.rule("M-21")


@dataclass(frozen=True)
class OwnRate(Codec):
    rate: Any

    @property
    def meta(self):
        return CodecMeta(action_fps=self.rate)

    def encode(self, observation):
        return dict(observation)

    def decode(self, chunk, observation):
        return chunk


def plays(rate):
    """A plugin whose codec declares this rate, whatever it is."""

    class Plugin:
        @hookimpl
        def offboard_codecs(self):
            yield CodecEntry(name="own", summary="Its own rate.", factory=lambda options, checkpoint: OwnRate(rate))

    return Plugin()


@pytest.mark.parametrize("rate", REFUSED)
def test_a_rate_is_refused_where_it_is_given(rate):
    with pytest.raises(ConfigurationError, match=WORDS):
        InferenceServer({"a": Puppet}, fps=rate)
    with pytest.raises(ConfigurationError, match=f"{WORDS}|{NOT_FINITE}"):
        build(NativeOptions, {"fps": rate}, "the codec core.native", ConfigurationError)
    with pytest.raises(ValueError, match=WORDS):
        ActionTiming(rate)


@pytest.mark.parametrize("rate", [*REFUSED, "15", True, np.float32(15)])
def test_a_plugins_own_rate_is_refused_before_the_server_listens(rate):
    served = source({"a": Puppet}, codec="own", plugin=plays(rate))
    with pytest.raises(ConfigurationError, match=rf"puppet\.own makes actions at a rate that no client plays.*{WORDS}"):
        served.codec.resolve(served.default(), {})


@pytest.mark.parametrize("rate", [LOW, 15, HIGH])
def test_a_rate_within_the_bounds_is_sent_as_it_is(rate):
    for served in (from_callables({"a": Puppet}, fps=rate), source({"a": Puppet}, codec="own", plugin=plays(rate))):
        resolved = served.codec.resolve(served.default(), {})
        assert resolved.meta.action_fps == rate
        check_meta({"action_fps": resolved.meta.action_fps})


def test_what_a_session_asks_for_is_refused_to_that_session():
    with (
        InferenceServer({"a": lambda: lambda _: Chunk(np.zeros((1, 2)))}, port=0, fps=10) as server,
        InferenceClient(server.host, server.port) as client,
    ):
        for rate in (1e-9, 1e9, 0):
            with pytest.raises(BadParameter, match=WORDS):
                client.new_session(**{"codec.fps": rate})
        with client.new_session(**{"codec.fps": LOW}) as session:
            assert session.metadata["action_fps"] == LOW


@pytest.mark.parametrize(
    ("facts", "field"),
    [
        ({"chunk_length": 0}, r"meta\.chunk_length is 0"),
        ({"device": 0}, r"meta\.device is 0 \(int\)"),
        ({"scale": float("nan")}, "no plain JSON data with finite numbers"),
    ],
)
def test_no_handshake_is_sent_that_a_client_refuses(facts, field):
    served = source({"a": lambda: Puppet(meta=facts)})
    with (
        InferenceServer({"": served}, port=0) as server,
        InferenceClient(server.host, server.port) as client,
        pytest.raises(LoadFailed, match=field),
    ):
        client.new_session()


def test_training_records_no_rate_that_will_not_be_served():
    plugins = Plugins.discover()
    offer = next(offer for offer in plugins.offers(TRAINER) if offer.name == "openpi")
    assert record_of(plugins, offer, None, 20.0)["action_fps"] == 20.0
    for rate in REFUSED:
        with pytest.raises(ConfigurationError, match=f"{WORDS}|{NOT_FINITE}"):
            record_of(plugins, offer, None, rate)


def test_the_shapes_that_files_declare_are_held_to_the_same():
    served = source({"a": Puppet}, checkpoints=[replace(Checkpoint(id="a"), chunk_length=-1)])
    with (
        InferenceServer({"": served}, port=0) as server,
        InferenceClient(server.host, server.port) as client,
        pytest.raises(LoadFailed, match=r"meta\.chunk_length is -1"),
    ):
        client.new_session()
