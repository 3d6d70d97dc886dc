"""A cache, a package index and a plugin with an environment, of each test's own."""

import subprocess
import sys

import pytest
from offboard_core.plugins import ENVIRONMENT, Plugins
from plugin_dists import entry_points_in, write_plugin
from wheel_index import HERE, PEBBLE, index, pinned


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """offboard's cache. uv has one of its own, and no settings of this machine's user."""
    for name in ("UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OFFBOARD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    monkeypatch.setenv("UV_NO_CONFIG", "1")
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS", "never")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    return tmp_path / "cache" / "environments"


@pytest.fixture
def offline(monkeypatch):
    """No index."""
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")


@pytest.fixture
def packages(monkeypatch):
    """An index that has the package ``pebble``."""
    with index(pebble=PEBBLE) as made:
        monkeypatch.setenv("UV_DEFAULT_INDEX", made.url)
        yield made


class Described:
    """A plugin in a folder that describes one environment, and can change its mind."""

    def __init__(self, folder):
        self.folder = folder
        write_plugin(
            folder,
            "rocks",
            f"""
            import sys
            from offboard_core import EnvironmentEntry, LoaderEntry, hookimpl

            @hookimpl
            def offboard_checkpoint_loaders():
                yield LoaderEntry(
                    name="rocks", summary="A script of rocks.", factory="offboard_core.scripted.policy:ScriptedLoader",
                    default_codec="scripted",
                )

            @hookimpl
            def offboard_environments():
                yield EnvironmentEntry(
                    name="rocks-1.0", summary="Pebbles of one kind.", requirements="rocks_lists:one.txt",
                    python={HERE!r}, platforms=("linux-x86_64", "linux-aarch64"),
                )
            """,
        )
        (folder / "rocks_lists").mkdir()
        (folder / "rocks_lists" / "__init__.py").touch()
        self.write(pinned("pebble", PEBBLE))

    def write(self, text):
        (self.folder / "rocks_lists" / "one.txt").write_text(text + "\n")

    @property
    def plugins(self):
        return Plugins.discover(entry_points_in(self.folder))

    @property
    def offer(self):
        return self.plugins.get(ENVIRONMENT, "rocks-1.0")

    def start(self, *arguments, before=()):
        """``offboard envs …`` with this plugin, as a process."""
        command = [*before, sys.executable, "-m", "offboard_client.cli", "envs", *arguments]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def described(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "plugins"))
    monkeypatch.syspath_prepend(str(tmp_path / "plugins"))
    yield Described(tmp_path / "plugins")
    for name in [name for name in sys.modules if name.startswith("rocks_")]:
        del sys.modules[name]
