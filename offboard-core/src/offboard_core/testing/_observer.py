"""An observer takes whatever happens on a server, and lets go of everything in the end."""

from __future__ import annotations

import copy
import dataclasses
import threading
import time
from typing import Any

import numpy as np

from ..engine import ExchangeRecord, Observer
from ..types import Chunk

#: Seconds in which a thread that was told to end has ended: a bound for a test that has failed.
_PATIENCE = 30.0


class ObserverLaws:
    """What the server relies on. Say how one is made; its records are those of an arm with a camera."""

    def observer(self) -> Observer:
        """One that has seen nothing."""
        raise NotImplementedError("say by observer() how one is made")

    def test_it_says_what_it_wants(self) -> None:
        """Whether it reads what was said, and how many records and bytes may wait for it; all of that stays."""
        observer = self.observer()
        assert type(observer.contents) is bool
        for most in (observer.waiting, observer.waiting_bytes):
            assert type(most) is int
            assert most >= 1
        wants = observer.contents, observer.waiting, observer.waiting_bytes
        for record in _records(observer.contents):
            observer.exchanged(record)
        assert (observer.contents, observer.waiting, observer.waiting_bytes) == wants
        observer.close()

    def test_it_takes_whatever_is_answered(self) -> None:
        """A chunk, nothing new, an error before or after the model, of several sessions, in any order; their ends."""
        observer = self.observer()
        records = _records(observer.contents)
        for record in (*records, *reversed(records)):
            observer.exchanged(record)
        for name in {record.session_id for record in records}:
            observer.ended(name)
        observer.close()

    def test_it_writes_into_nothing(self) -> None:
        """Others are given the same record."""
        observer = self.observer()
        for record in _records(observer.contents):
            before = copy.deepcopy(dataclasses.asdict(record))
            observer.exchanged(record)
            np.testing.assert_equal(dataclasses.asdict(record), before)
        observer.close()

    def test_it_ends(self) -> None:
        """Whether it saw something or not, no thread of it runs after ``close``."""
        threads = set(threading.enumerate())
        idle, busy = self.observer(), self.observer()
        for record in _records(busy.contents):
            busy.exchanged(record)
        for observer in (idle, busy):
            observer.close()
        left = [thread for thread in threading.enumerate() if thread not in threads]
        for thread in left:
            thread.join(_PATIENCE)
        assert not [thread.name for thread in left if thread.is_alive()]


def _records(contents: bool) -> list[ExchangeRecord]:
    """An episode's beginning, with the contents only for who reads them."""
    chunk = Chunk({"target_joints": _fixed(np.zeros((4, 7)))}, _fixed(np.arange(4) / 10))
    whole: dict[str, Any] = {
        "robot_ms": 30.0, "encode_ms": 0.1, "frame_bytes": 1000, "reply_bytes": 500, "error": None,
        "timing": {
            "queue_ms": 0.1, "decode_ms": 0.2, "codec_ms": 0.1, "infer_ms": 5.0, "total_ms": 6.0, "batch": 1,
        },
        "observation": {"robot_state.q": _fixed(np.zeros(7)), "image.wrist": _fixed(np.zeros((8, 8, 3), np.uint8))},
        "inputs": {"state": _fixed(np.zeros(7))}, "chunk": Chunk(_fixed(np.zeros((4, 7)))), "reply_chunk": chunk,
    }  # fmt: skip
    said: dict[str, Any] = dict.fromkeys(("observation", "inputs", "chunk", "reply_chunk"))
    unread: dict[str, Any] = dict.fromkeys(("frame_bytes", "reply_bytes", "encode_ms", "robot_ms"))
    changes: list[dict[str, Any]] = [
        {"robot_ms": None},
        {},
        {"chunk": None, "reply_chunk": None},
        {**said, "error": "bad_message"},
        {**said, **unread, "error": "timeout"},
        {"session_id": "another", "chunk": None, "reply_chunk": None, "error": "policy_failed"},
    ]
    records: list[ExchangeRecord] = []
    for number, change in enumerate(changes, 1):
        given: dict[str, Any] = {
            "session_id": "one",
            "model_id": "a",
            "replica": 0,
            "number": number,
            **whole,
            **change,
        }
        if not contents:
            given.update(said)
        records.append(ExchangeRecord(arrived=time.perf_counter(), wall_time=time.time(), **given))
    return records


def _fixed(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    array.flags.writeable = False
    return array
