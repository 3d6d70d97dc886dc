"""A headless Chromium, driven by its own protocol over a WebSocket: no library, no driver, no download."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from waits import PATIENCE
from websockets.sync.client import connect

#: Where it is, if it is.
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_KEYS = {" ": ("Space", 32), "Home": ("Home", 36), "End": ("End", 35), "ArrowRight": ("ArrowRight", 39)}
_KEYS |= {"ArrowLeft": ("ArrowLeft", 37), "Escape": ("Escape", 27), "Enter": ("Enter", 13)}


class Tab:
    """One page. ``said``: errors of its scripts and its console, and what its content policy refused."""

    def __init__(self, port: int, target: str) -> None:
        self._open = contextlib.ExitStack()
        self._socket = self._open.enter_context(connect(f"ws://127.0.0.1:{port}/devtools/page/{target}", max_size=None))
        self._numbers = itertools.count(1)
        self.said: list[str] = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> Any:
        """One command, and its answer."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            message = json.loads(self._socket.recv(timeout=PATIENCE))
            self._heed(message)
            if message.get("id") == number:
                assert "error" not in message, message["error"]
                return message["result"]

    def size(self, width: int, height: int, dark: bool = False) -> None:
        """What it is shown on."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def front(self) -> None:
        """Bring it before the others: what is behind counts as hidden."""
        self.call("Page.bringToFront")

    def go(self, url: str) -> None:
        """Open an address."""
        self.call("Page.navigate", url=url)
        self.until("document.readyState === 'complete'")

    def eval(self, script: str) -> Any:
        """What an expression comes to, a promise's value included."""
        found = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def until(self, script: str) -> Any:
        """Wait until an expression is true, and say what it is."""
        end = time.monotonic() + PATIENCE
        while not (found := self.eval(f"(() => {{ try {{ return {script} }} catch (e) {{ return null }} }})()")):
            assert time.monotonic() < end, (
                f"never: {script}; the page says {self.said}: {self.eval('document.body.innerText')}"
            )
            time.sleep(0.05)
        return found

    def press(self, key: str, shift: bool = False) -> None:
        """A key, down and up."""
        code, number = _KEYS.get(key, (f"Key{key.upper()}", ord(key.upper()[0])))
        text = {"text": key} if len(key) == 1 else {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent", type=kind, key=key, code=code, windowsVirtualKeyCode=number,
                modifiers=8 * shift, **(text if kind == "keyDown" else {}),
            )  # fmt: skip

    def type(self, selector: str, text: str) -> None:
        """Write into a field."""
        self.eval(f"document.querySelector({json.dumps(selector)}).focus()")
        self.call("Input.insertText", text=text)

    def click(self, selector: str) -> None:
        """As a person does, if nothing lies over it."""
        box = self.eval(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)}); "
            "e.scrollIntoView({block: 'center'}); const b = e.getBoundingClientRect(); "
            "return [b.x + b.width / 2, b.y + b.height / 2] })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)

    def shoot(self, path: Path, whole: bool = False) -> None:
        """What is seen, as PNG."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", captureBeyondViewport=whole)["data"]))

    def close(self) -> None:
        """Let go of it."""
        self._open.close()

    def _heed(self, message: dict[str, Any]) -> None:
        params = message.get("params", {})
        if message.get("method") == "Runtime.exceptionThrown":
            self.said.append(str(params["exceptionDetails"].get("exception", params["exceptionDetails"])))
        elif message.get("method") == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.said.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
        elif message.get("method") == "Runtime.consoleAPICalled" and params["type"] == "error":
            self.said.append(str(params["args"]))


class Browser:
    """Tabs of one browser."""

    def __init__(self, port: int, socket: Any) -> None:
        self._port, self._socket, self._numbers = port, socket, itertools.count(1)
        self._tabs: list[Tab] = []

    def tab(self, width: int = 1280, height: int = 900, dark: bool = False) -> Tab:
        """A new one."""
        self._socket.send(
            json.dumps({"id": next(self._numbers), "method": "Target.createTarget", "params": {"url": "about:blank"}})
        )
        while "id" not in (answer := json.loads(self._socket.recv(timeout=PATIENCE))):
            pass
        tab = Tab(self._port, answer["result"]["targetId"])
        tab.size(width, height, dark)
        self._tabs.append(tab)
        return tab

    def close(self) -> None:
        """Close all tabs."""
        for tab in self._tabs:
            tab.close()


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """Chromium with a new profile, which asks nobody but us."""
    assert CHROMIUM is not None
    profile = tempfile.mkdtemp(prefix="chromium-")
    process = subprocess.Popen(
        [
            CHROMIUM, "--headless", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
            "--hide-scrollbars",
            *(["--no-sandbox"] if os.geteuid() == 0 else []), "--disable-dev-shm-usage",
            f"--user-data-dir={profile}", "--remote-debugging-port=0", "about:blank",
        ],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        end, told = time.monotonic() + PATIENCE, Path(profile) / "DevToolsActivePort"
        while not (told.exists() and len(told.read_text().split()) == 2):
            assert process.poll() is None, "Chromium has ended"
            assert time.monotonic() < end, "Chromium does not start"
            time.sleep(0.05)
        port, path = told.read_text().split()
        with connect(f"ws://127.0.0.1:{port}{path}", max_size=None) as socket:
            opened = Browser(int(port), socket)
            yield opened
            opened.close()
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        shutil.rmtree(profile, ignore_errors=True)
