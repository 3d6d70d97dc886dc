"""What serves a checkpoint is chosen by its files: this environment, one that is made, or one that is asked for."""

import json
import logging
from importlib.metadata import PackageNotFoundError, version

import pytest
from installed import with_lerobot
from lerobot_checkpoints import write_files
from offboard_client.errors import ConfigurationError, LoadFailed
from offboard_core.catalog import from_flags, read_models
from offboard_core.environments import made, place_of
from offboard_core.plugins import ENVIRONMENT, Plugins
from offboard_core.types import ALONE
from offboard_process import offboard
from plugin_dists import write_plugin
from wheel_index import HERE


@pytest.fixture
def chosen(described):
    """The plugin ``rocks``, whose vendor serves what is not old here, and what is old in its environment."""
    write_plugin(
        described.folder,
        "pebbles",
        f"""
        from pathlib import Path
        from offboard_core import (
            Checkpoint, CheckpointLoader, EnvironmentEntry, LoaderEntry, LoadFailed, ModelRegistry, RegistryEntry,
            hookimpl,
        )
        from offboard_core.types import NoParams

        class Loader(CheckpointLoader):
            def __init__(self, options):
                pass

            def load(self, checkpoint, report, place):
                raise LoadFailed("loaded here", permanent=True)

            def check(self, checkpoint):
                if checkpoint.id != "new":
                    raise LoadFailed(f"{{checkpoint.id}} does not fit", permanent=checkpoint.id == "bare")

            def environment(self, checkpoint):
                return {{"old": "pebbles-1.0", "bare": "pebbles-1.0", "strange": "pebbles-9"}}.get(checkpoint.id)

        class Registry(ModelRegistry):
            def __init__(self, location):
                self.location = location

            def checkpoints(self):
                return [Checkpoint(id=p.name, location=str(p)) for p in sorted(Path(self.location).iterdir())]

        @hookimpl
        def offboard_model_registries():
            yield RegistryEntry(name="pebbles", summary="Folders.", factory=Registry)

        @hookimpl
        def offboard_checkpoint_loaders():
            yield LoaderEntry(
                name="pebbles", summary="Pebbles.", factory=Loader, registry="pebbles", default_codec="core.any",
            )

        @hookimpl
        def offboard_environments():
            yield EnvironmentEntry(
                name="pebbles-1.0", summary="Old pebbles (5 GB).", requirements="rocks_lists:one.txt",
                python={HERE!r}, platforms=("linux-x86_64", "linux-aarch64"),
            )
        """,
    )
    for name in ("new", "old", "odd", "strange", "bare"):
        (described.folder / "runs" / name).mkdir(parents=True)
    return described


def source(chosen, checkpoint, **options):
    plugins = chosen.plugins
    runs = str(chosen.folder / "runs")
    return from_flags(plugins, vendor="pebbles", checkpoints_dir=runs, checkpoint=checkpoint, **options)


def load(source):
    source.loader.load(source.default(), print, ALONE)


@pytest.mark.parametrize("env", [None, "auto"])
def test_what_fits_here_is_loaded_here(chosen, env, offline):
    with pytest.raises(LoadFailed, match=r"^loaded here$"):
        load(source(chosen, "new", env=env))


def test_nothing_is_made_unasked(chosen, cache):
    with pytest.raises(LoadFailed) as raised:
        source(chosen, "old").default()
    assert raised.value.text.startswith(
        "old does not fit. It can be served in the environment pebbles-1.0, which is not"
    )
    for said in (
        "not made yet: Old pebbles (5 GB). Have it made with",
        "--env pebbles-1.0, or --env auto",
        "`offboard envs make pebbles-1.0`",
    ):
        assert said in raised.value.text
    other = source(chosen, "new")
    with pytest.raises(LoadFailed, match="which is not made yet"):
        other.loader.load(other.registry.resolve("old"), print, ALONE)
    assert not cache.exists()


@pytest.mark.parametrize("env", [None, "auto"])
def test_what_fits_nowhere_is_refused_with_the_reason(chosen, env):
    with pytest.raises(LoadFailed, match=r"^odd does not fit$"):
        source(chosen, "odd", env=env).default()
    with pytest.raises(LoadFailed, match=r"strange does not fit\. It wants the environment pebbles-9: there is no"):
        source(chosen, "strange", env=env).default()


def test_auto_makes_it_and_then_it_is_taken_without_being_asked(chosen, packages, caplog):
    caplog.set_level(logging.INFO)
    place = place_of(chosen.plugins.get(ENVIRONMENT, "pebbles-1.0"))
    asked = source(chosen, "old", env="auto")
    asked.default()
    assert made(place) is None, "before the server listens nothing is made"
    # A worker that lacks msgpack says so: it was to run there.
    for one in (asked, source(chosen, "old")):
        caplog.clear()
        with pytest.raises(LoadFailed, match=f"the environment of {place}"):
            load(one)
        where = chosen.folder / "runs" / "old"
        why = "for it does not fit what is installed here"
        assert f"old ({where}) is served in the environment pebbles-1.0, {why}" in caplog.text
        assert made(place) is not None
    with pytest.raises(LoadFailed, match=f"the environment of {place}"):
        load(source(chosen, "bare"))
    assert "is served in the environment pebbles-1.0, for what loads it is not installed here" in caplog.text


def test_auto_is_among_what_may_be_asked_for(chosen):
    with pytest.raises(
        ConfigurationError, match=r"no environment 'Auto'; did you mean auto\? there are: auto, pebbles-"
    ):
        source(chosen, "old", env="Auto")


def test_an_environment_by_name_is_not_held_against_what_is_installed_here(chosen):
    source(chosen, "old", env="pebbles-1.0").default()
    with pytest.raises(LoadFailed, match="odd does not fit"):
        source(chosen, "odd", env="pebbles-1.0").default()


def test_a_file_says_auto_too(chosen, tmp_path):
    file = tmp_path / "models.toml"
    table = (
        f"[a]\nvendor = 'pebbles'\ncheckpoints_dir = {json.dumps(str(chosen.folder / 'runs'))}\ncheckpoint = 'old'\n"
    )
    file.write_text(table + "env = 'auto'\ninherit = ['HOME']\n")
    read_models(file, chosen.plugins)["a"].default()
    file.write_text(table)
    with pytest.raises(LoadFailed, match="not made yet"):
        read_models(file, chosen.plugins)["a"].default()


def test_a_vendor_that_says_nothing_has_to_be_told():
    done = offboard("serve", "--vendor", "scripted", "--env", "auto", "--port", "0")
    assert done.returncode == 1
    assert "the vendor scripted does not say which environment a checkpoint wants: name one" in done.stderr


class TestLeRobot:
    @pytest.fixture
    def absent(self, monkeypatch):
        """An environment that has offboard-lerobot, and no LeRobot."""
        from offboard_lerobot import versions

        def none(_):
            raise PackageNotFoundError

        monkeypatch.setattr(versions, "version", none)
        versions.installed.cache_clear()
        yield
        versions.installed.cache_clear()

    @pytest.fixture
    def of(self, tmp_path):
        def of(env=None, **config):
            folder = write_files(tmp_path / "m", **config)
            return from_flags(Plugins.discover(), checkpoints_dir=str(folder), env=env)

        return of

    @with_lerobot
    def test_the_installed_one(self, of):
        of().default()
        assert version("lerobot").startswith("0.4"), "the workspace's"

    def test_what_only_0_6_knows(self, of):
        with pytest.raises(LoadFailed, match=r"environment lerobot-0\.6, which is not made yet: .*5 GB"):
            of(kind="eo1").default()
        of(kind="eo1", env="auto").default()
        of(kind="eo1", env="lerobot-0.6").default()

    def test_what_neither_knows(self, of):
        with pytest.raises(LoadFailed, match=r"invented") as raised:
            of(invented=1).default()
        assert "environment" not in raised.value.text

    def test_none_is_installed(self, of, absent):
        said = r"LeRobot is not installed here: pip install 'offboard-lerobot\[lerobot\]'\. It can be served in the "
        with pytest.raises(LoadFailed, match=rf"{said}environment lerobot-0\.4, .* --env lerobot-0\.4, or --env auto"):
            of().default()
        with pytest.raises(LoadFailed, match=rf"{said}environment lerobot-0\.6"):
            of(pretrained_revision=None).default()
        of(env="auto").default()
        of(env="lerobot-0.6", pretrained_revision=None).default()

    def test_none_is_installed_and_none_would_serve_it(self, of, absent):
        with pytest.raises(LoadFailed, match=r"^.*/m was written by .*, this is LeRobot 0\.6\.1, which .* 'invented'"):
            of(invented=1).default()


def test_python_and_auto_say_the_same():
    done = offboard("serve", "--vendor", "lerobot", "--checkpoints-dir", ".", "--env", "auto", "--python", "/none")
    assert "python is given and env is auto" in done.stderr
