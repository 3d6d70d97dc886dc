"""GR00T's messages, against what numpy and msgpack-numpy write and read themselves."""

import io
import json
from typing import Any

import msgpack
import msgpack_numpy
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from offboard_client.errors import BadMessage
from offboard_client.wire import decode_text
from offboard_gr00t.wire import Form, pack, read_configs, unpack, write_configs

plain = arrays.arrays(
    st.one_of(
        arrays.boolean_dtypes(),
        arrays.integer_dtypes(),
        arrays.unsigned_integer_dtypes(),
        arrays.floating_dtypes(sizes=(16, 32, 64)),
    ),
    arrays.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=4),
)


def packed_by(value: Any, **how: Any) -> Any:
    """As msgpack does it for GR00T."""
    return msgpack.packb(value, **how)


CONFIG = {"delta_indices": [-15, 0], "modality_keys": ["front"], "action_configs": None}


def saved(array):
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def same(one, other):
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


@given(plain)
def test_older_servers_read_what_is_written_and_it_is_what_they_write(array):
    packed = pack({"state": array}, Form.NPY)
    (npy,) = [value["as_npy"] for value in msgpack.unpackb(packed).values()]
    assert same(np.load(io.BytesIO(npy), allow_pickle=False), array)
    assert packed == packed_by({"state": {"__ndarray_class__": True, "as_npy": saved(array.copy(order="C"))}})


@given(plain)
def test_later_servers_read_what_is_written_and_it_is_what_they_write(array):
    packed = pack({"state": array}, Form.NUMPY)
    assert same(np.asarray(msgpack.unpackb(packed, object_hook=msgpack_numpy.decode)["state"]), array)
    assert packed == packed_by({"state": array}, default=msgpack_numpy.encode)


@given(plain, st.sampled_from(Form))
def test_an_array_comes_back_as_it_went_and_says_how_it_was_written(array, form):
    (state, texts), found = unpack(pack([array, ["a"]], form))
    assert found is form
    assert same(state, array)
    assert not state.flags.writeable
    assert texts == ["a"]


def test_what_numpy_saves_in_fortran_order_is_read():
    array = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    message = packed_by({"x": {"__ndarray_class__": True, "as_npy": saved(array)}})
    assert np.array_equal(unpack(message)[0]["x"], array)


def test_a_lone_number_of_numpy_is_read():
    message = packed_by({"x": np.float32(0.5)}, default=msgpack_numpy.encode)
    assert unpack(message)[0] == {"x": np.float32(0.5)}


def test_a_message_without_arrays_says_nothing_of_how_they_are_written():
    assert unpack(packed_by({"endpoint": "ping"})) == ({"endpoint": "ping"}, None)


@pytest.mark.parametrize("keys", [str, str.encode])
def test_arrays_of_objects_are_refused_whatever_their_keys_are(keys):
    pickled = msgpack_numpy.encode(np.array([{}], object))
    message = packed_by({"x": {keys(name.decode()): value for name, value in pickled.items()}})
    with pytest.raises(BadMessage, match="its data is a pickle"):
        unpack(message)


def test_an_npy_of_objects_is_refused():
    file = io.BytesIO()
    np.save(file, np.array([{}], object), allow_pickle=True)
    with pytest.raises(BadMessage, match=r"x: .*refused"):
        unpack(packed_by({"x": {"__ndarray_class__": True, "as_npy": file.getvalue()}}))


def test_what_is_no_value_of_a_message_is_not_sent():
    with pytest.raises(TypeError, match="set has no form in GR00T's messages"):
        pack({"x": {1}}, Form.NPY)


class TestConfigs:
    def written(self, *, as_text=False):
        return write_configs({"video": CONFIG}, as_text=as_text)["video"]

    def test_a_client_of_any_age_finds_its_own_marker(self):
        config = self.written()
        assert config["__ModalityConfig_class__"] is config["__ModalityConfig__"] is True
        assert config["as_json"] == CONFIG
        assert config["as_dict"] == CONFIG, "where NVIDIA's client for DROID looks"

    def test_n1_5_reads_a_text(self):
        assert json.loads(self.written(as_text=True)["as_json"]) == CONFIG == decode_text(json.dumps(CONFIG))

    @pytest.mark.parametrize("mark", ["__ModalityConfig__", "__ModalityConfig_class__"])
    @pytest.mark.parametrize("held", [CONFIG, json.dumps(CONFIG), json.dumps(CONFIG).encode()])
    @pytest.mark.parametrize("keys", [str, str.encode])
    def test_what_servers_of_any_age_answer_is_read(self, mark, held, keys):
        message = packed_by({"video": {keys(mark): True, keys("as_json"): held}})
        assert read_configs(message) == {"video": CONFIG}

    def test_a_server_that_marks_nothing_is_read_too(self):
        assert read_configs(packed_by({"video": CONFIG})) == {"video": CONFIG}

    @pytest.mark.parametrize(
        "reply",
        [
            None,
            [],
            {"video": 3},
            {"video": {"__ModalityConfig__": True}},
            {"video": {"__ModalityConfig__": True, "as_json": "["}},
        ],
    )
    def test_what_describes_nothing_is_refused(self, reply):
        with pytest.raises(BadMessage):
            read_configs(packed_by(reply))

    def test_a_text_is_bounded_as_the_message_is(self):
        deep = "[" * 100_000
        with pytest.raises(BadMessage):
            read_configs(packed_by({"video": {"__ModalityConfig__": True, "as_json": deep}}))
