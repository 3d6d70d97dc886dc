"""What an arm may be sent: the schedule of a chunk's rows, limits, the guard; who watches a run, and who steers it."""

from __future__ import annotations

from .agreement import Agreement, Difference
from .bounded import Bounded, Loss, Shielded
from .controls import (
    ENDS,
    WAITING,
    ControlCommand,
    Controls,
    GiveBack,
    Hold,
    Instruct,
    Quit,
    Reset,
    Resume,
    Start,
    Stop,
    TakeOver,
)
from .exchange import LOSSES, Exchange, HoldStill
from .fit import Doubt, Fit, Mismatch, compare
from .frames import Frames
from .guard import Guard
from .homing import read_place
from .ladder import Ladder, Patience
from .limits_file import RobotLimits, load_limits
from .observer import (
    RUNGS,
    Answer,
    EpisodeInfo,
    FilmingObserver,
    Frame,
    IdleObserver,
    Outcome,
    Rung,
    RunObserver,
    Sample,
    SamplingObserver,
    ShadowAnswer,
    ShadowObserver,
    Tick,
)
from .pace import Pace
from .pictures import Picture, pictures, suspicious
from .policy import POLICIES, PolicyEntry, PolicySession, choose_policy, list_policies, open_policy
from .remote import RemotePolicy, Shrinking, fixed_images
from .report import Episode, Report, percentiles
from .safety import SafetyLimits
from .schedule import Command, hold, lay_out, schedule
from .shadow import Shadow
from .stream import PolicyStream

__all__ = [
    "ENDS",
    "LOSSES",
    "POLICIES",
    "RUNGS",
    "WAITING",
    "Agreement",
    "Answer",
    "Bounded",
    "Command",
    "ControlCommand",
    "Controls",
    "Difference",
    "Doubt",
    "Episode",
    "EpisodeInfo",
    "Exchange",
    "FilmingObserver",
    "Fit",
    "Frame",
    "Frames",
    "GiveBack",
    "Guard",
    "Hold",
    "HoldStill",
    "IdleObserver",
    "Instruct",
    "Ladder",
    "Loss",
    "Mismatch",
    "Outcome",
    "Pace",
    "Patience",
    "Picture",
    "PolicyEntry",
    "PolicySession",
    "PolicyStream",
    "Quit",
    "RemotePolicy",
    "Report",
    "Reset",
    "Resume",
    "RobotLimits",
    "RunObserver",
    "Rung",
    "SafetyLimits",
    "Sample",
    "SamplingObserver",
    "Shadow",
    "ShadowAnswer",
    "ShadowObserver",
    "Shielded",
    "Shrinking",
    "Start",
    "Stop",
    "TakeOver",
    "Tick",
    "choose_policy",
    "compare",
    "fixed_images",
    "hold",
    "lay_out",
    "list_policies",
    "load_limits",
    "open_policy",
    "percentiles",
    "pictures",
    "read_place",
    "schedule",
    "suspicious",
]
