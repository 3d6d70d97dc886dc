"""What a message says in words, found without making anything of what else it holds: for the event loop."""

from __future__ import annotations

from offboard_core.frontends import NO_MESSAGE, Walk

#: Bytes of a message's texts, at most: what has more is left to who may take longer.
MOST_BYTES = 4096
_OBSERVATION = b"\xabobservation"


def texts_of(frame: bytes) -> bytes | None:
    """The texts of an observation's message with their names, as they were packed; empty where it has none.

    A task has many names, a model's own among them, and may be a batch of one: so a text is whatever is a string, or a
    list that begins with one. None for what is no whole message of msgpack with an observation, has more parts than
    :class:`~offboard_core.frontends.Walk` goes over, or more than :data:`MOST_BYTES` of texts.
    """
    walk = Walk(frame)
    try:
        found = _texts(walk, frame)
    except NO_MESSAGE:
        return None
    return found if walk.at == len(frame) and found is not None and len(found) <= MOST_BYTES else None


def _texts(walk: Walk, frame: bytes) -> bytes | None:
    found = None
    for _ in range(walk.enter()):
        if not walk.skip_text(_OBSERVATION):
            walk.skip()
            continue
        found = found or b""
        for _ in range(walk.enter()):
            begin = walk.at
            walk.skip()
            is_text = walk.is_text()
            walk.skip()
            if is_text and len(found) <= MOST_BYTES:
                found += frame[begin : min(walk.at, begin + MOST_BYTES + 1)]
    return found
