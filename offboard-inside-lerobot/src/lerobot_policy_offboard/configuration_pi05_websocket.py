"""The policy type ``pi05_websocket``: a stock openpi server, sent LeRobot's names with slashes for their dots."""

# LeRobot leaves what its configs are made of untyped.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false

from __future__ import annotations

from dataclasses import dataclass

from lerobot.configs.policies import PreTrainedConfig
from offboard_client.errors import ConfigurationError

from .settings import RemoteConfig


@PreTrainedConfig.register_subclass("pi05_websocket")
@dataclass
class PI05WebSocketConfig(RemoteConfig):
    """``--policy.type=pi05_websocket --policy.websocket_url=ws://gpu-box:8000``.

    ``timeout``: seconds for one answer, the first of which may have to wait for a compilation. ``action_horizon``: how
    many steps of a chunk are played.
    """

    websocket_url: str = "ws://localhost:8000"
    timeout: float = 5.0
    action_horizon: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.action_horizon < 1:
            raise ConfigurationError(f"--policy.action_horizon is {self.action_horizon}; expected 1 or more")

    @property
    def host(self) -> str:
        """See :class:`RemoteConfig`."""
        return f"openpi:{self.websocket_url}"

    @property
    def steps(self) -> int | None:
        """See :class:`RemoteConfig`."""
        return self.action_horizon
