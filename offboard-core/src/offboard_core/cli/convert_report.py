"""What became of the episodes, and how ``offboard convert`` says it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from offboard_client.errors import counted
from offboard_client.terminal import emit_json, tell

from ..data_sets import Added, SourceEpisode

#: Of frames, and of episodes, that are in no row: why, in words.
_FRAMES = {
    "nothing_commanded": "at which nothing was commanded: the arm held, or did what its own safety made it do",
    "not_yet_known": "before all was known that a row holds",
    "outside_clips": "outside of what was cut out",
}
_EPISODES = {
    "another_outcome": "came out otherwise, or nobody said how",
    "no_clip": "without anything cut out",
    "query": "of which the query does not hold",
    "annulled": "of annulled trials",
    "error": "of trials that ended by an error",
    "cut_short": "that end before their trials did",
    "evaluation_not_found": "of trials whose evaluation is not found",
    "dropped": "that were dropped, or never finished, where they were recorded",
    "same": "that are others of these once more",
    "failures": "that could not be taken: why is said above",
}
#: What is no loss: a person cut it away.
_MEANT = "outside_clips"


@dataclass
class Converted:
    """By episode's name. ``skipped``: what was there already. ``failures``: name → why it is left out. ``uploaded``:
    files. ``left_out``: why → how many frames, of the episodes that were written; ``passed``: why → how many episodes.
    """

    written: list[str] = field(default_factory=list[str])
    skipped: list[str] = field(default_factory=list[str])
    failures: dict[str, str] = field(default_factory=dict[str, str])
    frames: int = 0
    led: int = 0
    use: str = ""
    uploaded: int = 0
    left_out: Counter[str] = field(default_factory=Counter[str])
    passed: Counter[str] = field(default_factory=Counter[str])

    def count(self, episode: SourceEpisode, added: Added) -> str | None:
        """An episode is in it; what is said of one that has lost the greater part of its frames."""
        self.written.append(episode.name)
        self.frames, self.led = self.frames + added.frames, self.led + added.led
        self.left_out.update(added.left_out)
        lost = {why: count for why, count in added.left_out.items() if why != _MEANT}
        if (count := sum(lost.values())) <= added.frames:
            return None
        return f"{episode.name} has {counted(added.frames, 'frame')}, and {count} are left out: {_words(lost, _FRAMES)}"

    def say(self, where: str, codec: str, fps: float) -> None:
        """To a person, on stdout."""
        led = f", {self.led} of them led by a person" if self.led else ""
        tell(
            f"{counted(len(self.written), 'episode')} written into {where} through {codec}: "
            f"{counted(self.frames, 'frame')}{led}, {fps:g} a second"
        )
        if frames := +self.left_out:
            tell(f"{counted(frames.total(), 'frame')} left out: {_words(frames, _FRAMES)}")
        if passed := self._passed():
            tell(f"{counted(passed.total(), 'episode')} left out: {_words(passed, _EPISODES)}")
        if self.skipped:
            was = "was" if len(self.skipped) == 1 else "were"
            tell(f"{counted(len(self.skipped), 'episode')} {was} there already, and {was} left as before")
        if self.uploaded:
            tell(f"{counted(self.uploaded, 'file')} uploaded")
        if self.use:
            tell(self.use)

    def emit(self, where: str, codec: str, fps: float, interrupted: bool) -> None:
        """To a program, as one JSON object on stdout."""
        said = {**vars(self), "left_out": {"frames": +self.left_out, "episodes": self._passed()}}
        del said["passed"]
        emit_json({"folder": where, **said, "codec": codec, "fps": fps, "interrupted": interrupted})

    def _passed(self) -> Counter[str]:
        return +Counter({**self.passed, "failures": len(self.failures)})


def _words(found: Mapping[str, int], words: Mapping[str, str]) -> str:
    """How many, and why, in the order of ``words``."""
    return "; ".join(f"{found[why]} {said}" for why, said in words.items() if found.get(why))
