"""The policy type ``offboard``: the policy of any offboard server, or of a stock openpi server."""

# LeRobot leaves what its configs are made of untyped.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false

from __future__ import annotations

from dataclasses import dataclass, field

from lerobot.configs.policies import PreTrainedConfig
from offboard_client.chunks import choose_strategy
from offboard_client.errors import ConfigurationError

from .settings import SEQUENTIAL, RemoteConfig


@PreTrainedConfig.register_subclass("offboard")
@dataclass
class OffboardConfig(RemoteConfig):
    """``--policy.type=offboard --policy.url=gpu-box:8000``.

    ``url``: a name, ``name:port`` or a whole URL; ``openpi://name:port`` for a stock openpi server.
    ``model_id``: which model of the server; None: its default. ``token``: by default ``OFFBOARD_AUTH_TOKEN``, which no
    list of processes shows. ``params``: session parameters (``codec.fps: 30``).
    ``map``: the server's name → what LeRobot has there: ``observation.images.front``, ``observation.state[0:7]``,
    ``action[7]``. ``chunks``: which chunk strategy makes one stream of the policy's answers; with ``sequential``
    ``n_action_steps`` says how many steps of a chunk are played; None: all.
    ``images``, ``resize``: as of the client. ``openpi_layout``, ``openpi_keys``, ``openpi_actions``,
    ``openpi_channels_first``: what an openpi server does not say; without them it gets LeRobot's own names.
    """

    url: str = ""
    model_id: str | None = None
    token: str | None = None
    params: dict[str, str] = field(default_factory=dict[str, str])
    map: dict[str, str] = field(default_factory=dict[str, str])
    chunks: str = SEQUENTIAL
    n_action_steps: int | None = None
    images: str = "raw"
    resize: int | None = None
    openpi_layout: str | None = None
    openpi_keys: list[str] = field(default_factory=list[str])
    openpi_actions: list[str] = field(default_factory=list[str])
    openpi_channels_first: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.url:
            raise ConfigurationError("where is the server? --policy.url=HOST:PORT, or openpi://HOST:PORT")
        if self.n_action_steps is not None and self.n_action_steps < 1:
            raise ConfigurationError(f"--policy.n_action_steps is {self.n_action_steps}; expected 1 or more")
        choose_strategy(self.chunks)
        if self.chunks != SEQUENTIAL and self.n_action_steps is not None:
            raise ConfigurationError(
                f"--policy.n_action_steps says how {SEQUENTIAL} plays; {self.chunks} decides itself"
            )
        # LeRobot writes its configs into logs and data sets.
        self._token, self.token = self.token, None

    @property
    def host(self) -> str:
        """See :class:`RemoteConfig`."""
        return self.url

    @property
    def steps(self) -> int | None:
        """See :class:`RemoteConfig`."""
        return self.n_action_steps

    @property
    def strategy(self) -> str:
        """See :class:`RemoteConfig`."""
        return self.chunks

    @property
    def secret(self) -> str | None:
        """The token, if one was given."""
        return self._token
