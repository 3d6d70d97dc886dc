"""The policy of the type ``offboard``, as LeRobot's commands call it."""

# torch and LeRobot leave much of what they take and give untyped.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUntypedBaseClass=false

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from lerobot.policies.pretrained import PreTrainedPolicy
from offboard_client.errors import BadObservation, ConfigurationError, OffboardError
from offboard_client.play import PolicySession
from offboard_client.wire import CONTEXT

from .configuration_offboard import OffboardConfig
from .episode import Episode
from .server import Server, logged
from .settings import HOLD, SEQUENTIAL, RemoteConfig
from .side import (
    STATE,
    TASK,
    Arrays,
    Side,
    from_batch,
    from_dataset,
    from_policy_features,
    robot_in_this_process,
    sized,
    with_robot,
    with_words,
)
from .streamed import StreamedEpisode
from .wiring import Array, Wiring, check_rate, wire

_log = logging.getLogger("offboard")
_RTC = frozenset({"prefix", "delay_steps"})


class OffboardPolicy(PreTrainedPolicy):
    """A policy without weights: a session with a server for each robot, or environment, of a batch.

    An error is raised, or the robot held where it stood, as the config says; no number is ever made up. ``close()``
    ends the sessions; so does the end of the policy, or of the process.
    """

    config_class: Any = OffboardConfig
    name: Any = "offboard"

    def __init__(self, config: RemoteConfig, dataset_stats: Any = None, dataset_meta: Any = None) -> None:
        """``dataset_meta``: of the data set that LeRobot records into, whose features are held against the model's.

        Raises ConfigurationError where they do not fit, and what opening a session raises.
        """
        super().__init__(cast("Any", config))
        self._settings = config
        if dataset_meta is not None:
            self._known = from_dataset(dataset_meta.features, dataset_meta.fps)
        else:
            self._known = from_policy_features(config.input_features, config.output_features)
        self._server = Server(config, logged(_log))
        self._opened: list[PolicySession] = []
        self._wiring: Wiring | None = None
        self._episodes: list[Episode] = []
        self.close = weakref.finalize(self, _close, self._episodes, self._opened)
        self._pool: ThreadPoolExecutor | None = None
        try:
            if self._server.knows_first:
                self._opened.append(self._server.open(self._known))
                # Before a robot is connected.
                check_rate(with_words(self._known, None, config.fps, None), self._opened[0].metadata)
            if dataset_meta is not None:
                self._wire(self._known)
        except BaseException:
            self.close()
            raise

    @classmethod
    def from_pretrained(cls, pretrained_name_or_path: Any = None, *, config: Any = None, **kwargs: Any) -> Any:
        """As LeRobot makes a policy without weights: ``pretrained_name_or_path`` is None."""
        if pretrained_name_or_path is not None or config is None:
            raise ConfigurationError(f"a policy of the type {cls.name} has no weights: give its config, and no path")
        return cls(config, dataset_meta=kwargs.get("dataset_meta")).eval()

    # -- what LeRobot's commands call ------------------------------------------------------------------
    def reset(self) -> None:
        """Begin a new episode."""
        for episode in self._episodes:
            episode.reset()

    @torch.no_grad()
    def select_action(self, batch: dict[str, Any], **_: Any) -> Any:
        """The actions (B, D) that are due, asked for where nothing is left of the last chunk."""
        count = _count(batch)
        if len(self._episodes) < count or any(each.wants for each in self._episodes[:count]):
            self._ask(batch, count)
        return torch.from_numpy(np.stack([each.next() for each in self._episodes[:count]]))

    @torch.no_grad()
    def predict_action_chunk(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        batch: dict[str, Any],
        *,
        inference_delay: int | None = None,
        prev_chunk_left_over: Any = None,
        execution_horizon: int | None = None,
    ) -> Any:
        """The chunk (B, T, D). ``prev_chunk_left_over``: what is not played yet, (T, D) as this has answered it.

        ``inference_delay``: how many steps of that will be played when the answer is there. ``execution_horizon`` is
        the model's own affair, where the server is.
        """
        arrays, count = Arrays(batch), _count(batch)
        self._prepare(arrays, count)
        told = self._told(inference_delay, prev_chunk_left_over, count)

        def asked(row: int) -> Array:
            return self._episodes[row].chunk({**self._observation(arrays, batch, row), **told})

        chunks = self._of_all(range(count), asked)
        failed = [each for each in chunks if isinstance(each, OffboardError)]
        if failed:
            raise failed[0]
        made = cast("list[Array]", chunks)
        steps = min(map(len, made))
        return torch.from_numpy(np.stack([each[:steps] for each in made]))

    def supports_rtc(self) -> bool:
        """Whether the server's model is told what is not played yet; why not is logged."""
        if not self._opened:
            return False
        meta = self._opened[0].metadata
        missing = _RTC - set(meta.get("context") or ())
        if missing:
            refused: Mapping[str, str] = meta.get("context_refused") or {}
            why = "; ".join(f"{name}: {refused[name]}" for name in sorted(missing) if name in refused)
            _log.warning(
                "the server's model is not told %s%s: no real-time chunking",
                " and ".join(sorted(missing)),
                f" ({why})" if why else "",
            )
        return not missing

    def forward(self, batch: dict[str, Any]) -> Any:
        """Raises ConfigurationError."""
        return self._settings.get_optimizer_preset()

    def get_optim_params(self) -> Any:
        """Raises ConfigurationError."""
        return self._settings.get_optimizer_preset()

    # -- inside ----------------------------------------------------------------------------------------
    def _ask(self, batch: Mapping[str, Any], count: int) -> None:
        arrays = Arrays(batch)
        self._prepare(arrays, count)
        wanting = [row for row in range(count) if self._episodes[row].wants]

        def asked(row: int) -> None:
            self._episodes[row].ask(partial(self._observation, arrays, batch, row))

        answers = self._of_all(wanting, asked)
        for row, answer in zip(wanting, answers, strict=True):
            if isinstance(answer, OffboardError):
                self._fail(row, arrays, answer)

    def _of_all(self, rows: Sequence[int], call: Callable[[int], Any]) -> list[Any]:
        """What each gives, or the OffboardError that it raised. Several at once, that a server may batch them."""

        def tried(row: int) -> Any:
            try:
                return call(row)
            except OffboardError as error:
                return error

        if len(rows) < 2:
            return [tried(row) for row in rows]
        if self._pool is None:
            self._pool = ThreadPoolExecutor(64, "offboard-inside-lerobot")
        return list(self._pool.map(tried, rows))

    def _fail(self, row: int, arrays: Mapping[str, Array], error: OffboardError) -> None:
        """Raises the error, or has the robot held where it is."""
        holds = None if self._wiring is None else self._wiring.holds
        state = arrays.get(STATE)
        if self._settings.on_failure != HOLD or holds is None or state is None:
            raise error
        where = state[row][list(holds)].astype(np.float32)
        if not np.isfinite(where).all():
            raise error
        _log.error("%s. The robot is held where it is until the episode is over", error.text.rstrip("."))
        self._episodes[row].hold(where)

    def _observation(self, arrays: Mapping[str, Array], batch: Mapping[str, Any], row: int) -> dict[str, Any]:
        assert self._wiring is not None
        return self._wiring.observation(arrays, row, self._settings.task or _task(batch, row))

    def _prepare(self, arrays: Arrays, count: int) -> None:
        """A session and an episode for each robot; with the first one it is settled what is what."""
        if self._wiring is None:
            self._wire(from_batch(self._known, arrays.shapes))
        assert self._wiring is not None
        while len(self._episodes) < count:
            if len(self._opened) == len(self._episodes):
                self._opened.append(self._server.open(self._known))
            self._episodes.append(self._episode(self._opened[len(self._episodes)], self._wiring))

    def _episode(self, session: PolicySession, wiring: Wiring) -> Episode:
        config = self._settings
        if config.strategy == SEQUENTIAL:
            return Episode(session, wiring, config.steps)
        return StreamedEpisode(session, wiring, config.strategy, config.timeout)

    def _wire(self, side: Side) -> None:
        robot = robot_in_this_process()
        side = side if robot is None else with_robot(side, robot)
        config = self._settings
        self._known = side = sized(with_words(side, config.names, config.fps, config.units))
        if not self._opened:
            self._opened.append(self._server.open(side))
        meta = self._server.meta(self._opened[0])
        self._wiring = wire(side, meta, self._server.map, config.on_failure == HOLD)
        self._episodes.append(self._episode(self._opened[0], self._wiring))

    def _told(self, delay: int | None, left: Any, count: int) -> dict[str, Any]:
        if left is None:
            return {}
        assert self._wiring is not None
        rows = np.asarray(left.detach().cpu().numpy(), np.float32)
        rows = rows[0] if rows.ndim == 3 else rows
        if count != 1 or rows.ndim != 2 or rows.shape[1] != self._wiring.width:
            raise BadObservation(
                f"what is not played yet is {rows.shape} for {count} robots; expected (T, {self._wiring.width}) for one"
            )
        # LeRobot fills it up with zeros to a length of its own. What nobody will play the model is not told.
        rows = rows[: int(np.flatnonzero(rows.any(axis=1)).max(initial=-1)) + 1]
        if not len(rows):
            return {}
        most = self._opened[0].metadata.get("max_delay_steps")
        if most is not None and delay is not None and delay > most:
            raise ConfigurationError(
                f"an answer takes {delay} steps, and this model can go on from {most} at most: play fewer steps per "
                "second, or use --inference.type=sync"
            )
        return {CONTEXT["prefix"]: self._wiring.prefix(rows), CONTEXT["delay_steps"]: delay or 0}


def _close(episodes: list[Episode], opened: list[PolicySession]) -> None:
    for episode in episodes:
        episode.close()
    for session in opened:
        session.close()


def _count(batch: Mapping[str, Any]) -> int:
    found = {int(value.shape[0]) for name, value in batch.items() if name.startswith("observation.") and value.ndim > 1}
    if len(found) != 1:
        raise BadObservation(f"LeRobot handed in {', '.join(batch) or 'nothing'}; expected tensors of one batch")
    return found.pop()


def _task(batch: Mapping[str, Any], row: int) -> str | None:
    task = batch.get(TASK)
    if isinstance(task, (list, tuple)):
        task = cast("Sequence[Any]", task)[row]
    return task if isinstance(task, str) else None
