"""LeRobot's asynchronous inference, in front of any model: what its ``robot_client`` sends, and how it is answered.

Its messages are pickles. None is ever unpickled here: :mod:`.unpickling` reads them as data, and :mod:`.tensors` writes
them, both without Python's ``pickle``, LeRobot or torch.
"""

from __future__ import annotations

from offboard_client.errors import ConfigurationError
from offboard_core.frontends import Listener

from .options import RobotClientOptions


def make_listener(options: RobotClientOptions) -> Listener:
    """The port for LeRobot's robots. Raises ConfigurationError without gRPC."""
    try:
        from .listener import LeRobotListener
    except ImportError as error:
        raise ConfigurationError(
            f"the port for LeRobot's robots needs {error.name or error}, which is not installed: "
            "pip install 'offboard-lerobot[grpc]'"
        ) from error
    return LeRobotListener(options)
