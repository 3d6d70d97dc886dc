"""One client against everybody: what a message may cost the loop that all robots share, and the machine."""

import base64
import json
import threading

import msgpack
import pytest
from frames import picture, refused
from offboard_client import wire
from offboard_client.wire import CONTROL_BYTES, ImageBudget
from offboard_core.frontends.v1 import V1
from robots import robot


@pytest.fixture
def decoding_threads(monkeypatch):
    """The names of the threads that decoded an image."""
    found = []
    real = wire.decode_image

    def decode(*args):
        found.append(threading.current_thread().name)
        return real(*args)

    monkeypatch.setattr("offboard_client.wire.images.decode_image", decode)
    return found


@pytest.mark.rule("L-15")
@pytest.mark.parametrize("kind", ["ping", "stats", "reset"])
def test_a_control_frame_is_read_without_what_it_carries(world, decoding_threads, kind):
    jpeg = {b"__jpeg__": True, b"frames": [picture("JPEG")[:300]], b"ndim": 3}
    frame = msgpack.packb({"type": kind, "x": jpeg})
    assert len(frame) < 512
    with robot(world.server) as one:
        one.opened()
        for _ in range(3):
            assert one.ask(frame)["status"] in ("pong", "stats", "reset")
    assert decoding_threads == []


@pytest.mark.parametrize(
    "frame",
    [
        msgpack.packb({"type": "ping", "x": [[[[[[[[[[1]]]]]]]]]]}),
        msgpack.packb({"type": "ping", **{str(i): 0 for i in range(70)}}),
        b"\x82\xa4type\xa4ping\xa4type\xa5reset",
        '{"type": "ping", "x": ' + "[" * 200 + "]" * 200 + "}",
        '{"type": "ping", "x": ' + "9" * 400 + "}",
    ],
    ids=repr,
)
def test_what_is_no_plain_control_frame_is_refused_off_the_loop(world, frame):
    refused(world, frame)


class Long:
    """What a long frame has in common with bytes and text but for what costs by their length."""

    def __len__(self):
        return CONTROL_BYTES

    def __contains__(self, part):
        raise AssertionError("the loop looked for it in all of a long frame")


class LongBytes(Long, bytes): ...


class LongText(Long, str): ...


@pytest.mark.rule("L-15")
@pytest.mark.parametrize("frame", [LongBytes(), LongText()], ids=["binary", "text"])
def test_the_loop_does_not_look_through_a_long_frame_for_what_a_control_frame_has(frame):
    assert not V1().connect({"path": "/api/v1/session", "query_string": b"", "headers": []}).is_control(frame)


def marker(*frames):
    return {b"__jpeg__": True, b"frames": list(frames), b"ndim": 3 if len(frames) == 1 else 4}


PNG, JPEG = picture("PNG"), picture("JPEG")
TEXT = base64.b64encode(PNG).decode()


@pytest.mark.rule("E-16")
@pytest.mark.parametrize(
    "message",
    [
        {f"image.{i}": PNG for i in range(4)},
        {"image.a": JPEG, "b_image": PNG, "observation.images.c": PNG, "tactile": JPEG},
        {str(i): marker(JPEG) for i in range(4)},
        {"x": marker(*[JPEG] * 4)},
        {"x": marker(JPEG, JPEG), "image.a": PNG, "image.b": JPEG},
        {"x": {"y": marker(JPEG, JPEG)}, "image.a": PNG, "image.b": JPEG},
    ],
    ids=["names", "kinds of names", "markers", "frames", "markers and names", "deep markers"],
)
def test_the_images_of_a_message_have_one_budget(world, monkeypatch, message):
    monkeypatch.setattr("offboard_client.wire.ImageBudget", lambda *_: ImageBudget(3 * 128 * 128))
    assert "pixels together" in refused(world, message)
    message.popitem()
    world(message)


@pytest.mark.rule("E-16")
def test_the_images_of_a_text_message_share_it_too(world, monkeypatch):
    monkeypatch.setattr("offboard_client.wire.ImageBudget", lambda *_: ImageBudget(3 * 128 * 128))
    found, _ = world(json.dumps({f"image.{i}": TEXT for i in range(3)}))
    assert all(found[f"image.{i}"].shape == (32, 48, 3) for i in range(3))
    assert "pixels together" in refused(world, json.dumps({f"image.{i}": TEXT for i in range(4)}))


@pytest.mark.rule("E-17")
def test_a_file_that_costs_more_than_its_pixels_is_refused(world):
    scan = JPEG[JPEG.rindex(b"\xff\xda") : -2]
    many = JPEG[:-2] + scan * 40 + JPEG[-2:]
    assert "scans" in refused(world, {"image.wrist": many})
    assert "scans" in refused(world, {"x": marker(many)})
    assert "scans" in refused(world, json.dumps({"image.wrist": base64.b64encode(many).decode()}))
