"""GR00T's clients, to the byte: what NVIDIA's service.py (N1.5) and server_client.py (ade260e, and later) send and do.

The older two read nothing but npy files and ``__ModalityConfig_class__``; of the later client there are two ages, of
which the first reads nothing but msgpack-numpy's arrays and ``__ModalityConfig__``.
"""

import io
import json

import msgpack
import msgpack_numpy
import numpy as np
import zmq


class N15Client:
    """RobotInferenceClient. It waits for ever, and knows no reset."""

    def __init__(self, port, token=None, timeout=None, host="127.0.0.1"):
        self.context = zmq.Context()
        self.address, self.token, self.timeout = f"tcp://{host}:{port}", token, timeout
        self._init_socket()

    def _init_socket(self):
        self.socket = self.context.socket(zmq.REQ)
        self.socket.linger = 0
        if self.timeout is not None:  # the genuine one's tests' own patience
            self.socket.rcvtimeo = int(self.timeout * 1000)
        self.socket.connect(self.address)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close(linger=0)
        self.context.term()

    def call(self, endpoint, data=None, requires_input=True):
        request = {"endpoint": endpoint}
        if requires_input:
            request["data"] = data
        if self.token:
            request["api_token"] = self.token
        self.socket.send(msgpack.packb(request, default=self._encode))
        return self._checked(self.socket.recv())

    def _checked(self, message):
        response = msgpack.unpackb(message, object_hook=self._decode)
        if "error" in response:
            raise RuntimeError(f"Server error: {response['error']}")
        return response

    def ping(self):
        return self.call("ping", requires_input=False)

    def kill_server(self):
        self.call("kill", requires_input=False)

    def get_action(self, observation):
        return self.call("get_action", observation)

    def get_modality_config(self):
        return self.call("get_modality_config", requires_input=False)

    @staticmethod
    def _encode(value):
        if isinstance(value, np.ndarray):
            file = io.BytesIO()
            np.save(file, value, allow_pickle=False)
            return {"__ndarray_class__": True, "as_npy": file.getvalue()}
        return value

    @staticmethod
    def _decode(value):
        if "__ModalityConfig_class__" in value:
            value = json.loads(value["as_json"])
        if "__ndarray_class__" in value:
            value = np.load(io.BytesIO(value["as_npy"]), allow_pickle=False)
        return value


class N16Client(N15Client):
    """PolicyClient at ade260e: N1.6, and the first of N1.7."""

    def _checked(self, message):
        if message == b"ERROR":
            raise RuntimeError("Server error. Make sure we are running the correct policy server.")
        response = msgpack.unpackb(message, object_hook=self._decode)
        if isinstance(response, dict) and "error" in response:
            raise RuntimeError(f"Server error: {response['error']}")
        return response

    def get_action(self, observation, options=None):
        return tuple(self.call("get_action", {"observation": observation, "options": options}))

    def reset(self, options=None):
        return self.call("reset", {"options": options})

    @staticmethod
    def _decode(value):
        if "__ModalityConfig_class__" in value:
            return dict(**value["as_json"])
        if "__ndarray_class__" in value:
            return np.load(io.BytesIO(value["as_npy"]), allow_pickle=False)
        return value


class N17Client(N16Client):
    """The current PolicyClient: msgpack-numpy, and a fresh socket after its time-out. It reads older servers, too."""

    def call(self, endpoint, data=None, requires_input=True):
        try:
            return super().call(endpoint, data, requires_input)
        except zmq.error.Again:
            self.socket.close(linger=0)  # the genuine one leaves that to the garbage collector
            self._init_socket()
            raise

    @staticmethod
    def _encode(value):
        return msgpack_numpy.encode(value, chain=lambda other: other)

    @classmethod
    def _decode(cls, value):
        if value.get("__ndarray_class__", value.get(b"__ndarray_class__")):
            return np.load(io.BytesIO(value["as_npy"]), allow_pickle=False)
        return msgpack_numpy.decode(value, chain=cls._custom)

    @staticmethod
    def _custom(value):
        if "__ModalityConfig__" in value or "__ModalityConfig_class__" in value:
            payload = value["as_json"]
            return dict(**(json.loads(payload) if isinstance(payload, str) else payload))
        return value


class N17FirstClient(N17Client):
    """The first to write msgpack-numpy: it reads nothing older."""

    @classmethod
    def _decode(cls, value):
        return msgpack_numpy.decode(value, chain=cls._custom)

    @staticmethod
    def _custom(value):
        if "__ModalityConfig__" in value:
            return dict(**value["as_json"])
        return value


ALL = (N15Client, N16Client, N17FirstClient, N17Client)


def observation(client, *, cameras=("front",), size=(48, 64), groups=None, task="pick it up"):
    """What a robot with such a client sends, as its generation has it; a picture is grey, a group counts up."""
    groups = {"single_arm": 5, "gripper": 1} if groups is None else groups
    pictures = {name: np.full((1, *size, 3), 7, np.uint8) for name in cameras}
    states = {name: np.arange(width, dtype=np.float32)[None] for name, width in groups.items()}
    key = "annotation.human.task_description"
    if issubclass(client, N16Client):
        return {
            "video": {name: picture[None] for name, picture in pictures.items()},
            "state": {name: state[None] for name, state in states.items()},
            "language": {key: [[task]]},
        }
    return {
        **{f"video.{name}": picture for name, picture in pictures.items()},
        **{f"state.{name}": state.astype(np.float64) for name, state in states.items()},
        key: [task],
    }
