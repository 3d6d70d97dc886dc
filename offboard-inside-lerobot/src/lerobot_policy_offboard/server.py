"""Sessions with whatever server the config names: one for each robot, or environment, that LeRobot has at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from offboard_client import InferenceClient
from offboard_client.errors import ConfigurationError
from offboard_client.play import PolicySession, Shrinking
from offboard_client.protocol import Instruction, Layout, Part, Picture, Sparse
from offboard_client.session import OpenPIOptions, open_layout, open_openpi
from offboard_client.wire import Status

from .configuration_offboard import OffboardConfig
from .settings import SEQUENTIAL, RemoteConfig
from .side import ACTION, STATE, Side

_OPENPI = "openpi:"


class Server:
    """Opens sessions. ``knows_first``: whether one can be opened before it is known what LeRobot has."""

    def __init__(self, config: RemoteConfig, report: Any) -> None:
        self._config, self._report = config, Sparse(report)
        self._client: InferenceClient | None = None
        offboard = config if isinstance(config, OffboardConfig) else None
        self._offboard = offboard
        if not config.host.startswith(_OPENPI):
            assert offboard is not None
            self._client = InferenceClient(
                offboard.url,
                auth_token=offboard.secret,
                params=dict(offboard.params),
                prepare=Shrinking(offboard.resize),
                images=offboard.images,
                on_status=self._report,
                connect_timeout=offboard.connect_timeout,
                connect_deadline=offboard.load_timeout,
                infer_timeout=offboard.timeout,
            )

    @property
    def knows_first(self) -> bool:
        """See the class."""
        return self._client is not None

    @property
    def map(self) -> Mapping[str, str]:
        """What a person has said of the names."""
        return {} if self._offboard is None else self._offboard.map

    def open(self, side: Side) -> PolicySession:
        """One that is ready. Raises ConfigurationError, and what opening a session raises."""
        if self._client is not None:
            assert self._offboard is not None
            return cast("PolicySession", self._client.new_session(self._offboard.model_id))
        said = self._offboard
        where = self._config.host.removeprefix(_OPENPI)
        report = cast("Any", self._report)
        if said is not None and (said.openpi_layout or said.openpi_keys or said.openpi_actions):
            options = OpenPIOptions(
                layout=cast("Any", said.openpi_layout),
                fps=said.fps,
                keys=tuple(said.openpi_keys),
                actions=tuple(said.openpi_actions),
                channels_first=said.openpi_channels_first,
                resize=said.resize,
                timeout=said.timeout,
            )
            return cast("PolicySession", open_openpi(options, where, report))
        if side.fps is None and self._config.strategy != SEQUENTIAL:
            raise ConfigurationError(
                f"--policy.chunks={self._config.strategy} goes by the time, and nothing says how often LeRobot plays "
                "an action: give --policy.fps"
            )
        resize = None if said is None or said.resize is None else (said.resize, said.resize)
        layout = _own_layout(side, resize, said is not None and said.openpi_channels_first)
        return cast("PolicySession", open_layout(layout, where, report, timeout=self._config.timeout))

    def meta(self, session: PolicySession) -> Mapping[str, Any]:
        """The handshake's ``meta``, without a rate that nobody has stated."""
        said = self._offboard
        stated = self._client is not None or (said is not None and (said.openpi_layout or said.openpi_actions))
        return session.metadata if stated else {**session.metadata, "action_fps": None}


def _own_layout(side: Side, resize: tuple[int, int] | None, channels_first: bool) -> Layout:
    """An openpi server's keys and columns by LeRobot's own names (``observation/images/front``)."""
    if side.actions is None or STATE not in side.vectors:
        raise ConfigurationError(f"an openpi server is sent observation.state, and LeRobot has {side.has}")
    keys: dict[str, Any] = {
        name.replace(".", "/"): (Part(name=name, width=width),) for name, width in side.vectors.items()
    }
    keys |= {name.replace(".", "/"): Picture(name) for name in sorted(side.images)}
    keys["prompt"] = Instruction()
    # LeRobot decides how often an action is played: the rate says nothing here.
    return Layout(
        keys=keys,
        actions=(Part(name=ACTION, width=side.actions),),
        fps=side.fps or 1.0,
        resize=resize,
        channels_first=channels_first,
    )


def logged(log: Any) -> Any:
    """Tells a logger why a session is not ready yet."""

    def report(status: Status) -> None:
        log.warning("%s", status)

    return report
