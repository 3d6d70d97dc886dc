"""How a session's images are sent: what ``auto`` decides, when, and what it says; and what is never compressed."""

import sys
import time

import numpy as np
import pytest
from offboard_client import InferenceClient
from offboard_client.errors import ConfigurationError
from offboard_client.protocol import ImageForm, Images, Step, parse_images
from offboard_client.wire import CONTEXT, decode_image, encode, to_jpeg
from scripted_server import OFFBOARD, ScriptedServer
from websockets.frames import Frame, Opcode

META = {"offboard_version": "1", "image_formats": ["raw", "jpeg", "png"], "observation": {}}


def picture(height=48, width=64):
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 255 // width, y * 255 // height, (x + y) * 255 // (width + height)], -1).astype(np.uint8)


SEEN = {"image.wrist": picture(), "robot_state.q": np.zeros(7), "task": "go"}


def opened(how, meta=META):
    said = []
    form = ImageForm(parse_images(how), said.append)
    form.opened(meta, "gpu-box:8000")
    return form, said


def asked(form, *on_the_way, observation=SEEN, meta=META, arriving=0.0):
    """How each of the observations was sent that took so many seconds on their way, so many of them the answer's."""
    sent = []
    for seconds in on_the_way:
        made = form.made(observation, meta)["image.wrist"]
        assert isinstance(made, bytes) == (form.used != "raw")
        sent.append(form.used)
        form.answered(step(seconds, arriving))
    return sent


def step(seconds, arriving=0.0):
    return Step(0.0, seconds, 0.0, {"total_ms": 0.0}, arriving)


JPEG = "jpeg:90"


# -- what is asked for ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "images"),
    [
        ("raw", Images("raw")),
        ("auto", Images("auto")),
        ("jpeg", Images("jpeg", 90)),
        ("jpeg:1", Images("jpeg", 1)),
        ("jpeg:100", Images("jpeg", 100)),
    ],
)
def test_what_may_be_asked_for(text, images):
    assert parse_images(text) == images


@pytest.mark.parametrize(
    "text", ["", "png", "jpeg:", "jpeg:0", "jpeg:101", "jpeg:9.5", "jpeg:٩٠", "auto:90", "raw:1", "JPEG", None, 90]
)
def test_what_is_none_of_it_is_refused_with_what_there_is(text):
    with pytest.raises(ConfigurationError, match=r"images is .*; write raw, jpeg, jpeg:QUALITY \(1 to 100\) or auto"):
        InferenceClient("gpu-box", images=text)


def test_without_the_library_only_raw_can_be_asked_for(monkeypatch):
    monkeypatch.setitem(sys.modules, "simplejpeg", None)
    for text in ("jpeg", "auto"):
        with pytest.raises(ConfigurationError, match=r"need simplejpeg: pip install 'offboard-client\[images\]'"):
            InferenceClient("gpu-box", images=text)
    InferenceClient("gpu-box", images="raw")


# -- what is compressed --------------------------------------------------------------------------------------------
def test_images_become_jpeg_files_and_all_else_stays_what_it_is():
    depth, mask = np.zeros((48, 64, 1), np.uint8), np.zeros((48, 64), np.uint8)
    still = picture()
    still.flags.writeable = False
    seen = {
        **SEEN,
        "image.still": still,
        "image.depth": depth,
        "image.far": np.zeros((48, 64, 3), np.uint16),
        "image.none": np.zeros((0, 4, 3), np.uint8),
        "image.file": b"a JPEG already",
        "image.long": np.zeros((1, 9000, 3), np.uint8),
        "tactile": picture(),
        "declared": picture(),
        "mask": mask,
        "front_image": picture(),
        "observation.images.top": picture()[:, ::-1],
    }
    meta = {**META, "observation": {"declared": {"shape": [-1, -1, 3], "dtype": "uint8"}, "tactile": {}}}
    form, said = opened("jpeg", meta)
    made = form.made(seen, meta)
    files = {"image.wrist", "image.still", "declared", "front_image", "observation.images.top"}
    assert {name for name, value in made.items() if value is not seen[name]} == files
    for name in files:
        assert np.abs(decode_image(made[name]).astype(int) - seen[name]).max() < 16
    assert len(made["image.wrist"]) < picture().nbytes / 4
    assert isinstance(seen["image.wrist"], np.ndarray), "the robot's own is as it was"
    assert not said, "it was asked for"


def test_the_images_of_a_history_are_sent_in_the_same_way():
    form, _ = opened("jpeg:80")
    frame = {"image.wrist": picture(), "robot_state.q": np.ones(7)}
    made = form.made({**SEEN, CONTEXT["history"]: [frame]}, META)[CONTEXT["history"]]
    assert made[0]["image.wrist"] == to_jpeg(picture(), 80)
    assert made[0]["robot_state.q"] is frame["robot_state.q"]
    assert frame["image.wrist"].shape == (48, 64, 3)


def test_raw_is_the_very_observation():
    form, _ = opened("raw")
    assert form.made(SEEN, META) is SEEN
    assert form.used == "raw"


# -- who takes none ------------------------------------------------------------------------------------------------
OLDER = {"offboard_version": "0.1"}


@pytest.mark.parametrize(
    ("meta", "why"),
    [
        ({"type": "foreign"}, "gpu-box:8000 does not say that it reads JPEG files"),
        ({**META, "image_formats": ["raw"]}, "gpu-box:8000 takes images as raw only"),
    ],
)
def test_jpeg_is_never_sent_to_who_does_not_take_it(meta, why):
    with pytest.raises(ConfigurationError, match=why):
        opened("jpeg", meta)
    form, said = opened("auto", meta)
    assert not form.wants_trip
    assert asked(form, *[10.0] * 5, meta=meta) == ["raw"] * 5
    form.opened(meta, "gpu-box:8000")
    assert said == ["images stay raw: gpu-box:8000 takes no others"]


def test_a_server_of_ours_that_does_not_say_so_yet_reads_them():
    assert opened("jpeg", OLDER)[0].used == JPEG


# -- auto ----------------------------------------------------------------------------------------------------------
def test_auto_changes_over_once_after_three_raw_answers_and_says_so():
    form, said = opened("auto")
    assert form.wants_trip
    form.controlled("ping", 0.01, {})
    assert not form.wants_trip
    assert asked(form, 3.0, 2.0, 2.5, 0.01, 0.01) == ["raw", "raw", "raw", JPEG, JPEG]
    (text,) = said
    assert "images are sent as jpeg:90 from here on, which loses detail" in text
    assert "2e+03 ms raw" in text, "the quickest of the three"
    form.controlled("reset", 0.001, {})
    form.opened(META, "gpu-box:8000")
    assert asked(form, 0.01) == [JPEG], "it is worth it"
    assert len(said) == 1


@pytest.mark.parametrize(
    ("trip", "on_the_way"),
    [
        (0.0, 0.004),  # there is nothing to save
        (2.0, 2.003),  # the way is long, and not narrow
        (9.0, 2.0),  # the empty way was measured in a bad moment
    ],
)
def test_auto_stays_raw_where_jpeg_saves_nothing_to_speak_of(trip, on_the_way):
    form, said = opened("auto")
    form.controlled("ping", trip, {})
    assert asked(form, *[on_the_way] * 8) == ["raw"] * 8
    assert [text.partition(":")[0] for text in said] == ["images stay raw"]


def test_a_link_that_became_slow_is_seen_at_the_beginning_of_an_episode_and_not_before():
    form, said = opened("auto")
    form.controlled("ping", 0.001, {})
    assert asked(form, *[0.002] * 4) == ["raw"] * 4
    form.controlled("reset", 0.001, {})
    assert asked(form, *[3.0] * 20) == ["raw"] * 20, "in mid-episode nothing changes"
    form.controlled("reset", 0.001, {})
    assert asked(form, 0.01) == [JPEG]
    assert len(said) == 2
    assert said[0].startswith("images stay raw")


def test_one_slow_answer_is_no_slow_link():
    form, said = opened("auto")
    form.controlled("ping", 0.001, {})
    assert asked(form, 9.0, 9.0, 0.002, 0.002) == ["raw"] * 4
    form.controlled("reset", 0.001, {})
    assert asked(form, *[0.002] * 5, 9.0) == ["raw"] * 6
    form.controlled("reset", 0.001, {})
    assert asked(form, 0.002) == ["raw"], "later it is what they mostly took"
    assert len(said) == 1


def test_the_trip_is_the_shortest_until_the_first_decision():
    """A reset may have had the policy to wait for."""
    form, _ = opened("auto")
    form.controlled("ping", 9.0, {"model_ms": 8990.0})
    form.controlled("reset", 9.0, {})
    assert asked(form, 2.0, 2.0, 2.0, 0.1)[-1] == JPEG


def test_what_was_sent_without_an_image_says_nothing_of_the_link():
    form, said = opened("auto")
    form.controlled("ping", 0.0, {})
    for _ in range(5):
        form.made({"robot_state.q": np.zeros(7)}, META)
        form.answered(step(5.0))
    assert asked(form, *[0.001] * 4) == ["raw"] * 4
    assert len(said) == 1


def test_what_an_answer_takes_to_arrive_is_not_the_images():
    """As a chunk of 480 kB does on a link that is slow in its direction."""
    form, said = opened("auto")
    form.controlled("ping", 0.01, {})
    assert asked(form, *[1.05] * 4, arriving=1.0) == ["raw"] * 4
    assert said[0].startswith("images stay raw: an exchange takes about 1.0")
    form, said = opened("auto")
    form.controlled("ping", 0.01, {})
    assert asked(form, *[3.0] * 4, arriving=1.0)[-1] == JPEG
    foretold = float(said[0].partition("about ")[2].partition(" ms as JPEG")[0])
    assert foretold > 1000, "the answer takes what it took"


def test_an_answer_arrives_from_its_first_byte_to_its_last(clients):
    """Over a real connection, on which half of each answer is late."""

    def visit(peer):
        peer.ready({**OFFBOARD, "image_formats": ["jpeg"]})
        assert peer.receive()["type"] == "ping"
        peer.send({"status": "pong"})
        for _ in range(5):
            sent.append(type(peer.receive()["image.wrist"]))
            answer = {"result": [], "timing": {"total_ms": 0.0}, "offboard.seq": peer.seq, "more": bytes(1000)}
            frame = Frame(Opcode.BINARY, encode(answer)).serialize(mask=False)
            peer.raw.sendall(frame[:500])
            time.sleep(0.5)
            peer.raw.sendall(frame[500:])
        peer.wait_for_close()

    sent, says = [], []
    with ScriptedServer(visit) as server:
        client = clients.client("127.0.0.1", server.port, images="auto", on_notice=says.append)
        session = clients.wait(client.new_session())
        for _ in range(5):
            clients.wait(session.infer({"image.wrist": picture(96, 96)}))
        clients.wait(session.close())
    assert sent == [np.ndarray] * 5
    assert says[0].startswith("images stay raw: an exchange takes about ")


def test_where_jpeg_gained_nothing_the_next_episode_is_raw_again_and_that_is_said():
    """Whatever makes the way long: something that is not the images' size, and that nobody has measured."""
    form, said = opened("auto")
    form.controlled("ping", 0.01, {})
    assert asked(form, *[2.0] * 9) == ["raw"] * 3 + [JPEG] * 6, "in mid-episode nothing changes"
    form.controlled("reset", 0.01, {})
    assert asked(form, *[2.0] * 9) == ["raw"] * 9
    assert len(said) == 2
    assert said[1].startswith("images are sent raw again: as JPEG an exchange took about 2e+03 ms, and 2e+03 ms before")
    assert form.why == said[1]
    for _ in range(3):
        form.controlled("reset", 0.01, {})
        assert asked(form, *[2.0] * 4) == ["raw"] * 4, "what it came to is known"
    assert len(said) == 2
    asked(form, *[9.0] * 9)
    form.controlled("reset", 0.01, {})
    assert asked(form, *[2.0] * 4) == [JPEG] * 4, "the link is slower by now"
    form.controlled("reset", 0.01, {})
    assert asked(form, *[2.0] * 4) == [JPEG] * 4
    assert len(said) == 3


def test_a_link_that_became_slower_takes_no_jpeg_back():
    """It takes longer than raw did on the quicker link; raw would take longer still."""
    form, said = opened("auto")
    form.controlled("ping", 0.01, {})
    asked(form, *[0.75] * 3, *[0.06] * 6)
    for _ in range(3):
        form.controlled("reset", 0.01, {})
        assert asked(form, *[1.2] * 9) == [JPEG] * 9
    assert len(said) == 1


def test_a_slow_answer_or_two_takes_no_jpeg_back():
    form, said = opened("auto")
    form.controlled("ping", 0.01, {})
    asked(form, *[2.0] * 3, 0.1, 5.0, 0.1, 5.0, 0.1)
    form.controlled("reset", 0.01, {})
    assert asked(form, 0.1) == [JPEG]
    form.controlled("reset", 0.01, {})
    assert asked(form, 9.0) == [JPEG]
    form.controlled("reset", 0.01, {})
    assert asked(form, 0.1) == [JPEG], "two are too few to say"
    assert len(said) == 1


# -- a server that says what cannot be -----------------------------------------------------------------------------
WRONG = ["x", None, [1], True, float("nan"), float("inf"), -1e12, 1e300, 10**30, 500.0]


@pytest.mark.parametrize("said", WRONG)
def test_a_wrong_pong_makes_no_link_slow(said):
    """The way is 100 ms long and not narrow: whatever the server says of its own time, nothing is saved by JPEG."""
    form, says = opened("auto")
    form.controlled("ping", 0.1, {"model_ms": said})
    assert asked(form, *[0.101] * 6) == ["raw"] * 6
    assert says[0].startswith("images stay raw: an exchange takes")
    assert form.why == says[0]


@pytest.mark.parametrize("said", ["x", float("nan"), -1e12])
def test_of_a_wrong_time_nothing_is_decided(clients, said):
    """Over a real connection: answers that take 20 ms of the server's own time, which it states wrongly."""

    def visit(peer):
        peer.ready({**OFFBOARD, "image_formats": ["jpeg"]})
        assert peer.receive()["type"] == "ping"
        peer.send({"status": "pong", "model_ms": said})
        for _ in range(5):
            sent.append(type(peer.receive()["image.wrist"]))
            time.sleep(0.02)
            peer.send({"result": [], "timing": {"total_ms": said}, "offboard.seq": peer.seq})
        peer.wait_for_close()

    sent, says = [], []
    with ScriptedServer(visit) as server:
        client = clients.client("127.0.0.1", server.port, images="auto", on_notice=says.append)
        session = clients.wait(client.new_session())
        for _ in range(5):
            assert clients.wait(session.infer({"image.wrist": picture(480, 640)})) == []
        assert (session.images, session.images_why) == ("raw", says[0])
        clients.wait(session.close())
    assert sent == [np.ndarray] * 5
    assert len(says) == 1
    assert "does not say how long it had them" in says[0]


def test_a_way_that_was_never_measured_is_no_short_one():
    form, _ = opened("auto")
    assert asked(form, *[2.0] * 5) == ["raw"] * 5


def test_a_server_that_takes_no_jpeg_after_a_reconnect_gets_none():
    form, said = opened("auto")
    form.controlled("ping", 0.01, {})
    assert asked(form, 3.0, 3.0, 3.0, 0.1)[-1] == JPEG
    form.opened({**META, "image_formats": ["raw"]}, "other:8000")
    assert asked(form, 3.0, 3.0, 3.0, 3.0) == ["raw"] * 4
    assert said[-1] == form.why == "images stay raw: other:8000 takes no others"


def test_why_they_are_sent_so_can_be_asked():
    assert opened("raw")[0].why == opened("jpeg:80")[0].why == "it was asked for"
    form, said = opened("auto")
    assert form.why == "auto decides when 3 raw answers to images are measured"
    form.controlled("ping", 0.01, {})
    asked(form, 3.0, 3.0, 3.0, 0.1)
    assert form.why == said[0]
    assert "loses detail" in form.why
