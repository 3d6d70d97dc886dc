"""One place says who may begin a session, whatever the transport."""

import asyncio
import logging

import pytest
from offboard_client.errors import Full, ShuttingDown, Unauthorized
from offboard_core import ConfigurationError
from offboard_core.frontends import Admission, Peer
from puppets import Puppet, source
from scarce import without_descriptors
from service_bed import open_session, serving


def peer(number=1, token=None, **more):
    return Peer("pigeon", f"pigeon {number}", token, **more)


def run(main):
    async def served():
        async with serving(source({"a": Puppet})) as service:
            await main(service)

    asyncio.run(served())


def test_places_are_counted_over_all_transports_and_given_back():
    async def main(service):
        admission = Admission(service, max_sessions=2)
        with admission.enter(peer()):
            full = pytest.raises(Full, match=r"2 sessions, as many as it takes \(--max-sessions\)")
            with admission.enter(Peer("websocket", "127.0.0.1:1")), full, admission.enter(peer(2)):
                pass
            with pytest.raises(KeyError), admission.enter(peer(2)):
                raise KeyError
            with admission.enter(peer(3)):
                pass

    run(main)


def test_the_quietest_of_any_transport_makes_room():
    async def main(service):
        admission, told = Admission(service, max_sessions=1, quiet=1e-9), []
        session = await open_session(service)
        session.on_evict(told.append)
        with admission.enter(peer()), admission.enter(peer(2)):
            assert [error.code for error in told] == ["idle"]
        session.close()

    run(main)


@pytest.mark.parametrize("token", [None, "", "right ", "wrong", "r\u00efght", "\udcff"])
def test_a_wrong_token_is_refused_in_the_words_of_its_transport(token):
    async def main(service):
        admission = Admission(service, token="right")
        said = "this server wants a token" if token is None else "this is not the token that this server wants"
        with pytest.raises(Unauthorized, match=f"^{said}: put it on the leg"):
            admission.enter(peer(token=token, how="put it on the leg")).__enter__()
        with admission.enter(peer(token="right")):
            pass
        assert not admission.open

    run(main)


@pytest.mark.parametrize("token", ["", "two words", "caf\u00e9"])
def test_a_token_that_nobody_can_send_is_none(token):
    async def main(service):
        with pytest.raises(ConfigurationError, match="the token is empty or holds characters"):
            Admission(service, token=token)

    run(main)


def test_nobody_is_let_in_once_it_drains():
    async def main(service):
        admission = Admission(service)
        with admission.enter(peer()):
            admission.drain()
            with pytest.raises(ShuttingDown):
                admission.enter(peer(2)).__enter__()

    run(main)


def test_the_reserve_of_file_descriptors_is_for_no_session():
    async def main(service):
        admission = Admission(service)
        with without_descriptors():
            with pytest.raises(Full, match="no file descriptors left"):
                admission.enter(peer()).__enter__()
            with admission.enter(peer(scarce=False)):
                pass
        with pytest.raises(Full), admission.enter(peer(scarce=True)):
            pass
        with admission.enter(peer()):
            pass

    run(main)


def test_a_refusal_is_counted_and_one_line_of_the_log(caplog):
    async def main(service):
        with caplog.at_level(logging.WARNING):
            Admission(service).refused(Peer("pigeon", "a\n\x1b[1m"), Full("no perch"))
        assert caplog.messages == [r"refused a session of a\n\x1b[1m (pigeon): no perch"]
        assert service.stats.refused == {"full": 1}

    run(main)
