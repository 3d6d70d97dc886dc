"""What the two scripts share: a policy without a model, and the loop of GR00T's REP socket."""

import io
import json
import os
import signal
import time
import traceback
from pathlib import Path

import msgpack
import msgpack_numpy
import numpy as np
import zmq


class Config:
    """GR00T's ModalityConfig."""

    def __init__(self, said):
        self.said = said
        self.delta_indices, self.modality_keys = said["delta_indices"], said["modality_keys"]


class Serializer:
    """``form``: npy, numpy or numpy-only. ``as_text``: N1.5, whose configs are JSON texts."""

    def __init__(self, form, as_text=False):
        self.form, self.as_text = form, as_text

    def to_bytes(self, data):
        return msgpack.packb(data, default=self._encode)

    def from_bytes(self, data):
        return msgpack.unpackb(data, object_hook=self._decode)

    def _encode(self, value):
        if isinstance(value, Config):
            marker = "__ModalityConfig_class__" if self.form == "npy" else "__ModalityConfig__"
            return {marker: True, "as_json": json.dumps(value.said) if self.as_text else value.said}
        if self.form != "npy":
            return msgpack_numpy.encode(value)
        if isinstance(value, np.ndarray):
            file = io.BytesIO()
            np.save(file, value, allow_pickle=False)
            return {"__ndarray_class__": True, "as_npy": file.getvalue()}
        return value

    def _decode(self, value):
        if self.form != "numpy-only" and "__ndarray_class__" in value:
            return np.load(io.BytesIO(value["as_npy"]), allow_pickle=False)
        return value if self.form == "npy" else msgpack_numpy.decode(value)


class Policy:
    """Reads the checkpoint, and says what its files and the words of the instruction tell it to."""

    def __init__(self, folder, configs):
        self.folder = Path(folder)
        self.says = {}
        for said in (self.folder / "standin.json", self.folder.parent / "standin.json"):
            self.says |= json.loads(said.read_text()) if said.exists() else {}
        print("Loading model...", flush=True)
        self._count_start()
        time.sleep(self.says.get("start_seconds", 0))
        if error := self.says.get("start_error"):
            raise RuntimeError(error)
        self.configs = {name: Config(said) for name, said in configs.items()}
        if other := self.says.get("other"):
            self.configs["video"].modality_keys[0] = other
        self.widths = {}
        self.warm = False

    def _count_start(self):
        if "starts" in self.says:
            log, most = self.says["starts"]
            with open(log, "a") as file:
                file.write(f"{os.getpid()}\n")
            if len(Path(log).read_text().splitlines()) > most:
                raise RuntimeError("the GPU has fallen off the bus")

    def answer(self, states, prompt):
        """(T, D) of each group of actions; ``states``: (T, D) of each of those. All by their bare names."""
        self._obey(prompt)
        steps = len(self.configs["action"].delta_indices)
        if prompt.startswith("rows "):
            steps = int(prompt.split()[1])
        answers = {}
        for name in (key.removeprefix("action.") for key in self.configs["action"].modality_keys):
            width = self.widths["action", name]
            held = states.get(name)
            if held is None or held.shape[-1] != width:
                held = np.full((1, width), self.says.get("value", 0.5))
            answers[name] = np.repeat(held[-1:], steps, axis=0).astype(np.float32)
            if width > 1:
                answers[name][:, 1] = self.says.get("value", 0.5)
            if prompt == "narrow":
                answers[name] = answers[name][:, :-1]
        if prompt == "nan":
            next(iter(answers.values()))[3, 0] = np.nan
        return answers

    def _obey(self, prompt):
        if not self.warm:
            time.sleep(self.says.get("infer_seconds", 0))
            if error := self.says.get("first_error"):
                raise ValueError(error)
            self.warm = True
        if prompt == "raise":
            raise ValueError("a bad thing in the middle of the model")
        if prompt == "key":
            raise KeyError("front")
        if prompt == "crash":
            os.kill(os.getpid(), signal.SIGKILL)
        if prompt == "exit":
            os._exit(3)
        if prompt.startswith("block "):
            time.sleep(float(prompt.split()[1]))
        if prompt.startswith("await "):
            path = Path(prompt.split()[1])
            path.with_suffix(".begun").touch()
            while not path.exists():
                time.sleep(0.01)

    def joined(self, states):
        """As GR00T normalises them: a group of another width is noticed here, and only by numpy."""
        for name, state in states.items():
            np.zeros(self.widths["state", name]) + state


class Server:
    """One REP socket, one question at a time."""

    def __init__(self, address, serializer, endpoints, token, spread):
        self.serializer, self.token, self.spread = serializer, token, spread
        self.socket = zmq.Context().socket(zmq.REP)
        self.socket.bind(address)
        self.running = True
        self.endpoints = {
            "ping": (lambda: {"status": "ok", "message": "Server is running"}, False),
            "kill": (self.kill, False),
            **endpoints,
        }

    def kill(self):
        self.running = False

    def run(self):
        print(f"Server is ready and listening on {self.socket.getsockopt_string(zmq.LAST_ENDPOINT)}", flush=True)
        while self.running:
            try:
                request = self.serializer.from_bytes(self.socket.recv())
                if self.token is not None and request.get("api_token") != self.token:
                    self.socket.send(self.serializer.to_bytes({"error": "Unauthorized: Invalid API token"}))
                    continue
                endpoint = request.get("endpoint", "get_action")
                if endpoint not in self.endpoints:
                    raise ValueError(f"Unknown endpoint: {endpoint}")
                handler, takes = self.endpoints[endpoint]
                data = request.get("data", {})
                if not takes:
                    result = handler()
                else:
                    result = handler(**data) if self.spread else handler(data)
                self.socket.send(self.serializer.to_bytes(result))
            except Exception as error:
                print(f"Error in server: {error}")
                print(traceback.format_exc(), flush=True)
                self.socket.send(self.serializer.to_bytes({"error": str(error)}))
