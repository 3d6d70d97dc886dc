"""The event loop of a policy in this process, on a thread of its own."""

from __future__ import annotations

import asyncio


def run_loop(loop: asyncio.AbstractEventLoop) -> None:
    """The loop until it is stopped, and then the end of whatever is still in it."""
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        for task in (tasks := asyncio.all_tasks(loop)):
            task.cancel()
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    finally:
        loop.close()
