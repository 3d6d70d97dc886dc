"""What LeRobot's client pickles, read as data; and what it unpickles, written without torch.

The recorded pickles are of the genuine classes, with numpy 2.4 and torch 2.10 (LeRobot 0.4.4) and 2.11 (0.6.1).
"""

from __future__ import annotations

import contextlib
import pickle
import pickletools
import re
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from lerobot_async import Pickled, config, observation
from offboard_client.errors import BadMessage, BadObservation, BadParameter, OffboardError
from offboard_lerobot.async_inference.payloads import Seen, read_instructions, read_seen
from offboard_lerobot.async_inference.tensors import write_actions
from offboard_lerobot.async_inference.unpickling import MOST_INSTRUCTIONS, unpickle

SUPPORT = Path(__file__).parents[1] / "support"
VERSIONS = ("0.4.4", "0.6.1")
RECORDED = {(version, kind): (SUPPORT / f"lerobot_{version}" / f"{kind}.pickle").read_bytes()
            for version in VERSIONS for kind in ("instructions", "observation", "actions")}  # fmt: skip
MOTORS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
START = {f"{name}.pos": 60.0 if name == "gripper" else 10.0 for name in MOTORS}
TIME = 1795832604.9755635


# -- what the genuine ones write --------------------------------------------------------------------------------------
@pytest.mark.parametrize("version", VERSIONS)
def test_the_genuine_instructions_are_read(version):
    asked = read_instructions(RECORDED[version, "instructions"])
    assert (asked.policy_type, asked.model, asked.actions_per_chunk, asked.device) == ("act", "000100", 3, "cpu")
    assert asked.vectors == {"observation.state": (*START,)}
    assert asked.cameras == {"observation.images.front": "front", "observation.images.wrist": "wrist"}


@pytest.mark.parametrize("version", VERSIONS)
def test_the_genuine_observation_is_read(version):
    seen = read_seen(RECORDED[version, "observation"])
    light = np.random.default_rng(1).integers(0, 256, (4, 6, 3), np.uint8)
    assert (seen.timestamp, seen.timestep) == (TIME, 7)
    assert {name: seen.values[name] for name in START} == START
    assert seen.values["task"] == "reach"
    for name, picture in (("front", light), ("wrist", light[::-1])):
        assert seen.values[name].dtype == np.uint8
        assert np.array_equal(seen.values[name], picture)


@pytest.mark.parametrize("version", VERSIONS)
def test_actions_are_written_as_torch_writes_them(version):
    """To the byte; torch calls a storage after where it lies, whatever that is."""
    theirs, keys = rekeyed(RECORDED[version, "actions"])
    rows = np.random.default_rng(1).normal(size=(3, 6)).astype(np.float32)
    assert len(keys) == 3
    assert write_actions(rows, TIME, 1 / 30, 7, key="9" * len(keys.pop())) == theirs


def rekeyed(data: bytes) -> tuple[bytes, set[str]]:
    """With every storage called by as many nines."""
    keys = {key.decode() for key in re.findall(rb"FloatStorage\nq\x01X.\0\0\0(\d+)q\x02", data)}
    for key in keys:
        data = data.replace(key.encode(), b"9" * len(key))
    return data, keys


# -- what else Python writes of the same ------------------------------------------------------------------------------
NUMBERS = np.arange(24)
ARRAYS = {
    "bytes": NUMBERS.astype(np.uint8).reshape(2, 4, 3),
    "columns first": np.asfortranarray(NUMBERS.astype(np.uint8).reshape(2, 4, 3)),
    "not in one piece": NUMBERS.astype(np.uint8).reshape(2, 4, 3)[:, ::-2],
    "depth": NUMBERS.astype(np.uint16).reshape(4, 6),
    "big-endian": NUMBERS.astype(">f8"),
    "half": NUMBERS.astype(np.float16),
    "truth": NUMBERS % 2 == 0,
    "no axis": np.array(2.5, np.float32),
    "read only": np.frombuffer(bytes(range(6)), np.uint8),
}


@pytest.mark.parametrize("protocol", [4, 5])
@pytest.mark.parametrize("kind", ARRAYS)
def test_arrays_of_every_kind_are_read(kind, protocol):
    """Protocol 5 is what Python 3.14 writes."""
    array = ARRAYS[kind]
    seen = read_seen(observation(protocol, one=array, again=array))
    for name in ("one", "again"):
        found = seen.values[name]
        assert found.shape == array.shape
        assert found.dtype == array.dtype.newbyteorder("=")
        assert np.array_equal(found, array)


@pytest.mark.parametrize("protocol", [4, 5])
def test_numbers_of_every_kind_are_read(protocol):
    given = {
        "a": 1.5, "b": np.float32(2.5), "c": np.float64(-1e300), "d": 7, "e": np.int16(-3), "f": True, "g": 300,
        "h": -70_000, "i": 2**40, "j": np.bool_(True), "k": float("nan"),
    }  # fmt: skip
    found = read_seen(observation(protocol, **given)).values
    assert np.array_equal([*found.values()], [*given.values()], equal_nan=True)
    assert found.keys() == given.keys()


# -- what is refused --------------------------------------------------------------------------------------------------
RAN: list[str] = []


def ran(*_: object) -> None:
    RAN.append("a pickle was run")


class Calls:
    """Pickles as a call."""

    def __init__(self, function: Any, *arguments: Any, state: Any = None) -> None:
        self.call = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self) -> Any:
        return self.call


def by_name(module: str, name: str, *, call: bytes = b")R") -> bytes:
    words = b"".join(b"\x8c" + bytes([len(word)]) + word.encode() for word in (module, name))
    return b"\x80\x04" + words + b"\x93" + call + b"."


GADGETS = {
    name: by_name(*name.rsplit(":", 1))
    for name in (
        "os:system", "posix:system", "nt:system", "builtins:eval", "builtins:exec", "builtins:getattr",
        "builtins:__import__", "builtins:bytearray", "subprocess:Popen", "numpy.f2py.crackfortran:getlincoef",
        "numpy:load", "numpy.testing._private.utils:runstring", "torch:load", "torch.storage:_load_from_bytes",
        "torch._utils:_rebuild_tensor_v2", "torch.hub:load", "copyreg:_reconstructor", "copyreg:__newobj__",
        "copyreg:_extension_registry", "functools:partial", "functools:reduce", "operator:attrgetter",
        "operator:methodcaller", "pickle:loads", "_pickle:Unpickler", "types:FunctionType", "types:CodeType",
        "pathlib:Path", "collections:OrderedDict", "lerobot.async_inference.helpers:TimedAction",
        "lerobot.async_inference.helpers:get_logger", "lerobot.async_inference.helpers:os.makedirs",
        "lerobot.async_inference.helpers:RemotePolicyConfig.__init__", "lerobot.configs.types:PolicyFeature",
        "numpy:ndarray.tofile", "numpy:dtype.newbyteorder", "numpy.core.multiarray:_reconstruct.__globals__",
        "numpy:ndarray", "numpy._core.multiarray:fromfile", "numpy.core.multiarray:scalar", ":", "numpy:",
    )
}  # fmt: skip
_OBJECTS = np.array([None, "x"], object)
_RECORDS = np.zeros(2, [("a", "i4"), ("b", "O")])
HOSTILE = {
    "a function of ours": pickle.dumps(Calls(ran, 1)),
    "a call that changes": pickle.dumps(Calls(dict, [("a", 1)], state={"__setstate__": 1})),
    "an array of objects": observation(one=_OBJECTS),
    "an array of records": observation(one=_RECORDS),
    "an array of times": observation(one=np.array(["2026-01-01"], "M8[s]")),
    "an array of texts": observation(one=np.array(["text"])),
    "an array of bytes": observation(one=np.array([b"text"])),
    "an array of complex numbers": observation(one=np.ones(2, complex)),
    "an array of long doubles": observation(one=np.ones(2, np.longdouble)),
    "nothing in an array": observation(one=np.zeros((0, 3), np.uint8)),
    "a time": observation(one=np.datetime64("2026-01-01")),
    "bytes": observation(one=b"abc"),
    "a list": observation(one=[1, 2]),
    "a map": observation(one={"a": 1}),
    "nothing": observation(one=None),
    "a complex number": observation(one=1j),
    "a set": observation(one={1, 2}),
    "a very large number": observation(one=2**100),
    "a very long text": observation(one="x" * 70_000),
    "a very long name": observation(**{"x" * 300: 1.0}),
    "a great many names": observation(**{f"x{i}": 1.0 for i in range(1200)}),
    "an old protocol": pickle.dumps({"a": 1}, 2),
    "text opcodes": b"cos\nsystem\n(S'true'\ntR.",
    "an extension": b"\x80\x04\x82\x01.",
    "an extension of two bytes": b"\x80\x04\x83\x01\x01.",
    "an extension of four bytes": b"\x80\x04\x84\x01\x01\x01\x01.",
    "something persistent": b"\x80\x04\x8c\x01aQ.",
    "something persistent by text": b"\x80\x04Pa\n.",
    "a global of protocol 0": b"\x80\x04cos\nsystem\n.",
    "an instance of protocol 0": b"\x80\x04(ios\nsystem\n.",
    "an object of protocol 1": b"\x80\x04(\x8c\x02os\x8c\x06system\x93o.",
    "keyword arguments": b"\x80\x04\x8c\x05numpy\x8c\x07ndarray\x93)}\x92.",
    "a buffer from elsewhere": b"\x80\x05\x97.",
    "two values": b"\x80\x04KaKb.",
    "something behind it": observation(one=1.0) + b"x",
    "no value": b"\x80\x04.",
    "no end": observation(one=1.0)[:-1],
    "no beginning": b"",
    "a mark left": b"\x80\x04(N.",
    "no mark": b"\x80\x04Nt.",
    "from an empty stack": b"\x80\x04b.",
    "nothing to recall": b"\x80\x04h\x05.",
    "a key that is no text": b"\x80\x04}KaKbs.",
    "a key twice": b"\x80\x04}(\x8c\x01aK\x01\x8c\x01aK\x02u.",
    "a key without a value": b"\x80\x04}(\x8c\x01au.",
    "added to a text": b"\x80\x04\x8c\x01aNa.",
    "a name that is a number": b"\x80\x04KaKb\x93.",
    "a name in a tuple": b"\x80\x04)\x94)\x94\x93.",
    "a call of a text": b"\x80\x04\x8c\x01a)R.",
    "a call with a list": b"\x80\x04\x8c\x05numpy\x8c\x05dtype\x93]R.",
    "an object of numpy's": b"\x80\x04\x8c\x05numpy\x8c\x07ndarray\x93)\x81.",
    "a length of 2**63": b"\x80\x05\x96" + struct.pack("<Q", 2**63) + b"a.",
    "a length of 4 GB": b"\x80\x04B\xff\xff\xff\xffa.",
    "a text of 4 GB": b"\x80\x04X\xff\xff\xff\xffa.",
    "a text of 2**63 bytes": b"\x80\x04\x8d" + struct.pack("<Q", 2**63) + b"a.",
    "a long of 4 GB": b"\x80\x04\x8b\xff\xff\xff\x7f.",
    "a text that is none": b"\x80\x04\x8c\x02\xff\xfe.",
    "a list in itself": b"\x80\x04]\x94h\x00a.",
    "a map in itself": b"\x80\x04}\x94\x8c\x01ah\x00s.",
    "a list of a list, twice": b"\x80\x04]\x94(h\x00h\x00e.",
    "a tuple of tuples, twice": b"\x80\x04)\x85\x94h\x00\x86\x94h\x01\x86.",
    "a billion laughs": b"\x80\x04\x8c\x02ha\x94" + b"".join(b"h%ch%c\x86\x94" % (i, i) for i in range(60)) + b".",
    "ten thousand tuples": b"\x80\x04)" + b"\x85" * (2 * MOST_INSTRUCTIONS) + b".",
    "very many of nothing": b"\x80\x04(" + b"N" * 2_000_000 + b"t.",
    "memoized very often": b"\x80\x04N" + b"\x94" * 2_000_000 + b".",
    "a deep tuple": b"\x80\x04)" + b"\x85" * (MOST_INSTRUCTIONS - 10) + b".",
}  # fmt: skip


@pytest.mark.parametrize("read", [read_seen, read_instructions], ids=["observation", "instructions"])
@pytest.mark.parametrize("name", [*GADGETS, *HOSTILE])
def test_what_is_none_of_theirs_is_refused(name, read):
    data = (GADGETS | HOSTILE)[name]
    with pytest.raises((BadMessage, BadObservation)) as refused:
        read(data)
    assert not RAN
    assert len(refused.value.text) < 600


@pytest.mark.parametrize("name", GADGETS)
def test_a_gadget_within_a_genuine_pickle_is_refused(name):
    """In the place of a motor's number, of the name of the policy, of a shape: nothing is called for any of them."""
    inner = GADGETS[name][2:-1]
    for data, place in (
        (RECORDED["0.4.4", "observation"], b"G" + struct.pack(">d", 10.0)),
        (RECORDED["0.6.1", "observation"], b"K\x07"),
        (RECORDED["0.4.4", "observation"], b"K\x04K\x06K\x03\x87"),
        (RECORDED["0.4.4", "instructions"], b"\x8c\x03act"),
        (RECORDED["0.6.1", "instructions"], b"K\x03\x8c\x06device"),
    ):
        assert place in data
        with pytest.raises(OffboardError):
            (read_seen if b"TimedObservation" in data else read_instructions)(data.replace(place, inner, 1))


@pytest.mark.parametrize(
    "name",
    ["a list in itself", "a map in itself", "a list of a list, twice", "a tuple of tuples, twice", "a billion laughs"],
)
def test_what_holds_something_stands_in_it_once(name):
    """No knot, and no tree that is larger than the pickle: whoever walks through what was read comes to an end."""
    with pytest.raises(BadMessage, match="stands in it twice"):
        unpickle(HOSTILE[name])


@pytest.mark.parametrize(
    ("module", "name"), [("numpy", "dtype"), ("lerobot.async_inference.helpers", "TimedObservation")]
)
def test_an_array_is_made_of_no_other_class(module, name):
    def said(*words: str) -> bytes:
        return b"".join(b"\x8c" + bytes([len(word)]) + word.encode() for word in words) + b"\x93"

    code = said("numpy._core.multiarray", "_reconstruct") + said(module, name) + b"K\0\x85C\x01b\x87R"
    with pytest.raises(BadMessage, match="an array is made of something else"):
        unpickle(b"\x80\x04" + code + b".")


class _Shaped:
    """An array as this, whatever it is."""

    def __init__(self, *state: Any) -> None:
        self.state = state

    def __reduce__(self) -> Any:
        from numpy._core.multiarray import _reconstruct

        return _reconstruct, (np.ndarray, (0,), b"b"), self.state


U1 = np.dtype("u1")


@pytest.mark.parametrize(
    "state",
    [
        (1, (2**62, 4), U1, False, b"abcd"), (1, (4,), U1, False, b"abc"), (1, (-1, 4), U1, False, b"abcd"),
        (1, (True, 4), U1, False, b"abcd"), (1, (4.0,), U1, False, b"abcd"), (1, [4], U1, False, b"abcd"),
        (1, (1,) * 9 + (4,), U1, False, b"abcd"), (1, (4,), "u1", False, b"abcd"), (1, (4,), U1, False, "abcd"),
        (2, (4,), U1, False, b"abcd"), (1, (4,), U1, False), (1, (4,), U1, False, [1, 2, 3, 4]),
        (1, 4, U1, False, b"abcd"), ("x",), (), (1, (2, 3), U1, False, b"abcd"), (1, (2,), U1, False, b"abcd"),
        (1, (4,), np.dtype("u2"), False, b"abcd"),
    ],
)  # fmt: skip
def test_an_array_that_says_what_it_has_not_is_refused(state):
    with pytest.raises(BadMessage, match="array"):
        read_seen(observation(one=_Shaped(*state)))


@pytest.mark.parametrize(
    ("order", "rest"),
    [("|", (None, ("a",), {"a": (U1, 0)}, -1, -1, 0)), ("|", (None, None, None, 10**9, -1, 0)),
     ("x", (None, None, None, -1, -1, 0)), ("|", ((U1, (10**9,)), None, None, -1, -1, 0)),
     ("|", (None, None, None, -1, -1, 63)), (3, (None, None, None, -1, -1, 0))],
)  # fmt: skip
def test_a_dtype_that_is_more_than_numbers_is_refused(order, rest):
    genuine = pickle.dumps((3, "|", None, None, None, -1, -1, 0), 4)[11:-1]
    hostile = pickle.dumps((3, order, *rest), 4)
    hostile = hostile[11 if hostile[2] == 0x95 else 2 : -1]
    bare = RECORDED["0.4.4", "observation"]
    place = re.search(rb"\(K\x03\x8c\x01\|\x94NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t\x94", bare)
    assert place, genuine
    with pytest.raises(BadMessage):
        read_seen(bare[: place.start()] + hostile + bare[place.end() :])


@pytest.mark.parametrize("change", [{"surprise": 1}, {"compression": "jpeg", "lerobot_version": "0.9"}])
def test_another_versions_fields_are_refused_by_name(change):
    """What nobody here knows may mean anything: that the images are BGR, that the actions are to be steps."""
    with pytest.raises(
        BadMessage, match=f"has '{min(change)}', of which nobody here knows .* LeRobot 0.4.4 to 0.6.1 send act"
    ):
        read_instructions(config(**change))
    late = Pickled("TimedObservation", timestamp=TIME, timestep=7, observation={}, must_go=True, **change)
    with pytest.raises(BadMessage, match=f"has '{min(change)}'"):
        read_seen(late.dumps())


def test_the_fields_of_before_may_be_missing_and_others_not():
    bare = Pickled("RemotePolicyConfig", policy_type="act", pretrained_name_or_path="a", lerobot_features={},
                    actions_per_chunk=5)  # fmt: skip
    assert read_instructions(bare.dumps()).device == "cpu"
    with pytest.raises(BadMessage, match="lacks observation, timestep"):
        read_seen(Pickled("TimedObservation", timestamp=TIME).dumps())
    with pytest.raises(BadMessage, match="RemotePolicyConfig came, expected a TimedObservation"):
        read_seen(bare.dumps())
    with pytest.raises(BadMessage, match="TimedObservation came, expected a RemotePolicyConfig"):
        read_instructions(observation(a=1.0))


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"policy_type": 3}, BadMessage, "policy_type is 3"),
        ({"policy_type": ""}, BadMessage, "policy_type is ''"),
        ({"policy_type": "act\nERROR all is well"}, BadMessage, "policy_type is 'act\\nERROR all is well'"),
        ({"lerobot_features": {"a\n": {}}}, BadMessage, "the feature 'a\\n' is a map"),
        (
            {"lerobot_features": {"a": {"dtype": "float32", "names": ["x\x1b[2J"]}}},
            BadMessage,
            "does not list the names",
        ),
        ({"pretrained_name_or_path": None}, BadMessage, "pretrained_name_or_path is None"),
        ({"device": []}, BadMessage, "device is a list"),
        ({"actions_per_chunk": 0}, BadParameter, "actions_per_chunk is 0, expected a whole number"),
        ({"actions_per_chunk": True}, BadParameter, "actions_per_chunk is True"),
        ({"actions_per_chunk": 2.0}, BadParameter, "actions_per_chunk is 2.0"),
        ({"rename_map": {"observation.images.a": "observation.images.b"}}, BadParameter, "--codec.map"),
        ({"rename_map": None}, BadParameter, "rename_map"),
        ({"lerobot_features": [1]}, BadMessage, "lerobot_features is a list"),
        ({"lerobot_features": {"a": 1}}, BadMessage, "the feature 'a' is 1, expected a map"),
        ({"lerobot_features": {"a": {"dtype": "int64"}}}, BadParameter, "the feature a is of 'int64'"),
        ({"lerobot_features": {"a": {"dtype": "image"}}}, BadParameter, "the feature a is of 'image'"),
        ({"lerobot_features": {"a": {"dtype": "float32"}}}, BadMessage, "does not list the names"),
        ({"lerobot_features": {"a": {"dtype": "float32", "names": [1]}}}, BadMessage, "does not list the names"),
        ({"lerobot_features": {"a": {"dtype": "float32", "names": ["x", "x"]}}}, BadMessage, "names a number twice"),
    ],
)
def test_instructions_that_cannot_be_followed_are_refused(change, error, says):
    with pytest.raises(error, match=re.escape(says)):
        read_instructions(config(**change))


@pytest.mark.parametrize(
    ("change", "says"),
    [({"timestamp": float("inf")}, "timestamp is inf"), ({"timestamp": "1"}, "timestamp is '1'"),
     ({"timestep": -1}, "timestep is -1"), ({"timestep": 2**60}, "timestep is"),
     ({"timestep": True}, "timestep is True"),
     ({"observation": [1]}, "the observation is a list"), ({"observation": 3}, "the observation is 3")],
)  # fmt: skip
def test_an_observation_that_is_none_is_refused(change, says):
    fields = {"timestamp": TIME, "timestep": 7, "observation": {}, "must_go": True, **change}
    with pytest.raises(BadMessage, match=re.escape(says)):
        read_seen(Pickled("TimedObservation", **fields).dumps())


# -- whatever comes ---------------------------------------------------------------------------------------------------
def survives(data: bytes) -> None:
    """It is read as numbers, texts and arrays, or refused with an error of ours; and nothing has run."""
    for read in (read_seen, read_instructions):
        with contextlib.suppress(OffboardError):
            found = read(data)
            if isinstance(found, Seen):
                assert all(isinstance(value, (float, int, str, np.ndarray)) for value in found.values.values())
                assert sum(v.nbytes for v in found.values.values() if isinstance(v, np.ndarray)) <= len(data)
    assert not RAN


@given(st.binary(max_size=300))
@example(b"\x80\x04\x95")
def test_any_bytes_are_survived(data):
    survives(b"\x80\x04" + data)


def word(text: str) -> bytes:
    return b"\x8c" + bytes([len(text)]) + text.encode()


def recalling(size: int, names: int, what: str, order: str = "<") -> bytes:
    """An observation with an array of so many bytes, and ``what`` of it again under so many names."""
    dtype = word("numpy") + word("dtype") + b"\x93" + word("f8") + b"\x89\x88\x87R(K\x03" + word(order) + b"NNNJ"
    dtype += b"\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb\x94"
    shape, data = (
        b"J" + struct.pack("<i", size // 8) + b"\x85\x94",
        b"B" + struct.pack("<I", size) + bytes(size) + b"\x94",
    )
    if what == "an array before it has data":
        made = word("numpy._core.multiarray") + word("_reconstruct") + b"\x93" + word("numpy") + word("ndarray")
        first = made + b"\x93K\0\x85C\x01b\x87R\x94"
        again, last = b"h\0", b"(K\x01" + shape + dtype + b"\x89" + data + b"tb"
    else:
        first = word("numpy.core.numeric") + word("_frombuffer") + b"\x93\x94(" + data + dtype + shape + word("C")
        first += b"\x94tR\x94"
        again, last = {"its bytes": b"h\0(h\1h\2h\3h\4tR", "the array": b"h\5"}[what], b""
    body = word("timestamp") + b"G" + bytes(8) + word("timestep") + b"K\x07" + word("observation") + b"}(" + word("x")
    body += first + b"".join(word(f"x{i}") + again for i in range(names)) + last
    return (
        b"\x80\x04"
        + word("lerobot.async_inference.helpers")
        + word("TimedObservation")
        + b"\x93)\x81}("
        + body
        + b"uub."
    )


@pytest.mark.parametrize(
    ("what", "order"),
    [("its bytes", "<"), ("its bytes", ">"), ("the array", "<"), ("an array before it has data", "<")],
)
def test_what_stands_in_it_again_is_counted_again(what, order):
    """A copy of an array whose bytes are in another order takes memory; and whoever gets the values copies them all."""
    read_seen(recalling(8, 8, "its bytes", order))
    size = 80_000
    bomb = recalling(size, 40, what, order)
    tracemalloc.start()
    try:
        with pytest.raises(BadMessage, match=r"several times|twice"):
            read_seen(bomb)
        assert tracemalloc.get_traced_memory()[1] < 2 * size
    finally:
        tracemalloc.stop()


def test_a_long_text_that_stands_in_it_again_is_counted_again():
    text = "x" * 60_000
    with pytest.raises(BadMessage, match="several times"):
        read_seen(observation(**dict.fromkeys("abcdef", text)))
    assert len(read_seen(observation(**dict.fromkeys("abcdef", "x" * 200))).values) == 6


@given(st.integers(0, 64), st.integers(0, 30), st.sampled_from(["its bytes", "the array"]), st.sampled_from("<>"))
def test_what_is_made_is_no_more_than_what_came(numbers, names, what, order):
    survives(recalling(8 * numbers, names, what, order))


CODES = [*b"NKMJGCBXtaeushjRb().]}\x81\x85\x86\x87\x88\x89\x8a\x8c\x93\x94\x95\x96"]


@given(st.lists(st.sampled_from(CODES), max_size=60), st.binary(max_size=40))
def test_any_instructions_are_survived(codes, words):
    survives(
        b"\x80\x04" + bytes(code for pair in zip(codes, words.ljust(60, b"\0"), strict=False) for code in pair) + b"."
    )


@given(st.data())
def test_any_change_of_a_genuine_pickle_is_survived(data):
    genuine = bytearray(RECORDED[data.draw(st.sampled_from([key for key in RECORDED if key[1] != "actions"]))])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(genuine) - 1))
        how = data.draw(st.sampled_from(["set", "cut", "put", "copy"]))
        if how == "set":
            genuine[at] = data.draw(st.integers(0, 255))
        elif how == "cut":
            del genuine[at : at + data.draw(st.integers(1, 9))]
        elif how == "put":
            genuine[at:at] = data.draw(st.binary(max_size=9))
        else:
            genuine[at:at] = genuine[data.draw(st.integers(0, len(genuine) - 1)) :][:20]
        if not genuine:
            return
    survives(bytes(genuine))


@pytest.mark.parametrize("kind", ["instructions", "observation"])
def test_every_cut_is_refused(kind):
    whole = RECORDED["0.4.4", kind]
    for end in range(len(whole)):
        with pytest.raises(BadMessage):
            unpickle(whole[:end])


# -- what is written --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("steps", "width", "timestep"), [(1, 1, 0), (300, 14, 70_000), (1001, 3, 2**31 - 5)])
def test_what_is_written_has_no_more_than_an_answer(steps, width, timestep):
    rows = np.random.default_rng(2).normal(size=(steps, width)).astype(np.float32)
    data = write_actions(rows, TIME, 1 / 30, timestep)
    operations = [(operation.name, argument) for operation, argument, _ in pickletools.genops(data)]
    assert [argument for name, argument in operations if name == "BINFLOAT"] == [
        TIME + i * (1 / 30) for i in range(steps)
    ]
    numbers = [argument[-4 * width :] for name, argument in operations if name in ("BINBYTES", "SHORT_BINBYTES")]
    assert b"".join(numbers) == rows.tobytes()
    names = {f"{a} {b}" for (x, a), (y, b) in zip(operations, operations[2:], strict=False)
             if x == y == "SHORT_BINUNICODE" and "." in str(a)}  # fmt: skip
    assert names == {"lerobot.async_inference.helpers TimedAction", "torch._utils _rebuild_tensor_v2",
                     "torch.storage _load_from_bytes"}  # fmt: skip
