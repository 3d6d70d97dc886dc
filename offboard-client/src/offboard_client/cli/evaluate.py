"""``offboard evaluate``: which of a server's models is better, by trials from the same starts."""

from __future__ import annotations

import errno
from collections.abc import Callable, Generator, Iterable
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

from ..errors import ConfigurationError, ConnectionFailed, ModelNotFound, OffboardError, counted
from ..evaluation import (
    ERRORS,
    LOG,
    Evaluation,
    Station,
    TrialLog,
    Turn,
    Watched,
    masked,
    reviewed,
)
from ..play import PolicySession, Quit, compare
from ..plugins import UsageError
from ..robots import Robot, Task, connected
from ..terminal import Line, note, peek, terminable
from .evaluate_conditions import CONDITIONS, Conditions, as_policy
from .evaluate_judge import ask_judgement, ask_ready, require_person
from .evaluate_options import ALL, EvaluateOptions, ServersModels, as_conditions, in_front
from .evaluate_page import TrialPage, trial_page
from .evaluate_report import RECORDINGS, Ending
from .evaluate_watch import Progress, Recordings, Unnamed, nobody
from .limit_options import require_limits
from .own_thread import on_own_thread
from .run_options import Parsed, parse_with_policy
from .run_record import finish_others, run_facts

#: What a disk says that takes no more; whoever plays again then goes on.
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)


def run(
    arguments: list[str], called: str | None = None, summary: str = "Try a server's models from the same starts."
) -> int:
    """Play what is left of the evaluation, write its report, print the verdicts.

    ``called``: another command's name, if one is made of this; ``summary``: what it is for. 0 if the evaluation is
    over, 1 if something has ended it before or trials ended by an error, 130 after Ctrl-C.

    Raises UsageError, ConfigurationError, and what opening the log or the robot raises.
    """
    arguments = in_front(arguments)
    if peek(arguments, "policy") is not None:
        raise UsageError("an evaluation asks a server's models: name it behind the robot, HOST:PORT, without --policy")
    if peek(arguments, "model_id") is not None:
        raise UsageError("which models are tried says --models a,b,c, not --model-id")
    parsed = parse_with_policy("evaluate", EvaluateOptions, arguments, summary, ServersModels, called)
    if parsed is None:
        return 0
    options, policy = parsed.run, parsed.policy
    assert isinstance(policy, ServersModels)
    if options.output_dir is None:
        raise UsageError("--output-dir DIR says where trials and report are kept, so that nothing is played in vain")
    with Line() as line:
        return _Command(parsed, policy, options, options.output_dir.expanduser(), line).run()


@dataclass
class _Command:
    parsed: Parsed[EvaluateOptions]
    policy: ServersModels
    options: EvaluateOptions
    folder: Path
    line: Line
    mask: Callable[[str], str] = str
    conditions: Conditions | None = None

    @cached_property
    def progress(self) -> Progress:
        """What is seen of it while it goes on."""
        return Progress(self.line, self.mask)

    def run(self) -> int:
        models = self._models()
        plan = self.options.plan(models)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(f"--output-dir {self.folder}: it cannot be made: {error.strerror}") from error
        self.mask = masked({model: label for label, model in plan.labels.items()} if plan.blind else {})
        with TrialLog(self.folder / LOG, plan) as log:
            self.conditions = Conditions(
                self.folder / CONDITIONS, as_conditions(self.parsed, self.policy), bool(log.trials)
            )
            if log.trials:
                note(f"going on with the evaluation in {self.folder}: {counted(len(log.trials), 'trial')} so far")
            if self.options.annul is not None:
                self._annul(log, self.options.annul)
            evaluation = Evaluation(
                log, self.options.until == "decided", self.options.go_on,
                on_trial=lambda turn, trial: self.progress.ends(evaluation, turn, trial),
                seen=lambda trials: reviewed(trials, self.folder / RECORDINGS)[0],
            )  # fmt: skip
            interrupted = False
            failed: OffboardError | None = None
            try:
                if evaluation.left and evaluation.ended is None:
                    self._play(evaluation)
            except KeyboardInterrupt:
                interrupted = True
            except OffboardError as error:  # behind the last trial, too: the report is of what was played
                failed = error
            except OSError as error:
                if error.errno not in _DISK:
                    raise
                failed = ConfigurationError(
                    f"{log.path} cannot be written: {error.strerror}. The trials before are kept; the one that had "
                    "just ended is played again: with room on the disk, the same command goes on from here"
                )
            self.line.stop()
            if failed is not None and not log.trials:
                raise failed
            policies = self.conditions.policies
            ending = Ending(self.folder, evaluation, self.options, self.parsed, self.policy, policies, self.mask)
            over = ending.tell("it was interrupted" if interrupted else evaluation.ended, failed)
            return 130 if interrupted else int(not over)

    def _annul(self, log: TrialLog, number: int) -> None:
        """By the number that a trial has at the terminal and in the report. Raises ConfigurationError."""
        if not 1 <= number <= len(log.trials):
            there = f"they are numbered from 1 to {len(log.trials)}" if log.trials else "none was played yet"
            raise ConfigurationError(f"--annul {number}: there is no trial {number}; {there}")
        trial = log.trials[number - 1]
        if trial.outcome == "annulled":  # the same command again, after an interruption for example
            note(f"trial {number} was annulled already: {self.mask(trial.note)}")
            return
        log.annul(number - 1, self.options.reason)
        note(f"annulled: trial {number}, {self.mask(trial.model)} from start {trial.start}; it was {trial.outcome}")

    def _models(self) -> list[str]:
        named = [name.strip() for name in self.options.models.split(",") if name.strip()]
        if not named:
            raise UsageError(f"--models a,b,c names the models that are tried; --models {ALL}: every one there is")
        if named != [ALL]:
            if twice := [name for i, name in enumerate(named) if name in named[:i]]:
                raise UsageError(
                    f"--models names {twice[0]} twice, and each model is compared with the others; to compare it with "
                    f"itself, as a measure of chance, write it once more as {twice[0]}?"
                )
            return named
        offered = self.policy.client(self.line).list_models()
        self.line.stop()
        if not offered:
            raise ConfigurationError(f"{self.policy.server} lists no model")
        return list(dict.fromkeys(offered))

    def _check_models(self, robot: Robot, task: Task, log: TrialLog) -> None:
        """Each model once, before anything is played: that it is there, can be loaded, and fits the robot.

        Raises ConfigurationError. Where the evaluation goes on whatever becomes of a model, it is only said, but of a
        name that there is not when it begins, which is a mistake.
        """
        models = dict.fromkeys(turn.model for turn in log.plan.left(log.trials, again=True))
        refused = not self.options.go_on
        shown = Unnamed(self.line, self.mask) if self.options.blind else self.line
        wrong: list[str] = []
        policies: dict[str, dict[str, str]] = {}
        doubts: dict[str, None] = {}
        for model in self._unlisted_first(models):
            try:
                with closing(self.policy.open_model(model, shown)) as session:
                    policies[model] = as_policy(session.metadata)
                    fit = compare(robot.spec, session.metadata, task.instruction)
                    doubts |= {f"{doubt.name}: {doubt.why}": None for doubt in fit.doubts}
                    fit.check()
                    self.parsed.limits.guard(robot, session.metadata)
            except ConnectionFailed:
                raise
            except OffboardError as error:
                refused |= isinstance(error, ModelNotFound) and not log.trials
                wrong.append(self.mask(f"{model}: {error.code}: {error.text}"))
        self.line.stop()
        for doubt in doubts:
            note(f"cannot be judged beforehand: {doubt}")
        if wrong and refused:
            raise ConfigurationError(f"nothing was played, for not every model can be: {'; '.join(wrong)}")
        assert self.conditions is not None
        self.conditions.same_policies(policies, self.mask)
        for each in wrong:
            note(f"it goes on; what cannot be played now is tried all the same, {ERRORS} times in a row: {each}")

    def _unlisted_first(self, models: Iterable[str]) -> list[str]:
        """A server may know ids that it does not list; those that it does not know it refuses at once."""
        try:
            listed = self.policy.client(self.line).list_models()
        except OffboardError:  # whoever cannot list them may play them
            listed = []
        return sorted(models, key=lambda model: model.partition("?")[0] in listed)

    # -- playing ---------------------------------------------------------------------------------------
    def _play(self, evaluation: Evaluation) -> None:
        stations: list[Station] = []

        def interrupted() -> None:
            again, evaluation.ended = evaluation.ended == "it was interrupted", "it was interrupted"
            evaluation.stop()
            for station in stations:
                station.controls.post(Quit())
            if again or not any(station.controls.attended for station in stations):
                raise KeyboardInterrupt

        with ExitStack() as stack:
            stack.enter_context(terminable(interrupted))
            page = stack.enter_context(trial_page(self.options, self.folder, evaluation.log, self.mask))
            for number in range(min(self.options.parallel, evaluation.left)):
                stations.append(stack.enter_context(self._station(evaluation, number, page)))
            if page is not None:
                page.follows(evaluation)
            evaluation.run(stations)
        if evaluation.ended == "it was interrupted":
            raise KeyboardInterrupt

    @contextmanager
    def _station(self, evaluation: Evaluation, number: int, page: TrialPage | None) -> Generator[Station, None, None]:
        options = self.options
        with (
            on_own_thread(self.parsed.robot, self.parsed.options, options.task, options.robot_timeout) as made,
            self._connected(*made, evaluation, number, page) as station,
        ):
            yield station

    @contextmanager
    def _connected(
        self, robot: Robot, task: Task, evaluation: Evaluation, number: int, page: TrialPage | None
    ) -> Generator[Station, None, None]:
        require_limits(self.parsed.robot, robot.spec, self.parsed.limits)
        if self.options.parallel > 1 and not robot.spec.simulated:
            raise ConfigurationError(f"--parallel is for simulated robots; there is one {self.parsed.robot}")
        by_page = page is not None and self.options.driver == "eval_ui"
        by_hand = not robot.spec.simulated and not by_page
        if by_hand:
            require_person()
        if number == 0:
            self._check_models(robot, task, evaluation.log)
        shown = Unnamed(self.line, self.mask) if self.options.blind else self.line
        facts = run_facts(robot.spec, task.instruction, self.parsed.limits, self.options.playing, "evaluate")
        facts |= {"blind": evaluation.log.plan.blind}
        watch = Recordings(self.folder / RECORDINGS, facts).watch if (recorded := self._records()) else nobody
        if recorded and number == 0:
            finish_others(self.folder / RECORDINGS, self.line)

        @contextmanager
        def watched(turn: Turn) -> Generator[Watched, None, None]:
            with watch(turn) as found:
                self.progress.begins(evaluation, turn)
                yield found

        def accepts(model: str, session: PolicySession) -> None:
            assert self.conditions is not None
            self.conditions.same_policies({model: as_policy(session.metadata)}, self.mask)

        with connected(robot):
            station = Station(
                robot, task, lambda model: self.policy.open_model(model, shown), self.parsed.limits,
                self.options.playing, self.options.seconds,
                ready=(lambda turn: ask_ready(turn, self.line)) if by_hand else None,
                judge=lambda turn: ask_judgement(turn, self.line), watch=watched, accepts=accepts,
            )  # fmt: skip
            if page is not None:
                page.at(station, by_page)
            yield station

    def _records(self) -> bool:
        if not self.options.record:
            return False
        if find_spec("mcap") is None or find_spec("av") is None:
            note("trials are not recorded: pip install 'offboard-client[record]', or say --no-record")
            return False
        return True
