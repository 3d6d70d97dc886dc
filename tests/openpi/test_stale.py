"""openpi numbers nothing. What it says once more is told from an answer by the pong that comes between the two."""

import numpy as np
import pytest
from lying_openpi import Liar, attach, frame, infer


def actions(value):
    return {"actions": np.full((2, 8), value)}


def heard(peer):
    return float(peer.hear()["state"][0])


def answers(liar, count):
    """What ``count`` observations are answered with: it ought to be their own number."""
    server = attach(liar)
    try:
        return [infer(server, {"state": np.full(8, i)})["actions"][0, 0] for i in range(1, count + 1)]
    finally:
        server.close()


@pytest.mark.parametrize("pieces", [False, True])
def test_an_answer_that_comes_again_after_the_next_question_is_not_its_answer(pieces):
    def script(peer):
        value = heard(peer)
        peer.pong()
        peer.say(frame(actions(value)))
        following = heard(peer)  # so that nothing can be seen of it before the question
        if pieces:
            peer.say(frame(b"", fin=False))
            peer.pong()
            peer.say(frame(actions(value), 0))
        else:
            peer.say(frame(actions(value)))
            peer.pong()
        peer.say(frame(actions(following)))
        liar.wait()

    with Liar(script) as liar:
        assert answers(liar, 3) == [1, 2, 3]
        assert liar.connections == 3, "each socket was left at its first stale answer"


@pytest.mark.parametrize("late", [False, True])
def test_a_server_whose_pongs_say_nothing_is_served_as_before(late):
    """One that answers no pings, or those first that it took in last."""

    def script(peer):
        while True:
            peer.say(frame(actions(heard(peer))))
            if late:
                peer.pong()

    with Liar(script) as liar:
        assert answers(liar, 5) == [1, 2, 3, 4, 5]
        assert liar.connections == 1


def test_a_server_that_answers_in_order_keeps_its_connection():
    def script(peer):
        while True:
            value = heard(peer)
            peer.pong()
            peer.say(frame(actions(value)))

    with Liar(script) as liar:
        assert answers(liar, 20) == list(range(1, 21))
        assert liar.connections == 1
