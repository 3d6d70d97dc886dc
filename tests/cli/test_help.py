import itertools
import json
import re
import subprocess
import sys
from importlib.metadata import entry_points, version
from pathlib import Path

import pytest
from offboard_process import LIMIT, environment, in_process
from plugin_dists import write_plugin

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
CLIENT = {"offboard_client", "numpy", "msgpack", "websockets"}
CORE = {"offboard_core", "pluggy"}
PLUGINS = {"offboard_lerobot", "offboard_gr00t", "offboard_openpi", "offboard_vla_eval"}
#: Where forms of data sets are listed.
EXPORTS = {"offboard_lerobot_exports"}
#: Where robots are listed.
ROBOTS = {"offboard_lerobot_robots"}
TABLES = {"rich", "tyro", "docstring_parser", "typeguard", "typing_extensions", "pygments", "markdown_it", "mdurl"}

LIST_MODULES = """
import json, sys
before = set(sys.modules)
from offboard_client.cli import main
status = main(sys.argv[1:])
names = {name.partition(".")[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names)
sys.stderr.write(json.dumps(sorted(name for name in names if not name.startswith("_"))))
sys.exit(status)
"""


#: Each is a process. A command's first form, and run's options, which are check's, are in every run.
OTHER_FORM = pytest.mark.slow


@pytest.mark.parametrize(
    ("arguments", "allowed"),
    [
        (["--help"], CLIENT | CORE),
        (["--version"], CLIENT),
        (["plugins"], CLIENT | CORE | PLUGINS | TABLES),
        pytest.param(["plugins", "--json"], CLIENT | CORE | PLUGINS | TABLES, marks=OTHER_FORM),
        (["codecs", "--json"], CLIENT | CORE | PLUGINS | TABLES),
        pytest.param(["codecs", "scripted"], CLIENT | CORE | PLUGINS | TABLES, marks=OTHER_FORM),
        (["robots"], CLIENT | CORE | TABLES | ROBOTS),
        (["models", "--help"], CLIENT | TABLES),
        (["export", "--help"], CLIENT | TABLES | EXPORTS),
        (["run", "--help"], CLIENT | CORE | TABLES | ROBOTS),
        (["run", "sim", "--help"], CLIENT | TABLES),
        pytest.param(["check", "sim", "--help"], CLIENT | TABLES, marks=OTHER_FORM),
    ],
)
def test_what_these_commands_import_is_fixed(arguments, allowed):
    """Neither a model library nor a server: help, discovery and listings answer at once."""
    done = subprocess.run(
        [sys.executable, "-c", LIST_MODULES, *arguments],
        env=environment(), capture_output=True, text=True, timeout=LIMIT, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    imported = set(json.loads(done.stderr.splitlines()[-1])) - {"cython_runtime"}  # msgpack's compiler leaves it behind
    assert imported <= allowed
    assert "offboard_client" in imported


def test_importing_core_brings_no_server_and_no_client():
    heavy = {"starlette", "uvicorn", "asyncio", "ssl", "websockets"}
    code = "import json, sys, offboard_core; print(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, timeout=LIMIT, check=True)
    imported = set(json.loads(done.stdout))
    assert "offboard_core" in imported
    assert heavy & imported == set()


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",), ("help",)])
def test_help_names_every_command(arguments):
    done = in_process(*arguments)
    assert done.returncode == 0
    listed = set(re.findall(r"^  ([a-z]+) {2,}\S", done.stdout, re.MULTILINE))
    assert listed == {point.name for point in entry_points(group="offboard.commands")}
    client, core = (
        {"models", "probe", "bench", "replay", "run", "robots", "check", "evaluate", "validate", "compare", "export"},
        {"serve", "plugins", "codecs", "envs", "demo"},
    )
    assert listed == client | core | {"convert", "doctor", "stats", "train"}


@pytest.mark.parametrize(
    "command",
    [
        "models", "probe", "bench", "doctor", "robots", "serve", "plugins", "codecs", "envs", "validate",
        "evaluate sim",
    ],
)  # fmt: skip
def test_each_command_has_help(command):
    done = in_process(*command.split(), "--help")
    assert done.returncode == 0
    assert f"usage: offboard {command} " in done.stdout
    assert "--json" in done.stdout


def test_what_leaves_something_out_says_so():
    done = in_process("validate", "--help")
    said = " ".join(done.stdout.replace("│", " ").split())
    assert "--no-record Record no trial; else each is, where offboard-client[record] is installed." in said
    assert "whatever becomes of one, on the robot that --robot NAME says" in said


def test_version_names_what_is_installed(tmp_path):
    """Plugins, too, and broken ones as well: they are listed without being imported."""
    write_plugin(tmp_path, "bad", "raise RuntimeError('no CUDA')", version="2.5")
    done = in_process("--version", path=tmp_path)
    listed = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, "")
    client, core = (f"{name} {version(name)}" for name in ("offboard-client", "offboard-core"))
    assert {"dist-bad 2.5 (plugin bad)", client, f"{core} (plugin scripted)"} <= set(listed)
    plugins = entry_points(group="offboard")
    assert {f"{point.dist.name} {point.dist.version}" for point in plugins} <= {
        line.partition(" (")[0] for line in listed
    }


def test_an_unknown_command_gets_the_nearest():
    done = in_process("srve")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(
        "offboard: there is no command 'srve'; did you mean serve? there are: bench, check, codecs"
    )


def test_who_looks_for_a_servers_status_is_told_where_it_is():
    done = in_process("status", "gpu-box:8000")
    assert (done.returncode, done.stdout) == (2, "")
    said = " ".join(done.stderr.split())
    assert "open the server's address in a browser (http://HOST:PORT/), or ask it for /api/v1/status" in said
    assert "stats" not in said


def test_an_option_before_the_command_is_told():
    done = in_process("--prot", "8000")
    assert done.returncode == 2
    assert "there is no option --prot; options come after a command" in done.stderr


def test_a_command_that_cannot_be_imported_harms_nobody_else(tmp_path):
    info = tmp_path / "broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[offboard.commands]\nfly = no_such_module:fly\nmodels = no_such_module:models\n"
    )
    helped = in_process("--help", path=tmp_path)
    assert helped.returncode == 0
    assert "cannot be used (broken 1.0): ModuleNotFoundError: No module named 'no_such_module'" in helped.stdout
    assert in_process("fly", path=tmp_path).stderr == "offboard: No module named 'no_such_module'\n"
    twice = in_process("models", "x", path=tmp_path)
    assert twice.returncode == 2
    assert "several packages bring the command models: " in twice.stderr
    assert "broken 1.0" in twice.stderr


def test_debug_shows_the_traceback():
    quiet, loud = in_process("probe", "no scheme://"), in_process("probe", "no scheme://", "--debug")
    assert (quiet.returncode, loud.returncode) == (1, 1)
    assert len(quiet.stderr.splitlines()) == 1
    assert "Traceback" in loud.stderr
    assert loud.stderr.splitlines()[-1] == quiet.stderr.splitlines()[-1]
    assert "Traceback" in in_process("probe", "no scheme://", OFFBOARD_DEBUG="1").stderr


def test_a_reader_that_leaves_is_no_complaint():
    process = subprocess.Popen(
        [sys.executable, "-c", LIST_MODULES.replace("sys.stderr.write", "str"), "--help"],
        env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    process.stdout.close()
    with process.stderr:
        assert process.stderr.read() == b""
    assert process.wait(LIMIT) == 1


# -- the client without the rest -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def client_alone(tmp_path_factory):
    """A folder with what `pip install offboard-client` brings, and nothing else, to run a Python on."""
    import msgpack
    import numpy
    import offboard_client
    import websockets

    place = tmp_path_factory.mktemp("client_alone")
    for package in (msgpack, numpy, websockets, offboard_client):
        folder = Path(package.__file__).parent
        (place / folder.name).symlink_to(folder)
    libraries = Path(numpy.__file__).parents[1] / "numpy.libs"
    if libraries.exists():
        (place / libraries.name).symlink_to(libraries)
    project = tomllib.loads((ROOT / "offboard-client" / "pyproject.toml").read_text())["project"]
    info = place / f"offboard_client-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: offboard-client\nVersion: {project['version']}\n")
    commands = project["entry-points"]["offboard.commands"]
    lines = "".join(f"{name} = {value}\n" for name, value in commands.items())
    (info / "entry_points.txt").write_text(f"[offboard.commands]\n{lines}")
    code = "import sys; sys.path.insert(0, sys.argv.pop(1)); from offboard_client.cli import main; sys.exit(main())"

    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-I", "-S", "-c", code, str(place), *arguments],
            capture_output=True, text=True, timeout=LIMIT, check=False,
        )  # fmt: skip

    return run


def test_the_client_alone_has_help(client_alone):
    done = client_alone("--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "  probe " in done.stdout
    assert "  serve " not in done.stdout


@pytest.mark.parametrize("command", ["serve", "plugins", "codecs", "envs", "convert", "stats", "train", "demo"])
def test_a_command_of_core_says_what_to_install(client_alone, command):
    done = client_alone(command)
    assert done.returncode == 2
    assert done.stderr == f"offboard: the command {command} is not installed: pip install offboard-core\n"


@pytest.mark.parametrize("command", ["models", "probe", "bench", "doctor", "run", "check"])
def test_a_command_without_its_extra_says_what_to_install(client_alone, command):
    done = client_alone(command, "sim")
    assert done.returncode == 1
    assert re.fullmatch(
        r"offboard: this needs (tyro|rich), which is not installed: pip install 'offboard-client\[cli\]'\n", done.stderr
    )


HELP = [
    "serve", "serve --vendor openpi", "run sim", "models", "probe", "bench", "doctor", "stats", "train", "demo",
    "plugins", "envs",
]  # fmt: skip


@pytest.mark.parametrize("command", HELP)
def test_the_help_breaks_its_lines_where_they_are_full(command):
    # Wider, a long help has two columns.
    shown = in_process(*command.split(), "--help", COLUMNS="120").stdout
    lines = [line[2:-2] for line in shown.splitlines() if line.startswith("│")]
    assert lines
    for line, following in itertools.pairwise(lines):
        column = len(following) - len(following.lstrip())
        before = line[column:].rstrip()
        if before and column > 1 and line[column - 2 : column] == "  ":
            # `column` is where texts stand: the next word did not fit.
            assert len(before) + len(following.split()[0]) >= len(line) - column, (line, following)
        assert not re.search(r":\w+:`|\{None\}", line), line


INTERRUPTED = """
import sys
class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == "numpy":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupt())
from offboard_client.cli import main
sys.exit(main(["models", "127.0.0.1:9"]))
"""


def test_ctrl_c_while_libraries_are_loaded_ends_without_a_trace():
    command = [sys.executable, "-c", INTERRUPTED]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=LIMIT)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.parametrize("command", ["stats", "train"])
def test_what_training_lacks_is_told_with_the_help_that_has_it(command):
    assert "say whose training: --vendor NAME (there are: gr00t, lerobot, openpi)" in in_process(command).stderr
    done = in_process(command, "--vendor", "openpi")
    named = f"{command} --vendor openpi --help"
    assert (done.returncode, f"offboard {named}" in done.stderr) == (2, True), done.stderr
    assert "--input-path PATH" in in_process(*named.split()).stdout
