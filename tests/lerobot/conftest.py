from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from typing import Any

import lerobot_backbones
import pytest
from feetech_bus import FeetechBus
from hub_standin import hub_standin
from lerobot_checkpoints import imported, save_policy
from stand_in_arm import MOTORS, RANGES
from waits import PATIENCE


@pytest.fixture(scope="session")
def lerobot(tmp_path_factory):
    """LeRobot, with the tiny models that it asks the Hub for where it can use such at all."""
    imported()
    if importlib.util.find_spec("transformers") is None:
        yield
        return
    cache = tmp_path_factory.mktemp("hub")
    lerobot_backbones.fill(cache)
    with lerobot_backbones.in_use(cache):
        yield


@pytest.fixture(scope="session")
def run(lerobot, tmp_path_factory):
    """What a training run of ACT left behind: two checkpoints, and the link to the newer one."""
    run = tmp_path_factory.mktemp("train") / "cubes"
    for step, seed in (("000100", 1), ("000200", 2)):
        save_policy(run / "checkpoints" / step / "pretrained_model", "act", seed)
    os.symlink("000200", run / "checkpoints" / "last")
    return run


@pytest.fixture(scope="session")
def act(run):
    return run / "checkpoints" / "000100" / "pretrained_model"


@pytest.fixture(scope="session")
def diffusion(lerobot, tmp_path_factory):
    return save_policy(tmp_path_factory.mktemp("diffusion") / "pretrained_model", "diffusion", 3)


@pytest.fixture
def hub():
    with hub_standin("org/cubes") as hub:
        yield hub


@pytest.fixture
def bucket(store, tmp_path, monkeypatch, request):
    monkeypatch.setenv("OFFBOARD_CACHE", str(tmp_path / "cache"))
    return f"s3://bucket/{request.node.name}"


@pytest.fixture
def bus(lerobot, monkeypatch: pytest.MonkeyPatch) -> Iterator[FeetechBus]:
    """However busy the machine is, who answers is waited for; the driver gives servos 50 ms."""
    bus = FeetechBus({i: RANGES[name] for i, name in enumerate(MOTORS, 1)})

    def is_over(handler: Any) -> bool:
        if handler.getTimeSinceStart() <= (50 if bus.silent or bus.losing else 1000 * PATIENCE):
            return False
        bus.losing = False  # it is given up; the next one may be on the line yet
        return True

    monkeypatch.setattr("scservo_sdk.PortHandler.isPacketTimeout", is_over)
    yield bus
    bus.close()
