"""A worker as its server sees it: started, listened to, asked, and started again where it ends."""

from __future__ import annotations

import logging
import math
import socket
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any, cast

from offboard_client.errors import InferTimeout, LoadFailed, OffboardError, PolicyFailed
from offboard_client.memory import Broken

from ..process import Child, Supervisor, oom_kills, resident_bytes, unshared
from ..types import Elsewhere, Health, ReportProgress
from .channel import ANSWER_BYTES, QUESTION_BYTES, Channel, Gone
from .ears import Ears
from .ends import OUT_OF_MEMORY, explained
from .forms import again, error_in, with_news
from .interpreter import PATIENCE
from .isolation import Isolation

log = logging.getLogger(__name__)

_BOOT = Path(__file__).with_name("_boot.py")
#: The number of what it is to load; each question after it has a greater one.
_RECIPE = 0
#: Seconds between two looks at a load's news.
_LOOK = 0.25
#: What core itself reads there.
_INHERITED = ("OFFBOARD_CACHE",)
#: Seconds that a policy may take to close, within those that the server gives it.
_CLOSE_SECONDS = 2.0
#: Seconds until the end of one that hangs up is known; after that it is one that lives on and answers nothing.
_END_SECONDS = 3.0


class Worker:
    """One worker. :meth:`ask` is for one thread at a time; :meth:`health` and :meth:`close` are for any.

    :attr:`generation` counts the processes: what one knew the next does not. :attr:`infer_timeout`: seconds that a call
    may take.
    """

    def __init__(
        self, recipe: dict[str, Any], start: dict[str, Any], python: Path, isolation: Isolation, *, name: str
    ) -> None:
        """Nothing runs before :meth:`open`.

        ``recipe``: what it loads, as plain data. ``start``: what its boot is told.
        """
        self._recipe, self._start, self._python = recipe, start, python
        self._isolation, self._name = isolation, name
        self._supervisor = Supervisor(
            self._begin, self._loaded, self._explain, self._ended, name=name, startup_timeout=math.inf,
            restarts=isolation.restarts, every=0.0,
        )  # fmt: skip
        self._version, self.generation = "", 0
        self.infer_timeout = isolation.infer_timeout
        #: What the policy declares; the same for each process, but for what came of compiling it.
        self.described: dict[str, Any] | None = None
        self._report: ReportProgress = _nobody
        self._channel: Channel | None = None
        self._ears: Ears | None = None
        self._child: Child | None = None
        self._number = self._kills = 0
        self._lock = threading.Lock()
        #: When the call that is under way in a process has taken too long, and the process whose call did.
        self._deadlines: dict[Child, float] = {}
        self._overdue: Child | None = None

    def open(self, report: ReportProgress) -> None:
        """Start it, and wait until its policy is loaded. Raises LoadFailed, as the loader did; then nothing runs."""
        self._report = report
        try:
            self._supervisor.open(_nobody)
        except BaseException:
            self.close()
            raise
        finally:
            self._report = _nobody

    def ask(self, question: list[Any], *, answered: bool = False) -> Any:
        """What the policy says to it. Raises what it raises.

        Raises PolicyFailed also where the worker ends meanwhile and while it is started again, InferTimeout where it
        was killed for taking too long, ModelLost once it is given up. ``answered``: whether an answer shows that it
        does what it is there for, so that earlier restarts count no longer.
        """
        with self._lock:
            told = self._exchange(*self._ready(), question, time.monotonic() + self.infer_timeout)
        try:
            if told[0] == "ok":
                if answered:
                    self._supervisor.answered()
                if len(told) > 2 and self.described is not None:
                    self.described = with_news(self.described, told[2:])
                return told[1]
            error = error_in(told)
        except (ValueError, TypeError, LookupError) as odd:
            raise self.garbled(f"no answer: {odd}") from None
        raise error

    def garbled(self, what: object) -> OffboardError:
        """The error for an answer that cannot be; the worker is stopped, and started again."""
        return self._garbled(self._child, str(what))

    def health(self) -> Health:
        """As :meth:`Policy.health`: how the process is, and if it runs, what the policy said last."""
        own, ears = self._supervisor.health(), self._ears
        return own if own.state != "ready" or ears is None else ears.health

    def elsewhere(self) -> Elsewhere:
        """As :meth:`Policy.elsewhere`."""
        child, ears = self._child, self._ears
        pid = None if child is None or ears is None else ears.process(child.pid)
        return Elsewhere(
            pid=pid,
            python=self._version,
            environment=self._isolation.environment,
            memory_bytes=None if pid is None else resident_bytes(pid),
        )

    def runs(self) -> bool:
        """Whether it can be asked: False while it is started again. Raises nothing where it is given up."""
        return self._supervisor.health().state != "recovering"

    def close(self) -> None:
        """Close the policy, and end the process with all that it started. Idempotent."""
        if self._supervisor.health().state == "ready" and self._lock.acquire(timeout=_CLOSE_SECONDS):
            try:
                self._exchange(*self._ready(), ["shut"], time.monotonic() + _CLOSE_SECONDS)
            except OffboardError as error:
                log.info("%s: %s", self._name, error.text)
            finally:
                self._lock.release()
        self._supervisor.close()
        self._ended()
        self._let_go()

    # -- asking ---------------------------------------------------------------------------------------------------
    def _ready(self) -> tuple[Channel, Child]:
        """Of a process that has loaded: the supervisor may begin another one at any time. Raises as :meth:`ask`."""
        while True:
            channel, child = self._channel, self._child
            if channel is None or not self._supervisor.up:  # one that ends just now is noticed when it does not answer
                self._supervisor.check_ready()
            if channel is not None and child is not None and channel is self._channel:
                return channel, child

    def _exchange(self, channel: Channel, child: Child, question: list[Any], deadline: float) -> Any:
        self._number = number = self._number + 1
        try:
            channel.pack(question)
        except (TypeError, ValueError, OverflowError) as error:
            raise PolicyFailed(f"what the policy is asked does not cross to its worker: {error}") from None
        try:
            self._deadlines[child] = deadline
            channel.write(number)
            came, told = channel.receive()
        except Gone as error:
            raise self._gone(child, str(error)) from None
        except Broken as error:
            raise self._garbled(child, str(error)) from None
        finally:
            self._deadlines.pop(child, None)
        if came != number:
            raise self._garbled(child, f"an answer to its question {came} in place of {number}")
        if type(told) is not list or not told:
            raise self._garbled(child, "what is no answer")
        return cast("Any", told)

    def _gone(self, child: Child, how: str) -> OffboardError:
        if self._overdue is child:
            return InferTimeout(f"{self._name} did not answer within {self.infer_timeout:g} s; it is being restarted")
        kills = self._kills
        if not child.wait(_END_SECONDS):
            return self._garbled(child, f"nothing more ({how})")
        why = OUT_OF_MEMORY + "; " if oom_kills() > kills else ""
        now = self._supervisor.health()
        last = f"its log ended with: {child.last_line}; " if child.last_line else ""
        does = "is being" if now.state == "recovering" else "was"
        said = now.reason if now.state == "failed" else f"{last}it {does} restarted"
        return PolicyFailed(f"{self._name} {child.how()} in mid-call; {why}{said}; try again later")

    def _garbled(self, child: Child | None, what: str) -> OffboardError:
        log.error("%s sent %s", self._name, what)
        if child is not None:
            self._stop(child)
        return PolicyFailed(f"{self._name} sent {what}; it is being restarted; try again later")

    # -- what the supervisor calls --------------------------------------------------------------------------------
    def _begin(self) -> Child:
        self._let_go()
        pairs = [socket.socketpair() for _ in range(2)]
        (questions, theirs), (events, their_events) = pairs
        try:
            child = Child(
                [str(self._python), str(_BOOT), str(theirs.fileno()), str(their_events.fileno())],
                name=self._name,
                inherit=(*_INHERITED, *self._recipe["inherit"], *self._isolation.inherit),
                pass_fds=(theirs.fileno(), their_events.fileno()),
            )
        except BaseException:
            questions.close()
            events.close()
            raise
        finally:
            theirs.close()
            their_events.close()
        self._child, self._kills = child, oom_kills()
        self._channel = Channel(unshared(questions), sends=QUESTION_BYTES, takes=ANSWER_BYTES, copies=True)
        self._ears = Ears(unshared(events), partial(self._watch, child), partial(self._stop, child), self._name)
        try:
            self._ears.tell(self._start)
            self._deadlines[child] = time.monotonic() + PATIENCE
            self._channel.send(_RECIPE, self._recipe)
        except (Broken, OSError):
            if self._overdue is child:
                raise LoadFailed(f"{self._name} did not read within {PATIENCE:g} s what it is to load") from None
            # Else it has ended, which whoever waits for it will see.
        except (TypeError, ValueError, OverflowError) as error:
            child.stop()
            raise LoadFailed(f"what {self._name} is to load does not cross: {error}", permanent=True) from None
        finally:
            self._deadlines.pop(child, None)
        return child

    def _loaded(self) -> bool:
        """Whether its policy is; tells what it says meanwhile."""
        ears, channel, child = self._ears, self._channel, self._child
        assert ears is not None
        assert channel is not None
        assert child is not None
        news = ears.news(_LOOK)
        if ears.failure is not None:
            raise ears.failure
        if news is not None:
            self._report(news)
        ears.check_heard_of(self._isolation.load_timeout, self._python, child.pid)
        if not ears.loaded:
            return False
        self._deadlines[child] = time.monotonic() + PATIENCE
        try:
            number, told = channel.receive()
            if number != _RECIPE or told[0] != "ok":
                raise Broken("no description of its policy")
            described: dict[str, Any] = dict(told[1])
        except (Broken, ValueError, TypeError, LookupError) as error:
            late = f"; {PATIENCE:g} s after it had loaded it had not said what" if self._overdue is child else ""
            raise LoadFailed(f"{self._name} sent what cannot be: {error}{late}") from None
        finally:
            self._deadlines.pop(child, None)
        if (declared := again(self.described, described)) is None:
            raise LoadFailed(f"{self._name} has loaded something else than before: its policy declares other things")
        self.described, self._version = declared, ears.python
        self.generation += 1
        return True

    def _ended(self) -> None:
        if self._channel is not None:
            self._channel.hang_up()
        if self._ears is not None:
            self._ears.hang_up()

    def _let_go(self) -> None:
        channel, self._channel = self._channel, None
        ears, self._ears = self._ears, None
        if channel is not None:
            channel.close()
        if ears is not None:
            ears.close()

    def _explain(self, text: str) -> LoadFailed:
        status, killed = None if self._child is None else self._child.status(), oom_kills() > self._kills
        return explained(text, self._ears, status, self._name, self._python, killed)

    # -- the thread that listens ----------------------------------------------------------------------------------
    def _watch(self, child: Child) -> None:
        """Now and then: whether the call that is under way takes too long."""
        if time.monotonic() > self._deadlines.get(child, math.inf) and self._overdue is not child:
            self._overdue = child
            log.error("%s has not returned from a call, and is killed", self._name)
            self._stop(child)

    def _stop(self, child: Child) -> None:
        if child is self._child:
            self._supervisor.restart()  # from now on it is not ready, though its processes take a moment to end
        child.stop()


def _nobody(message: str) -> None:
    pass


__all__ = ["Worker"]
