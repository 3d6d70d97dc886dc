"""What can be seen to be wrong with an environment is told before anything is made, or listens."""

import json
import os
import platform
import re
import sys
from types import SimpleNamespace

import offboard_core.scripted
import pytest
from offboard_client.errors import ConfigurationError
from offboard_core import EnvironmentEntry, hookimpl
from offboard_core.catalog import from_flags, read_models
from offboard_core.environments import choose, read_list
from offboard_core.plugins import ENVIRONMENT, Plugins
from offboard_process import offboard
from wheel_index import PEBBLE, pinned

HERE = f"{sys.platform}-{platform.machine()}"


def plugin(*names, **fields):
    """One that describes environments of these names."""

    @hookimpl
    def offboard_environments():
        for name in names:
            yield EnvironmentEntry(
                **{"name": name, "summary": "", "requirements": "a:b", "platforms": (HERE,), **fields}
            )

    return SimpleNamespace(offboard_environments=offboard_environments)


def cause(plugins, name):
    return next(row.cause for row in plugins.rows() if row.provider.name == name)


class TestNames:
    def test_they_are_whole_and_begin_with_the_plugin(self):
        plugins = Plugins.of(arm=plugin("arm", "arm-0.6", "arm-nightly.2_x"))
        assert [offer.name for offer in plugins.offers(ENVIRONMENT)] == ["arm", "arm-0.6", "arm-nightly.2_x"]

    @pytest.mark.parametrize("name", ["leg-0.6", "armour", "arm-", "arm-../x", "arm-a/b", "arm- x", ""])
    def test_others_are_refused(self, name):
        said = cause(Plugins.of(arm=plugin(name)), "arm")
        assert f"yields the name {name!r}; expected 'arm', or a name that begins with 'arm-'" in said

    def test_two_plugins_of_one_name_are_told(self):
        plugins = Plugins.of(**{"arm": plugin("arm-2-x"), "arm-2": plugin("arm-2-x"), "leg": plugin("leg-1")})
        assert cause(plugins, "arm") is None
        assert "environment 'arm-2-x' is called like one of the plugin arm" in cause(plugins, "arm-2")
        assert [offer.name for offer in plugins.offers(ENVIRONMENT)] == ["arm-2-x", "leg-1"]


class TestChoice:
    @pytest.mark.parametrize(
        ("name", "vendor", "text"),
        [
            ("arm-0.5", None, r"there is no environment 'arm-0\.5'; did you mean arm-0\.6"),
            ("arm-0.6", "leg", r"is for models of the vendor arm, and these are leg's; for them there is leg-1$"),
            ("arm-0.6", "foot", r"these are foot's; for them there is none$"),
        ],
    )
    def test_what_is_not_there_or_not_for_these(self, name, vendor, text):
        plugins = Plugins.of(arm=plugin("arm-0.6"), lab=plugin("lab", vendor="hand"), leg=plugin("leg-1"))
        with pytest.raises(ConfigurationError, match=text):
            choose(plugins, name, vendor)

    def test_another_platform(self):
        plugins = Plugins.of(arm=plugin("arm-0.6", platforms=("plan9-vax", "linux-m68k")))
        with pytest.raises(ConfigurationError, match=f"arm-0.6 is for plan9-vax, linux-m68k, and this is {HERE}"):
            choose(plugins, "arm-0.6", "arm")

    def test_no_uv(self, described, cache, monkeypatch):
        monkeypatch.setenv("PATH", "/nowhere")
        monkeypatch.setattr("offboard_core.environments.uv.sys.executable", "/nowhere/python")
        with pytest.raises(ConfigurationError, match="making it needs uv: pip install uv"):
            choose(described.plugins, "rocks-1.0")
        assert not cache.exists()


HASH = f"--hash=sha256:{'a' * 64}"


@pytest.mark.parametrize(
    "line",
    [
        "pebble==1.0",
        "pebble",
        f"pebble>=1.0 {HASH}",
        f"pebble @ https://example.com/pebble.whl {HASH}",
        f"pebble==1.0 {HASH} --index-url=https://example.com",
        f"pebble==1.0 ; python_version > '3' --index-url=https://example.com {HASH}",
        f"pebble==1.0 ; python_version > '3' @ file:///tmp/pebble.whl {HASH}",
        f"pebble==1.0 ; python_version > '3' -r /etc/passwd {HASH}",
        f"pebble==1.0 ; python_version > '${{TOKEN}}' {HASH}",
        f"../pebble==1.0 {HASH}",
        f"pebble==/tmp/1.0 {HASH}",
        f"pebble[extra]==1.0 {HASH}",
        f"pebble===1.0 {HASH}",
        "--index-url https://example.com",
        "-e .",
        "./pebble.whl",
        f"pebble==1.0 --hash=md5:{'a' * 32}",
        f"pebble==1.0 {HASH[:-1]}",
        "",
    ],
)
def test_a_list_names_exact_files_and_no_place(line, described):
    described.write(line)
    with pytest.raises(ConfigurationError, match=rf"holds ['\"]{re.escape(line[:15])}|is empty"):
        read_list(described.offer)


def test_a_list_may_have_markers_and_comments(described):
    described.write(
        f"# all\n{pinned('pebble', PEBBLE)} {HASH}\nrock==2.0+cu13 ; sys_platform == 'linux' \\\n  {HASH}\n"
    )
    lines = read_list(described.offer).lines
    assert lines == (f"{pinned('pebble', PEBBLE)} {HASH}", f"rock==2.0+cu13 ; sys_platform == 'linux' {HASH}")


class TestServe:
    def test_an_unknown_one_is_refused_before_anything_listens(self):
        done = offboard("serve", "--vendor", "scripted", "--env", "none-1.0", "--port", "0")
        assert done.returncode == 1
        assert "there is no environment 'none-1.0'" in done.stderr

    def test_one_that_cannot_be_made_ends_the_server_that_listens(self, described, offline, cache):
        settings = {name: value for name, value in os.environ.items() if name.startswith(("UV_", "OFFBOARD_"))}
        arguments = ("--vendor", "rocks", "--env", "rocks-1.0", "--port", "0", "--json")
        done = offboard("serve", *arguments, path=described.folder, **settings)
        assert done.returncode == 1
        assert json.loads(done.stdout)["models"] == ["rocks"], "it had begun to listen"
        assert "the environment rocks-1.0 cannot be made" in done.stderr
        assert "Likely cause: the package index cannot be reached" in done.stderr
        assert [path.suffix for path in cache.iterdir()] == [".lock"]

    def test_it_and_python_say_the_same(self, tmp_path):
        file = tmp_path / "models.toml"
        file.write_text(f'[one]\nvendor = "scripted"\nenv = "x"\npython = {json.dumps(sys.executable)}\n')
        with pytest.raises(ConfigurationError, match=r"\[one\]: python is given and env is x: .*; give one of them"):
            read_models(file, Plugins.of(scripted=offboard_core.scripted))

    def test_what_it_is_for_is_compared_with_what_is_served(self):
        plugins = Plugins.of(arm=plugin("arm-0.6"), scripted=offboard_core.scripted)
        with pytest.raises(ConfigurationError, match=r"arm-0\.6 is for .* vendor arm, and these are scripted's"):
            from_flags(plugins, vendor="scripted", env="arm-0.6")
