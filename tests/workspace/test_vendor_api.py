"""What third parties may import: a list that our own vendors, the example and the docs keep to, and a page of it."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGE = (DOCS / "reference" / "vendor-api.md").read_text("utf-8")
_ENTRIES = (
    "hookimpl CodecEntry DataSetEntry DemoRecipe EnvironmentEntry FrontendEntry ListenerEntry LoaderEntry"
    " ObserverEntry RegistryEntry TrainerEntry"
)
#: What a plugin, a vendor, a robot or a command may import, by its room.
API = {
    room: set(names.split())
    for room, names in {
        "offboard_core": f"{_ENTRIES} Checkpoint CheckpointLoader Chunk Codec CodecMeta Control Elsewhere Feature Field"
        " Health InferContext Item ModelRegistry NoParams Observation Placement Policy Progress ReportProgress Session"
        " Trainer DataSetForm DataSetWriter"
        " BadObservation BadParameter ConfigurationError InferTimeout InvalidAction LoadFailed ModelLost ModelNotFound"
        " OffboardError PolicyFailed ExchangeRecord Observer",
        "offboard_core.checkpoints": "INDEX WEIGHTS Incomplete LocalPlace Place Unfit begin_run check_record"
        " check_listed check_unchanged header is_lfs_pointer make_folder numbered_folders read_json read_record some"
        " stamps still_written throw_away weights write_record",
        "offboard_core.checkpoints.remote": "RemoteFile RemoteFolder RemotePlace fetch is_url open_folder open_place",
        "offboard_core.codecs": "CONVENTIONS ActionHorizon ActionSplit ActionTiming ActionVector ArmCodecOptions"
        " LIBERO_CONVENTIONS LIBERO_FINGER LIBERO_POSITION_STEP LIBERO_ROTATION_STEP LetterboxImage LiberoCodecOptions"
        " LiberoImage LiberoState Native NativeOptions Rename Rotation StateVector TaskText TrainingColumns"
        " action_field action_shape binarize canonical_field canonical_shape check_canonical check_grip convert"
        " convert_pose is_grip letterbox libero_delta pose_width positive rate resolve_names timed",
        "offboard_core.data_sets": "DataSetForm DataSetWriter EpisodeSource SourceEpisode SourceFrame V21Writer",
        "offboard_core.engine": "ExchangeRecord Observer PolicyService",
        "offboard_core.frontends": "Admission Bucket Frame Frontend FrontendConnection JOINED Joined KeySet"
        " LiberoKeys Listener MOST_PARTS NO_MESSAGE Peer PeerConnection PeerSessions ResolvedCodec Result Scope"
        " Serializer ServiceSession Sparing Status Translated Untouched VectorLayout Walk check_own check_range"
        " check_reserved check_translation check_vector chunk_lengths field_width read_control reads_own"
        " spell_widths vector_layout",
        "offboard_core.plugins": _ENTRIES,
        "offboard_core.process": "MACHINE PROGRAM AttachedServer Child ChildServer Fault OwnFolder Stale Supervisor"
        " Wire"
        " check_names check_words collect diagnose free_port run_to_end take_port unshared",
        "offboard_core.proofs": "CompileOptions FastCall Proof Trial make_trials prove",
        "offboard_core.testing": "CheckpointConformance ChildLaws CodecLaws ControlLaws ListenerLaws ObserverLaws"
        " PluginLaws PolicyLaws ProtocolLaws RegistryLaws Vendor VendorConformance",
        "offboard_core.training": "MADE Trainer check_finite check_numbers made_with",
        "offboard_core.types": "ALONE Array Checkpoint CheckpointLoader Chunk Codec CodecMeta Control Elsewhere"
        " Feature Field Health InferContext Item ModelRegistry NO_CONTEXT NoParams Observation Parallel Placement"
        " Policy Progress ReportProgress Sequential Session Stage is_array is_image",
        "offboard_client.errors": "BadMessage BadObservation BadParameter Busy ConfigurationError"
        " DialectUnsupported InferTimeout InvalidAction LoadFailed ModelLost ModelNotFound OffboardError PolicyFailed"
        " RecordingFailed RobotFailed brief nearest told unknown",
        "offboard_client": "InferenceClient",
        "offboard_client.drivers": "RunLength TimedDriver",
        "offboard_client.exports": "Added Attempt DataSet ExportEntry Growing Layout Numbers SteadyFrame"
        " SteadyFrames SteadyOptions by_robots_clock difference layout_of origin_of recorded_rate",
        "offboard_client.recording": "Episode",
        "offboard_client.play": "Answer Bounded Controls EpisodeInfo GiveBack Guard Hold Instruct Outcome PolicyEntry"
        " PolicySession Quit Report Reset Resume RobotLimits RunObserver SafetyLimits Start Stop TakeOver Tick"
        " load_limits read_place",
        "offboard_client.plugins": "Command UsageError changeable",
        "offboard_client.robots": "Channel ControlGrid Kinematics OwnThread Robot RobotEntry RobotSpec Task Translation"
        " Unjudged WatchedRobot WatchedTask choose_robot connected make_robot make_task",
        "offboard_client.terminal": "CsvFile Line ServerOptions emit_facts emit_json emit_table note parse patience say"
        " tell terminable token_from",
        "offboard_client.testing": "EntryLaws PolicyConformance RobotConformance RobotLaws RunObserverLaws SessionLaws"
        " TaskLaws",
        "offboard_client.wire": "RESERVED_NAMES Encoder ImageBudget WireLimits canonical check_actions columns"
        " decode decode_image decode_text encode encode_text read_forms read_openpi",
    }.items()
}
#: What scripts and tests that host a server or try a plugin may import besides.
HOST = {
    "offboard_core": {"InferenceServer", "declare"},
    "offboard_core.catalog": {"from_callables", "from_flags"},
    "offboard_core.engine": {"PolicyService", "make_observers"},
    "offboard_core.frontends": {"Admission", "make_frontends", "make_listeners", "provide"},
    "offboard_core.server": {"Host", "ServerConfig", "asgi_app"},
    "offboard_core.plugins": {
        "CODEC",
        "DATA_SET",
        "ENVIRONMENT",
        "FRONTEND",
        "LISTENER",
        "LOADER",
        "OBSERVER",
        "Plugins",
        "REGISTRY",
        "TRAINER",
    },
}
VENDORS = sorted(
    file
    for vendor in ("gr00t", "lerobot", "openpi", "vla-eval")
    for file in ROOT.glob(f"offboard-{vendor}/src/**/*.py")
)
EXAMPLES = sorted(ROOT.glob("examples/**/*.py"))
#: The pages about plugins and robots.
PAGES = [
    DOCS / page
    for page in (
        "how-to/compile.md",
        "how-to/own-robot.md",
        "how-to/test-your-plugin.md",
        "how-to/write-a-codec.md",
        "how-to/take-context.md",
        "how-to/write-a-frontend.md",
        "how-to/write-a-control.md",
        "how-to/write-an-observer.md",
        "reference/codecs.md",
        "reference/hooks.md",
        "reference/vendor-api.md",
        "tutorial/first-plugin.md",
    )
]


def blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def documented(text: str) -> dict[str, set[str]]:
    """Room → the names in its tables, which begin ``| from `room` | |``."""
    found: dict[str, set[str]] = {}
    for room, table in re.findall(r"^\| from `([\w.]+)` \| \|\n\|---\|---\|\n((?:\| .*\n)+)", text, re.MULTILINE):
        for row in table.splitlines():
            names = re.findall(r"`(\w+)`", row.split(" | ")[0])
            assert not found.setdefault(room, set()) & set(names), f"{room}: {row} names something twice"
            found[room] |= set(names)
    return found


def pairs(listed: dict[str, set[str]]) -> set[str]:
    return {f"{room} {name}" for room, names in listed.items() for name in names}


def beyond(code: str, *lists: dict[str, set[str]]) -> list[str]:
    """What some code imports of core and client that none of the lists has; a module itself counts as well."""
    nodes = list(ast.walk(ast.parse(code)))
    found = [(alias.name, "") for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    found += [
        (node.module or "", alias.name)
        for node in nodes
        if isinstance(node, ast.ImportFrom) and not node.level
        for alias in node.names
    ]
    return [
        f"{room} {name}".strip()
        for room, name in found
        if room.partition(".")[0] in ("offboard_client", "offboard_core")
        and not any(name in listed.get(room, ()) for listed in lists)
    ]


@pytest.mark.parametrize("listed", [API, HOST], ids=["api", "host"])
def test_every_name_is_public_in_its_room(listed):
    for room, names in listed.items():
        module = importlib.import_module(room)
        assert names - set(module.__all__) == set(), room
        assert [name for name in names if not hasattr(module, name)] == [], room


def test_a_name_that_has_two_addresses_is_one_object():
    homes: dict[str, set[int]] = {}
    for room, names in API.items():
        for name in names:
            homes.setdefault(name, set()).add(id(getattr(importlib.import_module(room), name)))
    assert [name for name, found in homes.items() if len(found) > 1] == []
    assert all(any(name in API[room] for room in API if room != "offboard_core") for name in API["offboard_core"])


@pytest.mark.parametrize("files", [VENDORS, EXAMPLES], ids=["vendors", "examples"])
def test_who_is_no_host_imports_nothing_else(files):
    assert files
    found = {file.relative_to(ROOT).as_posix(): beyond(file.read_text("utf-8"), API) for file in files}
    assert {file: names for file, names in found.items() if names} == {}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_pages_import_nothing_else(page):
    assert blocks(page)
    for block in blocks(page):
        # A file of its own is a plugin, its test or a robot, unless it is a server; what follows tries it.
        lists = [API] if re.match(r"# (?!server\.py)\S+\.py\n", block) else [API, HOST]
        assert beyond(block, *lists) == []


def test_the_pages_about_plugins_are_those_that_show_one():
    shown = {page for page in DOCS.rglob("*.md") if any("hookimpl" in block for block in blocks(page))}
    assert DOCS / "reference" / "hooks.md" in shown
    assert shown <= set(PAGES)


def test_the_page_names_this_list_and_nothing_else():
    plugin, host = PAGE.split("\n## To host a server")
    assert pairs(documented(plugin)) ^ pairs(API) == set()
    assert pairs(documented(host)) ^ pairs(HOST) == set()


def test_what_is_beyond_the_list_is_found():
    code = """
from __future__ import annotations
import offboard_core.engine
from offboard_client import wire
from offboard_core.codecs.grip import is_grip
from offboard_core.plugins import Plugins
from offboard_core.types import Chunk, rows
from .types import Chunk
"""
    host, *others = sorted(set(beyond(code, API)) - set(beyond(code, API, HOST))) + beyond(code, API, HOST)
    assert host == "offboard_core.plugins Plugins"
    assert others == [
        "offboard_core.engine",
        "offboard_client wire",
        "offboard_core.codecs.grip is_grip",
        "offboard_core.types rows",
    ]
