"""Waiting on the event loop, with a limit.

Not by ``asyncio.wait_for``: before Python 3.12 it swallows a cancellation that comes in the turn in which what it waits
for is done, and whoever cancelled the task waits for it for ever.
"""

from __future__ import annotations

import asyncio


async def wait_until_set(event: asyncio.Event, timeout: float) -> None:
    """Until the event is set, or ``timeout`` seconds have done so: whoever waits has to look again."""
    timer = asyncio.get_running_loop().call_later(timeout, event.set)
    try:
        await event.wait()
    finally:
        timer.cancel()
