"""Images over a slow link, from the client through a server to its model."""

from contextlib import contextmanager

import numpy as np
import pytest
from fault_proxy import FaultProxy
from offboard_client import InferenceClient
from offboard_client.errors import ConfigurationError, OffboardError
from offboard_core import Chunk, InferenceServer
from puppets import Puppet, source
from scripted_server import Both

#: Bytes per second: an image of 96 x 96 takes 0.3 s raw.
SLOW = 100_000


@pytest.fixture(params=["blocking", "async"])
def clients(request):
    with Both(request.param) as both:
        yield both


def picture():
    y, x = np.mgrid[0:96, 0:96]
    return np.stack([2 * x, 2 * y, x + y], -1).astype(np.uint8)


@contextmanager
def served(seen, clients, images, *, meta=None, linked=False):
    """A session, what its client said, and the link where there is one. ``seen``: the images that the model saw."""

    def infer(episode, inputs):
        seen.append(inputs["image.wrist"])
        return Chunk(np.ones((2, 3)))

    said = []
    model = source({"m": lambda: Puppet(infer, meta=meta)})
    with InferenceServer({"m": model}, port=0) as server, FaultProxy(server.port) as link:
        port = link.port if linked else server.port
        session = clients.session("127.0.0.1", port, images=images, on_notice=said.append, shared_memory=False)
        try:
            yield session, said, link
        finally:
            clients.wait(session.close())


def exact(images):
    return [np.array_equal(image, picture()) for image in images]


def test_auto_changes_over_on_a_slow_link_and_the_model_sees_nearly_the_same(clients):
    seen, used = [], []
    with served(seen, clients, "auto", linked=True) as (session, said, link):
        assert session.metadata["image_formats"] == ["raw", "jpeg", "png"]
        link.rate = SLOW
        for _ in range(5):
            clients.wait(session.infer({"image.wrist": picture()}))
            used.append(session.images)
        slow, quick = session.timing.summary()["network_ms"]["p95"], session.timing.last["network_ms"]
        link.rate = None
        clients.wait(session.reset())
        clients.wait(session.infer({"image.wrist": picture()}))
    assert used == ["raw"] * 3 + ["jpeg:90"] * 2
    assert exact(seen) == [True] * 3 + [False] * 3
    assert all(np.abs(image.astype(int) - picture()).max() < 16 for image in seen)
    assert quick < slow
    assert len(said) == 1
    assert said[0].startswith("images are sent as jpeg:90 from here on")


def test_jpeg_goes_on_over_a_reconnect(clients):
    seen = []
    with served(seen, clients, "jpeg:95", linked=True) as (session, said, link):
        clients.wait(session.infer({"image.wrist": picture()}))
        link.reset()
        with pytest.raises(OffboardError):
            clients.wait(session.infer({"image.wrist": picture()}))
        clients.wait(session.infer({"image.wrist": picture()}))
        assert session.images == "jpeg:95"
    assert not any(exact(seen))
    assert not said


def test_a_policy_that_wants_its_images_raw_gets_them_so(clients):
    seen, meta = [], {"image_formats": ["raw"]}
    with served(seen, clients, "auto", meta=meta) as (session, said, _):
        clients.wait(session.infer({"image.wrist": picture()}))
    assert exact(seen) == [True]
    assert len(said) == 1
    with pytest.raises(ConfigurationError, match="takes images as raw only"), served([], clients, "jpeg", meta=meta):
        pass


def test_without_a_word_a_notice_is_a_line_in_the_log(caplog):
    raw = source({"m": lambda: Puppet(meta={"image_formats": ["raw"]})})
    with InferenceServer({"m": raw}, port=0) as server, InferenceClient("127.0.0.1", server.port, images="auto") as c:
        c.new_session().close()
    assert "images stay raw" in caplog.text
