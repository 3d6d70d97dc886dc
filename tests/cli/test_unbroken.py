"""What must not be left half done is done before Ctrl-C comes."""

from __future__ import annotations

import os
import signal

import pytest
from offboard_client.terminal import terminable, unbroken


@pytest.mark.skipif(os.name != "posix", reason="a process interrupts itself by a signal")
@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
def test_an_interruption_comes_when_it_is_over(number: str) -> None:
    done = list[str]()

    def save() -> None:
        with terminable(), unbroken():
            os.kill(os.getpid(), getattr(signal, number))
            done.append("whole")
        done.append("more")

    with pytest.raises(KeyboardInterrupt):
        save()
    assert done == ["whole"]
