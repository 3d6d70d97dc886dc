"""Where a plugin's code runs on the event loop: what would end the loop ends that code alone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from offboard_client.errors import told

T = TypeVar("T")


def contained(function: Callable[..., T], *arguments: object) -> T:
    """What it returns.

    What it raises that is no Exception becomes one: ``sys.exit`` would leave the loop, and a CancelledError pass for
    the cancellation of whoever called. Ctrl-C is the server's.
    """
    try:
        return function(*arguments)
    except (Exception, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise RuntimeError(told(error)) from error


async def contained_async(function: Callable[..., Awaitable[T]], *arguments: object) -> T:
    """The same for what is awaited, but for a CancelledError, which may be that of whoever awaits."""
    try:
        return await function(*arguments)
    except SystemExit as error:
        raise RuntimeError(told(error)) from error
