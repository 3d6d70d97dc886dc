"""Records a server's sessions: an observer, so that no inference waits for a disk."""

from __future__ import annotations

import logging
import sys
import tempfile
import threading
from pathlib import Path

from offboard_client.errors import ConfigurationError, RecordingFailed, counted, told
from offboard_client.recording import finish_all
from offboard_client.terminal import program_facts

from ..engine import ExchangeRecord, Observer
from .options import RecordingOptions
from .session import SessionRecording

log = logging.getLogger(__name__)


class SessionRecorder(Observer):
    """One MCAP file for each session, from its first observation to its end.

    A file that cannot be written, as on a full disk, ends the recording of its session; the next one is tried anew.
    """

    #: Of a robot without cameras; with them the bytes decide.
    waiting = 1024

    def __init__(self, options: RecordingOptions) -> None:
        """Raises ConfigurationError for a folder that cannot be made, or written into."""
        self._options = RecordingOptions(dir=options.dir.expanduser(), sent=options.sent, seen=options.seen)
        folder = self._options.dir
        try:
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            raise ConfigurationError(
                f"no recordings can be written into {folder}: {error.strerror or told(error)}"
            ) from error
        program = Path(sys.argv[0]).name
        self._facts = program_facts("offboard" if program == "__main__.py" else program)
        #: None: its recording has failed.
        self._sessions: dict[str, SessionRecording | None] = {}
        self._closed = threading.Event()
        # What a killed server has left behind may be large, and a server that starts again is waited for.
        self._rescue = threading.Thread(target=self._finish, name="offboard-recording-rescue", daemon=True)
        self._rescue.start()

    def exchanged(self, record: ExchangeRecord) -> None:
        """Write it."""
        name = record.session_id
        try:
            if name not in self._sessions:
                self._sessions[name] = None
                self._sessions[name] = SessionRecording(self._options, self._facts, record)
            if (session := self._sessions[name]) is not None:
                session.write(record)
        except RecordingFailed as error:
            if (failed := self._sessions[name]) is not None:
                failed.abandon()
                self._sessions[name] = None
            log.error("the session %s is not recorded any further: %s", name[:8], error.text)

    def ended(self, session_id: str) -> None:
        """Its file is finished."""
        session = self._sessions.pop(session_id, None)
        if session is None:
            return
        try:
            session.finish()
        except RecordingFailed as error:
            log.error("the recording of the session %s has no end: %s", session_id[:8], error.text)
        else:
            log.info("recorded %s in %s", counted(session.exchanges, "exchange"), session.path.name)

    def close(self) -> None:
        """Finish all files."""
        self._closed.set()
        for name in list(self._sessions):
            self.ended(name)

    def _finish(self) -> None:
        def failed(error: RecordingFailed) -> None:
            log.warning("a recording that was left behind stays as it is: %s", error.text)

        for path in finish_all(self._options.dir, failed):
            log.info("%s was left behind unfinished: it has its index now", path.name)
            if self._closed.is_set():
                return
