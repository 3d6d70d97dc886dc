"""What a client of a session may do, and the words at its end."""

from __future__ import annotations

from offboard_client.wire import CLOSE_GOING_AWAY, CLOSE_NORMAL, CLOSE_REFUSED, WireLimits

#: A larger message closes the session.
MESSAGE_BYTES = WireLimits().message_bytes
#: A client that has sent this many frames without waiting for replies is closed.
PENDING = 64
#: RFC 6455's code for a connection that ended without one.
VANISHED = 1006
#: Close codes after which nobody comes back for the lease: done, page left, thrown out, and our own shutdown.
FAREWELLS = (CLOSE_NORMAL, 1001, CLOSE_REFUSED, CLOSE_GOING_AWAY)
