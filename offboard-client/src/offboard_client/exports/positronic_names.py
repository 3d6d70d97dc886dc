"""What a data set of Positronic's calls signals and their files."""

from __future__ import annotations

from ..errors import RecordingFailed, brief

#: Positronic's names of what an arm is commanded, but for the arm's own, which stands behind the first part.
_COMMANDS = {
    "target_pose": ("robot_command", "pose"), "target_joints": ("robot_command", "joints"),
    "joint_delta": ("robot_command", "joint_deltas"),
}  # fmt: skip
#: What came of a trial, in its words, and what it is here; it has none for a part of it. Of several ours is the first.
OUTCOMES = {
    "Success": "success", "Fail": "fail", "Ran out of time": "stall", "Stalled": "stall", "Safety": "unsafe",
}  # fmt: skip
#: Bytes of a name that a file is called by: systems take 255, with what stands behind it.
_NAME = 200


def file_of(name: str) -> str:
    """What a signal's file is called by, without what stands behind it. Raises RecordingFailed."""
    if len(name.encode()) > _NAME:
        raise RecordingFailed(f"{brief(name)} is longer than a file's name may be: its data set calls files by names")
    return name.replace("/", "_")


def command_of(name: str) -> str:
    """``target_pose.left`` → ``robot_command.left.pose``; another command's name as it is, which is theirs, too."""
    first, _, arm = name.partition(".")
    if (found := _COMMANDS.get(first)) is None:
        return name
    return ".".join(filter(None, (found[0], arm, found[1])))


def name_of(signal: str) -> str:
    """The other way, and of what older recordings call ``robot_commands.pose``; another signal's name as it is."""
    first, *arm = signal.split(".")
    theirs = (first.rstrip("s"), arm.pop() if arm else "")
    found = next((name for name, each in _COMMANDS.items() if each == theirs), None)
    return signal if found is None or len(arm) > 1 else ".".join((found, *arm))
