"""What both policy types are told on LeRobot's command lines."""

# LeRobot leaves what its configs are made of untyped.
# pyright: reportMissingTypeStubs=false, reportUntypedBaseClass=false

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from lerobot.configs.policies import PreTrainedConfig
from offboard_client.errors import ConfigurationError

RAISE, HOLD, SEQUENTIAL = "raise", "hold", "sequential"
_WITHOUT_WEIGHTS = "what an offboard server plays is trained where the server is: there is nothing to train here"


@dataclass
class RemoteConfig(PreTrainedConfig):
    """The fields that both types have.

    ``names``: the robot's motors in its own order, where LeRobot does not tell them and there is no robot to look at.
    ``fps``: how often per second LeRobot plays an action (its --fps), where it does not tell.
    ``units``: what the robot's joints count in, ``degrees`` or ``range``, where the robot does not say.
    ``task``: the instruction, instead of LeRobot's. ``on_failure``: ``raise``, or ``hold``: the robot is sent where it
    stood, until the episode is over. ``timeout``: seconds for one answer; ``load_timeout``: until
    the model is there; ``connect_timeout``: for one connection.
    """

    device: str | None = "cpu"
    names: list[str] | None = None
    fps: float | None = None
    units: str | None = None
    task: str | None = None
    on_failure: str = RAISE
    timeout: float = 30.0
    load_timeout: float = 900.0
    connect_timeout: float = 10.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_one_of("on_failure", self.on_failure, (RAISE, HOLD))
        if self.units is not None:
            self._check_one_of("units", self.units, ("degrees", "range"))
        for name in ("timeout", "load_timeout", "connect_timeout", "fps"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ConfigurationError(f"--policy.{name} is {value:g}; expected a number above 0")
        if self.use_peft or self.pretrained_path is not None:
            raise ConfigurationError(
                f"a policy of the type {self.type} has no weights here: give --policy.type={self.type} and where the "
                "server is, and no --policy.path"
            )

    @property
    def host(self) -> str:
        """The server's address."""
        raise NotImplementedError

    @property
    def steps(self) -> int | None:
        """How many steps of a chunk ``select_action`` plays; None: all."""
        raise NotImplementedError

    @property
    def strategy(self) -> str:
        """How ``select_action`` makes one stream of steps of the policy's chunks."""
        return SEQUENTIAL

    @staticmethod
    def _check_one_of(name: str, value: Any, known: tuple[str, ...]) -> None:
        if value not in known:
            raise ConfigurationError(f"--policy.{name} is {value!r:.60}; expected {' or '.join(known)}")

    @property
    def compile_model(self) -> bool:
        """False. LeRobot sets it to what ``--use_torch_compile`` says; true raises ConfigurationError."""
        return False

    @compile_model.setter
    def compile_model(self, wanted: bool) -> None:
        if wanted:
            raise ConfigurationError("there is no model here to be compiled: leave --use_torch_compile out")

    # -- what LeRobot asks of a config -----------------------------------------------------------------
    @property
    def observation_delta_indices(self) -> None:
        """None: one observation."""
        return

    @property
    def action_delta_indices(self) -> None:
        """None: nothing is trained."""
        return

    @property
    def reward_delta_indices(self) -> None:
        """None."""
        return

    def get_optimizer_preset(self) -> Any:
        """Raises ConfigurationError."""
        raise ConfigurationError(_WITHOUT_WEIGHTS)

    def get_scheduler_preset(self) -> None:
        """None."""
        return

    def validate_features(self) -> None:
        """They are held against what the server says of its model."""
