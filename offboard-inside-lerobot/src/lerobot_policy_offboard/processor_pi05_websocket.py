"""As of the type ``offboard``."""

from .processor_offboard import make_offboard_pre_post_processors as make_pi05_websocket_pre_post_processors

__all__ = ["make_pi05_websocket_pre_post_processors"]
