"""An arm that plays in real time through whatever a network, a server and other robots do to its policy."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import numpy as np
import pytest
from fault_proxy import FaultProxy
from offboard_client import InferenceClient, OffboardError
from offboard_client.cli import table
from offboard_client.drivers import Playing, RunLength, TimedDriver
from offboard_client.errors import BY_CODE
from offboard_client.play import LOSSES, Controls, Patience, Quit, Report, SafetyLimits
from offboard_client.robots import connected
from offboard_core import InferenceServer
from offboard_core.process import free_port
from puppets import PATIENCE, source, until
from real_time_arm import FASTEST, FPS, INPUTS, OUTPUTS, PERIOD, RADIUS, STEPS, GoesOn, RealTimeArm
from rich.console import Console

LIMITS = SafetyLimits(workspace_low=None, workspace_high=None, joint_velocity=FASTEST)
#: Seconds that a fault lasts that has an end.
LASTS = 0.4


class Weather:
    """A server behind a proxy, and what may happen to them: each fault by its name, for so many seconds."""

    def __init__(self, stack: ExitStack, centre: Any) -> None:
        self.numbers: dict[str, list[int]] = {"robots": [], "rivals": []}
        models = {
            "robots": lambda: GoesOn(self.numbers["robots"], centre=centre),
            "rivals": lambda: GoesOn(self.numbers["rivals"], -1.0),
        }
        self.served = source(models, inputs=INPUTS, outputs=OUTPUTS, fps=FPS)
        self.server = InferenceServer({"it": self.served}, port=free_port()).start()
        stack.callback(self.end)
        self.proxy = stack.enter_context(FaultProxy(self.server.port))
        self.over = threading.Event()
        self.done: list[str] = []

    def end(self) -> None:
        self.server.stop()

    def delay(self, random: random.Random) -> None:
        self.proxy.delay = random.uniform(0.05, 0.3)
        self.over.wait(4 * LASTS)
        self.proxy.delay = 0.0

    def stall(self, random: random.Random) -> None:
        self.proxy.stall()
        self.over.wait(LASTS * random.uniform(1, 4))
        self.proxy.flow()

    def reset(self, random: random.Random) -> None:
        self.proxy.reset()

    def cut(self, random: random.Random) -> None:
        self.proxy.cut()

    def half_open(self, random: random.Random) -> None:
        self.proxy.half_open()

    def garbage(self, random: random.Random) -> None:
        junk = random.randbytes(random.randint(1, 100))
        # Bytes that are none of WebSocket's, or a whole message of it that says nothing.
        self.proxy.garble(junk if random.random() < 0.5 else bytes([0x82, len(junk)]) + junk)

    def restart(self, random: random.Random) -> None:
        self.server.stop()
        self.over.wait(LASTS * random.uniform(0, 2))
        # What a robot is told of it is to be the same.
        self.server = InferenceServer({"it": self.served}, port=self.server.port).start()

    def switch(self, random: random.Random) -> None:
        """Another robot has another model loaded in place of this one's."""
        self.proxy.stall()
        self.proxy.cut()
        with (
            InferenceClient("127.0.0.1", self.server.port, connect_deadline=PATIENCE) as client,
            suppress(OffboardError),
            client.new_session("rivals") as session,
        ):
            session.infer({"robot_state.q": np.zeros(3, np.float32), "number": np.zeros(1, np.float32)})
            self.proxy.flow()
            self.over.wait(LASTS * random.uniform(1, 3))
        self.proxy.flow()

    def blow(self, faults: list[str], seed: int, between: float) -> None:
        """One after the other, with some calm before each."""
        chance = random.Random(seed)
        for name in faults:
            if self.over.wait(chance.uniform(0.5, 1.5) * between):
                return
            self.done.append(name)
            getattr(self, name)(chance)


FAULTS = ("delay", "stall", "reset", "cut", "half_open", "garbage", "restart", "switch")


@contextmanager
def weather(centre: Any) -> Generator[Weather]:
    with ExitStack() as stack:
        made = Weather(stack, centre)
        stack.callback(made.over.set)
        yield made


class Run:
    """One episode through a schedule of faults. ``horizon``: as the driver's ``horizon_sec``."""

    def __init__(
        self, chunks: str, faults: list[str], seed: int, horizon: float | None = None, arm: Any = None,
        centre: Any = None,
    ) -> None:  # fmt: skip
        self.arm, self.report, self.controls = arm or RealTimeArm(), Report(), Controls()
        self.plays_again = False
        self.horizon = STEPS / FPS if horizon is None else horizon
        robot: Any = self.arm
        playing = Playing(chunks, horizon_sec=horizon, patience=Patience(20.0, 30.0))
        with weather(centre) as self.weather:
            options = {"infer_timeout": 1.0, "connect_timeout": 2.0, "reconnect_deadline": 2.0}
            with (
                InferenceClient("127.0.0.1", self.weather.proxy.port, **options) as client,
                client.new_session("robots") as session,
            ):
                driver = TimedDriver(
                    session, robot, robot, limits=LIMITS, observers=[self.report], playing=playing,
                    controls=self.controls, clock=time.monotonic,
                )  # fmt: skip
                blowing = threading.Thread(target=self._blow, args=(faults, seed))
                blowing.start()
                try:
                    with suppress(OffboardError):
                        driver.run(RunLength(seconds=3 * PATIENCE))
                finally:
                    self.weather.over.set()
                    blowing.join(PATIENCE)
                    assert not blowing.is_alive()

    def _blow(self, faults: list[str], seed: int) -> None:
        self.weather.blow(faults, seed, 1.0)
        # Whatever is made of an observation after the last fault.
        after = len(self.arm.seen)
        until(lambda: self.weather.over.is_set() or self.arm.newest >= after, "it plays again")
        self.plays_again = self.arm.newest >= after
        self.controls.post(Quit())

    def check(self) -> None:
        played = self.arm.played
        path = np.concatenate([each.set_points[1:] for each in played])
        assert np.isfinite(path).all()
        fastest = np.abs(np.diff(path, axis=0)).max() / self.arm.control_period
        assert fastest <= FASTEST * (1 + 1e-6), "no joint is faster than its limit"
        if isinstance(self.arm, RealTimeArm):  # which goes straight on
            assert (np.diff(path, axis=0) >= -1e-6).all(), "and nothing of another model is played"
        for each in played:
            if each.number is not None:
                age = each.began - self.arm.seen[each.number]
                assert age < self.horizon + PERIOD + 1 / FPS / 4, "nothing is older than its chunk"
        sent = Counter(self.weather.numbers["robots"])
        assert set(sent.values()) == {1}, "no observation is sent twice"
        (episode,) = self.report.episodes
        # What the weather is to blame for, and not what was made of the policy's answers, which are smooth.
        assert episode.failure is None or issubclass(BY_CODE[episode.failure[0]], LOSSES), episode.failure
        assert episode.failure is not None or self.plays_again


def shuffled(seed: int, times: int = 1) -> list[str]:
    """Every fault so many times."""
    return random.Random(seed).sample(FAULTS * times, times * len(FAULTS))


def test_through_every_fault_the_arm_keeps_its_limits_and_plays_again() -> None:
    run = Run("latest", shuffled(seed=1), seed=1, horizon=0.6)
    run.check()
    assert sorted(run.weather.done) == sorted(FAULTS)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("chunks", ["sequential", "prefetch", "latest", "blend", "ensemble", "rtc"])
def test_through_long_weather_it_does_so_with_every_strategy(chunks: str, seed: int) -> None:
    run = Run(chunks, shuffled(seed, 3), seed, horizon=1.0 if seed % 2 else None)
    console = Console(width=120)
    console.print(f"{chunks}, seed {seed}: {', '.join(run.weather.done)}")
    console.print(table(run.report))
    run.check()


@pytest.mark.slow
@pytest.mark.parametrize("chunks", ["prefetch", "latest", "ensemble"])
def test_the_simulated_arm_does_so_too(chunks: str) -> None:
    pytest.importorskip("mujoco")
    from real_time_sim import RealTimeSim

    with connected(RealTimeSim()) as arm:
        centre = arm.state()["robot_state.q"][:2] - [0, RADIUS]
        run = Run(chunks, shuffled(5), 5, arm=arm, centre=centre)
    console = Console(width=120)
    console.print(f"{chunks}: {', '.join(run.weather.done)}")
    console.print(table(run.report))
    run.check()
