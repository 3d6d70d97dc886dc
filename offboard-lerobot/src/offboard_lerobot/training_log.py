"""What LeRobot's training says while it runs, and why it ended."""

from __future__ import annotations

import re
from collections.abc import Iterable

from offboard_client.errors import LoadFailed, nearest
from offboard_core.process import MACHINE, PROGRAM, Fault, diagnose

from .files import MIGRATE
from .versions import INSTALL

#: tqdm's bar: how many of how many steps of this time, and the time that is left.
_BAR = re.compile(r"Training:\s+\d+%\|[^|]*\|\s*(\d+)/(\d+) \[[\d:]+<([\d:]+|\?)")
_LOSS = re.compile(r"\bloss:(\S+)")
_MESSAGE = re.compile(r"INFO \S+ \S+ +\S+:\d+ (\S.*)")
#: Behind this LeRobot has looked at what it was told, and where the run goes.
_BEGUN = re.compile(r"Creating dataset|Output dir:|Training:")
#: A list of all options there are, which argparse puts before what it says.
_USAGE = re.compile(r"usage: |\[-")
#: What of a trace is said: the last line of one, and what argparse and draccus say.
_ERROR = re.compile(r"(?:[\w.]+: )?error: .*|(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Interrupt)\b.*")
#: Where LeRobot 0.6 finds no FFmpeg it says so as it is imported, with ten traces, and then that it does without.
_CODEC, _WITHOUT = "ould not load libtorchcodec", "Falling back to 'pyav'"
_KEPT, _CAUSES = 12, 2


class Progress:
    """A line for people of what LeRobot logs. ``before``: steps that were done when it began."""

    def __init__(self, before: int = 0) -> None:
        self._before = before
        self._step = self._loss = self._left = ""
        self._last = "LeRobot is starting"
        self.begun = False

    def line(self, lines: Iterable[str]) -> str:
        """``step 40 of 100, loss 0.512, 00:15 left``; before the first step what was logged last."""
        for line in lines:
            self.begun = self.begun or _BEGUN.search(line) is not None
            if (message := _MESSAGE.match(line)) is not None:
                self._last = message[1]
            if (bar := _BAR.search(line)) is not None:
                done, of, left = bar.groups()
                self._step = f"step {self._before + int(done)} of {self._before + int(of)}"
                self._left = "" if left == "?" or done == of else f", {left} left"
            if (loss := _LOSS.search(line)) is not None:
                self._loss = f", loss {loss[1]}"
        return f"{self._step}{self._loss}{self._left}" if self._step else self._last


_FAULTS = (
    Fault(
        r"[Cc]ould not load libtorchcodec|libtorchcodec loading traceback|libtorchcodec_core",
        "LeRobot reads videos by TorchCodec, which finds no FFmpeg that it could use",
        "have them read by PyAV, which brings its own (--dataset.video_backend=pyav), or install FFmpeg 4 to 7 there",
    ),
    Fault(
        r"unrecognized arguments|invalid choice|error: argument|DecodingError|error: `",
        "LeRobot refuses an option, in its own words above{near}",
        "correct it; `lerobot-train --help` lists what there is",
    ),
    Fault(
        r"accelerate' is required|No module named '(accelerate|datasets|wandb|av)'|requires? .*(accelerate|datasets)|"
        r"pip install '?lerobot\[(training|dataset)\]|wandb is not installed|wandb' is required",
        "what LeRobot trains with is not installed beside it",
        "pip install 'lerobot[training]' there (with LeRobot 0.4: accelerate, datasets and wandb)",
    ),
    Fault(
        r"No module named '?lerobot",
        "LeRobot is not installed there",
        f"{INSTALL}, or say with --lerobot-python which environment has it",
    ),
    Fault(
        r"ProcessorMigrationError|requires migration to processor",
        "the weights to begin with were written by LeRobot before 0.4",
        f"migrate them with LeRobot's own script ({MIGRATE} FOLDER), and begin with what it wrote",
    ),
    Fault(
        r"No space left on device|StorageFull|File too large|Disk quota exceeded|FileTooLarge",
        "the disk is full",
        "free some of it and go on with --resume; fewer checkpoints are kept with a larger --save_freq",
    ),
    Fault(
        r"[Oo]ut of memory|OutOfMemory",
        "there was not enough memory, most likely on the GPU",
        "see with nvidia-smi who else uses it; train with smaller batches (--batch_size)",
    ),
    Fault(
        r"[Bb]us error|shared memory|/dev/shm",
        "the processes that load data have too little shared memory",
        "give the container more of it (--shm-size 8g), or use fewer (--num_workers=0)",
    ),
    Fault(
        r"download\.pytorch\.org|urlopen error",
        "the weights that the backbone begins with could not be fetched",
        "fetch them where there is a network, or begin with random ones (--policy.pretrained_backbone_weights=null)",
    ),
    Fault(
        r"LocalEntryNotFound|offline mode|OfflineModeIsEnabled|couldn't connect to|ConnectionError",
        "what it names on the Hub is not on this machine, and could not be fetched",
        "fetch it once (hf download NAME)",
    ),
    Fault(
        r"api_key not configured|wandb\.errors|Error uploading run",
        "Weights & Biases did not take the run",
        "set WANDB_API_KEY, have the run written here (--wandb.mode=offline), or leave --wandb away",
    ),
    *PROGRAM,
    *MACHINE,
    Fault("", "the log above says why", "check that lerobot-train runs by hand with the data set in {data}"),
)
_OPTIONS = {
    "name": "LeRobot",
    "command": "--lerobot-python or --lerobot-command",
    "env": "--lerobot-env",
    "root": "that environment",
    "script": "-m lerobot.scripts.lerobot_train",
}


def explain(how: str, log: str, own: Iterable[str], data: str) -> LoadFailed:
    """The error for a training that ended: ``how``, with the end of its ``log``, the likely cause and the next step.

    ``own``: names of offboard's own options, for one that was meant.
    """
    lines = [line for line in _of_the_end(log.splitlines()) if not _USAGE.match(line)]
    told = [at for at, line in enumerate(lines) if _ERROR.fullmatch(line)]
    # Of a chain of traces what each ends with, and of the last all that follows.
    shown = [lines[at] for at in told[:-1]][-_CAUSES:] + lines[told[-1] :] if told else lines[-_KEPT:]
    text = f"{how}. The end of its log:\n" + ("\n".join(shown[-_KEPT:]) or "(it wrote nothing)")
    wrong = re.search(r"unrecognized arguments: --([\w-]+)", log)
    mine = nearest(wrong[1], own) if wrong is not None else []
    near = f" (offboard's own is --{mine[0]})" if mine else ""
    return diagnose(text, _FAULTS, data=data, near=near, **_OPTIONS)


def _of_the_end(log: Iterable[str]) -> list[str]:
    """Without what was no reason to end: that there is a decoder which LeRobot does without."""
    lines: list[str] = []
    for line in log:
        lines.append(line)
        if _WITHOUT in line:
            # From the beginning, where the log's own is cut off.
            del lines[max((at for at, each in enumerate(lines) if _CODEC in each), default=0) :]
    return lines
