"""openpi's server without a model."""

# ruff: noqa: E402

import argparse
import asyncio
import http
import json
import logging
import os
import signal
import socket
import sys
import time
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src" / "openpi" / "training"))

import config as _config
import msgpack
import numpy as np
import websockets.asyncio.server as _server
from websockets.exceptions import ConnectionClosed

STATE = {"droid": "observation/joint_position", "aloha": "state"}


def pack(value):
    def special(part):
        if isinstance(part, np.ndarray):
            return {b"__ndarray__": True, b"data": part.tobytes(), b"dtype": part.dtype.str, b"shape": part.shape}
        raise TypeError(type(part))

    return msgpack.packb(value, default=special)


def unpack(frame):
    def special(part):
        if b"__ndarray__" in part:
            return np.ndarray(part[b"shape"], np.dtype(part[b"dtype"]), part[b"data"])
        return part

    if isinstance(frame, str):
        raise TypeError("a bytes-like object is required, not 'str'")
    return msgpack.unpackb(frame, object_hook=special)


class Policy:
    def __init__(self, name, folder):
        if name == "":
            raise ValueError("no config")
        self.config = _config.get_config(name)
        self.folder = Path(folder)
        self.says = {}
        for said in (self.folder / "standin.json", self.folder.parent / "standin.json"):
            self.says |= json.loads(said.read_text()) if said.exists() else {}
        logging.info("Loading model...")
        self._count_start()
        time.sleep(self.says.get("start_seconds", 0))
        if error := self.says.get("start_error"):
            raise RuntimeError(error)
        if not self.folder.exists():
            raise FileNotFoundError(f"File not found at {folder}")
        if not (self.folder / "model.safetensors").exists() and not (self.folder / "params" / "_METADATA").exists():
            raise FileNotFoundError(f"Model params not found at: {self.folder / 'params'}")
        if self.config.asset_id is None:
            raise ValueError("Asset id is required to load norm stats.")
        stats = self.folder / "assets" / self.config.asset_id / "norm_stats.json"
        if not stats.exists():
            raise FileNotFoundError(f"Norm stats file not found at: {stats}")
        logging.info("Loaded norm stats from %s", stats.parent)
        self.stats = json.loads(stats.read_text())["norm_stats"]["actions"]
        self.metadata = self.says.get("metadata", {})
        self.warm = False

    def _count_start(self):
        if "starts" in self.says:
            log, most = self.says["starts"]
            with open(log, "a") as file:
                file.write(f"{os.getpid()}\n")
            if len(Path(log).read_text().splitlines()) > most:
                raise RuntimeError("the GPU has fallen off the bus")

    def infer(self, obs):
        prompt = obs.get("prompt", self.config.default_prompt)
        state = self._state(obs)
        if prompt is None:
            raise ValueError("Prompt is required")
        self._obey(prompt)
        width = {"droid": 8, "aloha": 14, "libero": 7, "positronic": 8, "so101": 6}[self.config.family]
        actions = np.full((self.config.horizon, width), self.says.get("value", 0.5))
        actions[:, 0] = state.flat[0]
        if self.says.get("hold"):
            actions[:] = state[:width]
        if prompt == "undecodable":  # zeros, scaled by the statistics
            low, high = np.array(self.stats["q01"]), np.array(self.stats["q99"])
            actions = np.tile(0.5 * (high - low + 1e-6) + low, (self.config.horizon, 1))[:, :width]
        if prompt.startswith("rows "):
            actions = np.tile(actions[:1], (int(prompt.split()[1]), 1)).astype(np.int8)
        if prompt == "nan":
            actions[3, 2] = np.nan
        return {"state": state, "actions": actions[:, :-1] if prompt == "narrow" else actions}

    def _obey(self, prompt):
        if not self.warm:
            time.sleep(self.says.get("infer_seconds", 0))
            if error := self.says.get("first_error"):
                raise ValueError(error)
            self.warm = True
        if prompt == "raise":
            raise ValueError("a bad thing in the middle of the model")
        if prompt == "crash":
            os.kill(os.getpid(), signal.SIGKILL)
        if prompt == "exit":
            os._exit(3)
        if prompt.startswith("block "):
            time.sleep(float(prompt.split()[1]))

    def _state(self, obs):
        family = self.config.family
        state = np.asarray(obs[STATE.get(family, "observation/state")])
        if family == "droid":
            state = np.concatenate([state, np.atleast_1d(obs["observation/gripper_position"])])
            images = [obs["observation/exterior_image_1_left"], obs["observation/wrist_image_left"]]
        elif family == "aloha":
            unknown = set(obs["images"]) - {"cam_high", "cam_low", "cam_left_wrist", "cam_right_wrist"}
            if unknown:
                raise ValueError(f"Expected images to contain the four cameras, got {tuple(obs['images'])}")
            images = [obs["images"]["cam_high"].transpose(1, 2, 0)]
        elif family == "so101":
            images = [obs[name] for name in ("observation/images/wrist2", "observation/images/realsense")]
        else:
            images = [obs["observation/image"], obs["observation/wrist_image"]]
        for image in images:
            if image.ndim != 3:
                raise ValueError(f"Wrong shape: expected 3 dimensions. Received {image.ndim}-dimensional tensor.")
        if state.ndim != 1 or len(state) > 32:
            raise ValueError(f"all the input array dimensions must match, state has {state.shape}")
        return state


async def handle(policy, websocket):
    logging.info("Connection from %s opened", websocket.remote_address)
    await websocket.send(pack(policy.metadata))
    previous = None
    while True:
        try:
            start = time.monotonic()
            obs = unpack(await websocket.recv())
            began = time.monotonic()
            answer = policy.infer(obs)  # on the event loop, as openpi does it
            took = time.monotonic() - began
            answer["policy_timing"] = {"infer_ms": took * 1000}
            answer["server_timing"] = {"infer_ms": took * 1000}
            if previous is not None:
                answer["server_timing"]["prev_total_ms"] = previous * 1000
            for _ in range(2 if obs.get("prompt") == "twice" else 1):
                await websocket.send("an unexpected word" if obs.get("prompt") == "text" else pack(answer))
            previous = time.monotonic() - start
        except ConnectionClosed:
            logging.info("Connection from %s closed", websocket.remote_address)
            break
        except Exception:
            await websocket.send(traceback.format_exc())
            await websocket.close(1011, "Internal server error. Traceback included in previous frame.")
            raise


def health(connection, request):
    return connection.respond(http.HTTPStatus.OK, "OK\n") if request.path == "/healthz" else None


async def serve(policy, port):
    async with _server.serve(
        lambda websocket: handle(policy, websocket),
        "0.0.0.0",
        port,
        compression=None,
        max_size=None,
        process_request=health,
    ) as server:
        await server.serve_forever()


def main():
    outer = argparse.ArgumentParser()
    outer.add_argument("--port", type=int, default=8000)
    outer.add_argument("--default-prompt")
    inner = outer.add_subparsers(dest="policy").add_parser("policy:checkpoint")
    inner.add_argument("--policy.config", required=True, dest="config")
    inner.add_argument("--policy.dir", required=True, dest="dir")
    args = outer.parse_args()
    policy = Policy(args.config, args.dir)
    logging.info("Creating server (host: %s, ip: 127.0.0.1)", socket.gethostname())
    asyncio.run(serve(policy, args.port))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, force=True)
    main()
