"""What a command needs at a terminal: its arguments, tables, one changing line, signals, the server's address."""

from __future__ import annotations

from .arguments import HELP, LeftOver, description, expand_paths, parse, peek, switches
from .clock import Clock
from .csv_file import CsvFile
from .dotted import split_dotted
from .habits import HABITS, refuse_address_flags, refuse_habits
from .keys import ENDED, pressed, require_keys
from .kinds import TYPES
from .line import Line
from .output import console, emit_facts, emit_json, emit_table, ms, note, say, tell
from .program import program_facts
from .server import ServerOptions, patience, token_from
from .signals import terminable, unbroken

__all__ = [
    "ENDED",
    "HABITS",
    "HELP",
    "TYPES",
    "Clock",
    "CsvFile",
    "LeftOver",
    "Line",
    "ServerOptions",
    "console",
    "description",
    "emit_facts",
    "emit_json",
    "emit_table",
    "expand_paths",
    "ms",
    "note",
    "parse",
    "patience",
    "peek",
    "pressed",
    "program_facts",
    "refuse_address_flags",
    "refuse_habits",
    "require_keys",
    "say",
    "split_dotted",
    "switches",
    "tell",
    "terminable",
    "token_from",
    "unbroken",
]
