"""A child that is started, watched, started again when it ends, and stopped.

A thread of its own waits for the child's end and brings the next one up. Whoever asks the child for something never
waits for a start: while there is none that answers, :meth:`Supervisor.check_ready` says so at once.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from offboard_client.errors import LoadFailed, ModelLost, OffboardError, PolicyFailed, told

from ..types import Health, ReportProgress
from .child import Child

log = logging.getLogger(__name__)

#: Seconds before the first restart; doubled for each one after.
BACK_OFF = 0.5
#: Seconds between two looks at whether the child is to be watched still.
_LOOK = 0.5
#: Seconds that a closing waits for the thread, beyond the child's own end.
_JOIN_SECONDS = 10.0
#: Seconds that the end of a child may take to be known here, after its sockets have closed.
_MOMENT = 0.5
_RESTARTED = "being restarted"
_GOING = "the server is going away"


class Supervisor:
    """Keeps one child running. Nothing runs before :meth:`open`, nor after :meth:`close`.

    :meth:`open` is called once. The others are for any thread, also while it runs; only :meth:`restart` and
    :meth:`close` wait, for the child's end.
    """

    def __init__(
        self,
        start: Callable[[], Child],
        probe: Callable[[], bool],
        explain: Callable[[str], LoadFailed],
        ended: Callable[[], None],
        *,
        name: str,
        startup_timeout: float,
        restarts: int,
        every: float = 0.25,
    ) -> None:
        """``name``: what errors call the child's program.

        ``start``: starts a child, or raises. ``probe``: whether the child answers; it returns within moments, and
        raises where what answers is wrong. ``ended``: lets go of what belonged to a child that ended or never answered,
        just before it is stopped; it raises nothing. After :meth:`close` whoever called that lets go of it. These three
        are called by :meth:`open`, later by the supervisor's thread, never two at a time.
        ``explain``: from how it ended to an error with the likely cause and the next step.
        ``startup_timeout``: seconds from a start to the first ``probe()`` that is true. ``restarts``: how many are
        tried in a row before the child is given up; :meth:`answered` begins a new row. ``every``: seconds between two
        probes; 0 where ``probe`` waits a moment itself.
        """
        self._start, self._probe, self._explain, self._ended = start, probe, explain, ended
        self._name, self._startup_timeout, self._restarts = name, startup_timeout, restarts
        self._every = every
        self._lock = threading.Condition()
        self._child: Child | None = None
        self._up = self._closed = False
        self._failures = 0
        self._doing = _RESTARTED
        #: How the last one ended by itself.
        self._how: str | None = None
        self._stopped: Child | None = None
        self._lost: str | None = None
        self._thread: threading.Thread | None = None

    def open(self, report: ReportProgress) -> None:
        """Start the child, wait until it answers, and watch it; ``report`` is told its last line.

        Raises LoadFailed as ``explain`` has it, also for an OffboardError of ``start`` or ``probe``; any other error as
        it is. Then nothing runs.
        """
        try:
            self._launch(report)
        except OffboardError as error:
            raise self._explained(error.text, isinstance(error, LoadFailed) and error.permanent) from None
        thread = threading.Thread(target=self._watch, name=f"offboard-{self._name}", daemon=True)
        try:
            thread.start()
        except BaseException as error:  # Ctrl-C may come when it runs already: it ends then, too
            self.close()
            if isinstance(error, RuntimeError):
                raise LoadFailed(f"{self._name} cannot be watched: {error}") from None
            raise
        self._thread = thread

    @property
    def up(self) -> bool:
        """Whether there is one that has answered and is not known to have ended. Costs nothing."""
        return self._up

    def check_ready(self) -> None:
        """Raises ModelLost once the child is given up, PolicyFailed while there is none that answers."""
        with self._lock:
            lost, ready = self._lost, self._is_ready()
        if lost is not None:
            raise ModelLost(lost)
        if not ready:
            raise PolicyFailed(f"{self._restarting()}; try again later")

    def health(self) -> Health:
        """As :meth:`Policy.health`."""
        with self._lock:
            lost, ready = self._lost, self._is_ready()
        if lost is not None:
            return Health("failed", lost)
        return Health() if ready else Health("recovering", self._restarting())

    def recovery(self) -> str:
        """What becomes of a child that broke off, and the last line that it wrote, for an error.

        Waits a moment for one that is about to end.
        """
        child = self._child
        if child is not None and not child.wait(_MOMENT):
            return f"{self._name} runs on"
        return self._restarting()

    def answered(self) -> None:
        """The child has done what it is there for: the restarts before this count no longer."""
        self._failures = 0

    def restart(self) -> None:
        """Stop a child that hangs; the thread starts the next one."""
        with self._lock:
            child, self._up = self._child, False
        if child is not None:
            if not child.wait(_MOMENT):  # what looks like one that hangs may just have been killed, which is told then
                self._stopped = child
            child.stop()

    def close(self) -> None:
        """Stop the child and everything it started. Idempotent."""
        with self._lock:
            self._closed = True
            child = self._child
            self._lock.notify_all()
        if child is not None:
            child.stop()
        if self._thread is not None:
            self._thread.join(_JOIN_SECONDS)

    def _is_ready(self) -> bool:
        return self._up and self._child is not None and self._child.running

    def _explained(self, text: str, permanent: bool = False) -> LoadFailed:
        try:
            explained = self._explain(text)
            return LoadFailed(explained.text, permanent=permanent or explained.permanent)
        except BaseException:  # else nobody would hear that the child is gone
            log.exception("the end of %s cannot be explained", self._name)
            return LoadFailed(text, permanent=permanent)

    def _let_go(self) -> None:
        try:
            self._ended()
        except BaseException:
            log.exception("what belonged to %s could not be let go of", self._name)

    def _restarting(self) -> str:
        child = self._child
        said, how = f"{self._name} is {self._doing}", self._how
        if how is None and child is not None and not child.running and child is not self._stopped:
            how = child.how()  # the thread that watches it has not seen that yet
        if how is not None:
            said += f", for it {how}"
        if child is not None and child.last_line:
            # Of one that has ended it is no cause by itself: it may have been killed in the middle of anything.
            said += f"; {'it says' if child.running else 'its log ended with'}: {child.last_line}"
        return said

    def _launch(self, report: ReportProgress) -> None:
        child = self._start()
        with self._lock:
            self._child, closed = child, self._closed
        try:
            if closed:
                raise LoadFailed(_GOING)
            child.wait_ready(self._probe, self._startup_timeout, report, self._every)
            if not child.running:
                raise LoadFailed(child.death())
        except BaseException as error:
            self._let_go()
            child.stop()
            if self._closed and isinstance(error, OffboardError):
                raise LoadFailed(_GOING) from None
            raise
        with self._lock:
            self._up = True

    # -- the supervisor's thread ----------------------------------------------------------------------------
    def _watch(self) -> None:
        while (child := self._child) is not None and not self._closed:
            if child.wait(_LOOK) and not self._closed:
                log.error("%s", child.death() if not child.logged else f"{child.name} {child.how()}")
                with self._lock:
                    self._up = False
                    self._how = None if child is self._stopped else child.how()
                self._let_go()
                child.stop()
                self._recover(child.death())

    def _recover(self, death: str) -> None:
        """Start it again, until it answers, is given up, or this is closed."""
        while not self._closed:
            self._failures += 1
            if self._failures > self._restarts:
                lost = self._explained(f"{self._name} failed {self._failures} times in a row: {death}").text
                with self._lock:
                    self._child, self._lost = None, lost
                log.error("%s is given up after %d failures in a row", self._name, self._failures)
                return
            pause = BACK_OFF * 2 ** (self._failures - 1)
            self._doing = f"{_RESTARTED} (attempt {self._failures} of {self._restarts})"
            log.warning("%s is %s in %g s", self._name, self._doing, pause)
            with self._lock:
                if self._lock.wait_for(lambda: self._closed, pause):
                    return
            try:
                self._launch(lambda _: None)
                self._doing, self._how = _RESTARTED, None
                log.warning("%s runs again", self._name)
                return
            except OffboardError as error:
                death = error.text
            # SystemExit included: the thread that brings the next one up must not end of it.
            except BaseException as error:
                log.exception("%s cannot be restarted", self._name)
                death = told(error)


__all__ = ["Supervisor"]
