from dataclasses import dataclass, replace

import pytest
from offboard_client.plugins import UsageError
from offboard_core import (
    BadParameter,
    CheckpointLoader,
    Codec,
    CodecEntry,
    CodecMeta,
    ConfigurationError,
    LoaderEntry,
    ModelNotFound,
    RegistryEntry,
    hookimpl,
)
from offboard_core.catalog import codec_of, from_flags, read_models
from offboard_core.checkpoints import MemoryRegistry
from offboard_core.cli import parse_serve
from offboard_core.plugins import LOADER, Plugins
from offboard_core.types import Checkpoint


@dataclass(frozen=True)
class ArmOptions:
    device: str = "cpu"
    layout: str | None = None


class ArmLoader(CheckpointLoader):
    def __init__(self, options):
        self.options = options

    def load(self, checkpoint, report, place):
        raise NotImplementedError


@dataclass(frozen=True)
class PaceOptions:
    fps: float | None = None
    steps: int = 4

    def __post_init__(self):
        if self.steps > 100:
            raise ValueError("steps is above 100")


@dataclass(frozen=True)
class Pace(Codec):
    options: PaceOptions

    @property
    def meta(self):
        return CodecMeta(action_fps=self.options.fps)

    def encode(self, observation):
        return dict(observation)

    def decode(self, chunk, observation):
        return chunk


class FixedPace(Pace):
    @property
    def meta(self):
        return CodecMeta(action_fps=15.0)


@dataclass(frozen=True)
class FixedOptions:
    pass


class Arm:
    """A vendor whose checkpoints are the names in a file."""

    @hookimpl
    def offboard_checkpoint_loaders(self):
        yield LoaderEntry(
            name="arm", summary="Arms.", factory=ArmLoader, options=ArmOptions, default_codec="ee", registry="list",
            recognises=lambda path: path.suffix == ".arm",
            variants={"joints_v2": {"codec": "joints", "layout": "v2"}},
        )  # fmt: skip
        yield LoaderEntry(name="bare", summary="Needs no files.", factory=ArmLoader)

    @hookimpl
    def offboard_codecs(self):
        for name in ("ee", "joints"):
            yield CodecEntry(name=name, summary=name, factory=lambda o, c: Pace(o), options=PaceOptions)
        yield CodecEntry(name="fixed", summary="15 Hz.", factory=lambda o, c: FixedPace(o), options=FixedOptions)

    @hookimpl
    def offboard_model_registries(self):
        yield RegistryEntry(name="list", summary="Names in a file.", factory=read_names)


def read_names(location):
    with open(location, encoding="utf-8") as file:
        return MemoryRegistry([Checkpoint(id=line.strip(), location=location) for line in file])


@pytest.fixture
def plugins():
    return Plugins.of(arm=Arm())


@pytest.fixture
def runs(tmp_path):
    (tmp_path / "runs.arm").write_text("000100\n000200\n")
    return str(tmp_path / "runs.arm")


def checkpoint(**recorded):
    return Checkpoint(id="000100", recorded=recorded)


def test_flags_make_a_source(plugins, runs):
    source = from_flags(
        plugins, vendor="arm", checkpoints_dir=runs, checkpoint="200", loader_options={"device": "cuda"}
    )
    assert source.vendor == "arm"
    assert source.default().id == "000200"
    assert source.loader.options == ArmOptions("cuda")


def test_the_files_decide_the_vendor(plugins, runs):
    assert from_flags(plugins, checkpoints_dir=runs).vendor == "arm"


def test_a_home_is_expanded(plugins, runs, monkeypatch):
    monkeypatch.setenv("HOME", runs.removesuffix("/runs.arm"))
    assert from_flags(plugins, vendor="arm", checkpoints_dir="~/runs.arm").default().location == runs


def test_a_vendor_without_files_serves_itself(plugins):
    source = from_flags(plugins, vendor="arm.bare")
    assert source.default().id == "arm.bare"
    with pytest.raises(ModelNotFound, match="no model '7'"):
        from_flags(plugins, vendor="arm.bare", checkpoint="7").default()


class RemoteLoader(ArmLoader):
    """Serves a file's checkpoints, or with ``device`` the one that runs there already."""

    def enrich(self, checkpoint):
        return replace(checkpoint, chunk_length=8)

    def standalone_checkpoint(self):
        return None if self.options.device == "cpu" else Checkpoint(id=self.options.device)


class Remote(Arm):
    @hookimpl
    def offboard_checkpoint_loaders(self):
        yield LoaderEntry(
            name="arm", summary="", factory=RemoteLoader, options=ArmOptions, default_codec="ee", registry="list"
        )


def test_a_loader_completes_what_the_registry_found(runs):
    registry = from_flags(Plugins.of(arm=Remote()), vendor="arm", checkpoints_dir=runs).registry
    for checkpoint in (*registry.checkpoints(), registry.resolve("100"), registry.default()):
        assert checkpoint.chunk_length == 8


def test_a_loader_may_name_a_model_that_needs_no_place(runs):
    plugins, options = Plugins.of(arm=Remote()), {"device": "elsewhere"}
    source = from_flags(plugins, vendor="arm", loader_options=options)
    assert [c.id for c in source.registry.checkpoints()] == ["elsewhere"]
    with pytest.raises(ConfigurationError, match="the vendor arm reads no files"):
        from_flags(plugins, vendor="arm", loader_options=options, checkpoints_dir=runs)


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        ({}, r"say what to serve: where checkpoints lie .* or a vendor \(--vendor arm, arm.bare\)"),
        ({"vendor": "amr"}, "no vendor 'amr'; did you mean arm"),
        ({"vendor": "arm"}, "the vendor arm needs --checkpoints-dir"),
        ({"vendor": "arm.bare", "checkpoints_dir": "x"}, "arm.bare reads no files; leave --checkpoints-dir away"),
        ({"vendor": "arm.bare", "codec": "eee"}, "no codec 'eee'; did you mean arm.ee"),
        (
            {"vendor": "arm.bare", "codec": "ee", "codec_options": {"stesp": 1}},
            "no option 'stesp' of the codec arm.ee; did",
        ),
        ({"vendor": "arm.bare", "codec": "fixed", "fps": 10}, "no option 'fps' of the codec arm.fixed"),
        ({"vendor": "arm.bare", "codec_options": {"fps": 5}, "fps": 10}, "--fps says 10, --codec.fps says 5"),
        ({"vendor": "arm.bare", "loader_options": {"devise": "cuda"}}, "no option 'devise' of the vendor arm.bare"),
        ({"checkpoints_dir": "/nowhere/at/all"}, "/nowhere/at/all does not exist; / holds "),
        ({"checkpoints_dir": "/"}, "no installed vendor recognises the files in /"),
        ({"checkpoints_dir": "s3://runs/act"}, "a URL does not tell whose checkpoints are in s3://runs/act"),
    ],
)
def test_flags_that_make_no_sense_are_refused(plugins, flags, text):
    with pytest.raises(ConfigurationError, match=text):
        from_flags(plugins, **flags)


def test_the_codec_is_the_recorded_one_then_the_one_asked_for_then_the_default(plugins, runs):
    def choice(asked, **recorded):
        source = from_flags(plugins, vendor="arm", checkpoints_dir=runs, codec=asked)
        resolved = source.codec.resolve(checkpoint(**recorded), {})
        return resolved.name, resolved.source

    assert choice(None) == ("arm.ee", "default")
    assert choice("joints") == ("arm.joints", "option")
    assert choice(None, codec="joints") == ("arm.joints", "checkpoint")
    assert choice("arm.joints", codec="joints") == ("arm.joints", "checkpoint")
    with pytest.raises(
        ConfigurationError, match=r"asks for arm.ee, but the checkpoint 000100 was trained with arm.joints"
    ):
        choice("ee", codec="arm.joints")
    with pytest.raises(ConfigurationError, match="no codec 'gone'"):
        choice(None, codec="gone")


def test_the_rate_is_the_recorded_one_else_the_option(plugins, runs):
    def rate(fps=None, overrides=None, codec=None, **recorded):
        source = from_flags(plugins, vendor="arm", checkpoints_dir=runs, fps=fps, codec=codec)
        return source.codec.resolve(checkpoint(**recorded), overrides or {}).meta.action_fps

    assert rate() is None
    assert rate(fps=10) == 10.0
    assert rate(action_fps=15) == 15.0
    assert rate(fps=15, action_fps=15.0) == 15.0
    assert rate(fps=10, overrides={"fps": 5}) == 5.0
    assert rate(codec="fixed", action_fps=15) == 15.0
    with pytest.raises(ConfigurationError, match="fps 10 is asked for, but the checkpoint 000100 was trained at 15"):
        rate(fps=10, action_fps=15)
    with pytest.raises(BadParameter, match="fps 5 is asked for, but"):
        rate(overrides={"fps": 5}, action_fps=15)
    with pytest.raises(ConfigurationError, match=r"arm.fixed makes actions at 15.0 Hz, but .* trained at 10 Hz"):
        rate(codec="fixed", action_fps=10)
    for junk in ("15", True, -1, 0, float("nan"), 0.009, 10_001):
        with pytest.raises(
            ConfigurationError,
            match=r"action_fps in offboard.json of the checkpoint 000100: fps is .*, expected steps per second",
        ):
            rate(action_fps=junk)


def test_options_are_the_recorded_ones_where_nobody_says_others(plugins):
    def steps(options=None, overrides=None, **recorded):
        codec = from_flags(plugins, vendor="arm.bare", codec="ee", codec_options=options).codec
        return codec.resolve(checkpoint(**recorded), overrides or {}).options.steps

    usual, told = steps(), {"codec": "ee", "codec_options": {"steps": 8}}
    assert usual != 8
    assert steps(**told) == 8
    assert steps({"steps": 9}, **told) == 9
    assert steps({"steps": 9}, {"steps": 10}, **told) == 10
    assert steps(codec_options={"steps": 8}) == usual, "of what codec they were nobody says"
    for junk, text in ((3, "is 3, expected a map"), ({"stesp": 1}, "no option 'stesp'"), ({"steps": 101}, "above 100")):
        with pytest.raises(ConfigurationError, match=r"offboard\.json of the checkpoint 000100") as caught:
            steps(codec="ee", codec_options=junk)
        assert text in caught.value.text


def test_a_session_tunes_the_codec_and_only_with_what_fits(plugins):
    codec = from_flags(plugins, vendor="arm.bare", codec="ee", codec_options={"steps": 8}).codec
    assert codec.resolve(checkpoint(), {"fps": 10}).codec.options == PaceOptions(fps=10.0, steps=8)
    for overrides, text in (
        ({"stesp": 1}, "no option 'stesp'"),
        ({"steps": "1"}, "expects a whole number"),
        ({"steps": 101}, "steps is above 100"),
    ):
        with pytest.raises(BadParameter, match=text):
            codec.resolve(checkpoint(), overrides)


def test_a_codec_is_made_once_for_equal_options(plugins):
    codec = from_flags(plugins, vendor="arm.bare", codec="ee").codec
    first = codec.resolve(checkpoint(), {"fps": 10, "steps": 2})
    assert codec.resolve(checkpoint(), {"steps": 2, "fps": 10}) is first
    assert codec.resolve(checkpoint(), {}) is not first
    assert codec.resolve(checkpoint(action_fps=10), {"fps": 10, "steps": 2}) is not first
    for steps in range(100):
        codec.resolve(checkpoint(), {"steps": steps})
    assert codec.resolve(checkpoint(), {"fps": 10, "steps": 2}) is not first, (
        "a session must not grow the server's memory"
    )


# -- models.toml ------------------------------------------------------------------------------------------------


def read(tmp_path, plugins, text):
    path = tmp_path / "models.toml"
    path.write_text(text)
    return read_models(path, plugins)


def test_a_file_names_several_sources(plugins, runs, tmp_path):
    sources = read(
        tmp_path,
        plugins,
        """
        [act]
        checkpoints_dir = "runs.arm"
        checkpoint = 100
        codec = "joints"
        fps = 10
        codec_options = { steps = 2 }
        options = { device = "cuda" }

        [bare]
        vendor = "arm.bare"
        """,
    )
    assert list(sources) == ["act", "bare"]
    act = sources["act"]
    assert (act.vendor, act.default().id, act.loader.options) == ("arm", "000100", ArmOptions("cuda"))
    assert act.codec.resolve(act.default(), {}).codec.options == PaceOptions(fps=10.0, steps=2)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("[act", "is not TOML: "),
        ("", "names no model; expected a table for each"),
        ("vendor = 'arm'", r"\[vendor\]: is 'arm'; expected a table with the keys vendor, checkpoints_dir"),
        ("[act]\nvendro = 'arm'", r"\[act\]: there is no key 'vendro'; did you mean vendor"),
        ("[act]\nfps = 15", r"\[act\]: says neither checkpoints_dir, where they lie, nor vendor"),
        ("[act]\nvendor = 3", r"\[act\]: vendor is 3; expected str"),
        ("[act]\nfps = true", r"\[act\]: fps is True; expected int or float"),
        ("[act]\noptions = 'cpu'", r"\[act\]: options is 'cpu'; expected table"),
        ("['a/b']\nvendor = 'arm'", r"\[a/b\]: the name begins every id"),
        ("[act]\nvendor = 'leg'", r"\[act\]: there is no vendor 'leg'"),
        ("[act]\nvendor = 'arm.bare'\ncodec = 'eee'", r"\[act\]: there is no codec 'eee'; did you mean arm.ee"),
    ],
)
def test_a_wrong_file_is_told_where_it_is_wrong(plugins, tmp_path, text, error):
    with pytest.raises(ConfigurationError, match=f"models.toml.*{error}"):
        read(tmp_path, plugins, text)


# -- variants ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [None, {"device": "cuda"}, ArmOptions(device="cuda")])
def test_a_variant_says_the_codec_and_the_vendors_options(plugins, runs, given):
    source = from_flags(plugins, checkpoints_dir=runs, variant="joints_v2", loader_options=given)
    assert source.loader.options == ArmOptions(device="cpu" if given is None else "cuda", layout="v2")
    resolved = source.codec.resolve(checkpoint(), {})
    assert (resolved.name, resolved.source) == ("arm.joints", "option")


@pytest.mark.parametrize(
    ("flags", "error"),
    [
        ({"codec": "joints"}, "joints_v2 says --codec already; leave one of them away"),
        ({"loader_options": {"layout": "v2"}}, "says --layout already"),
        ({"loader_options": ArmOptions(layout="v1"), "codec": "ee"}, "says --codec, --layout already"),
        ({"variant": "joints_v3"}, "there is no variant of arm 'joints_v3'; did you mean joints_v2"),
        ({"vendor": "arm.bare", "checkpoints_dir": None}, "there is no variant of arm.bare 'joints_v2'"),
        (
            {"loader_options": PaceOptions()},
            "joints_v2 says --layout, which there is not here: say --codec joints",
        ),
    ],
)
def test_what_a_variant_says_is_said_once(plugins, runs, flags, error):
    with pytest.raises(ConfigurationError, match=error):
        from_flags(plugins, **{"checkpoints_dir": runs, "variant": "joints_v2"} | flags)


def test_a_file_may_say_a_variant(plugins, runs, tmp_path):
    (source,) = read(tmp_path, plugins, '[act]\ncheckpoints_dir = "runs.arm"\nvariant = "joints_v2"').values()
    assert source.loader.options == ArmOptions(layout="v2")
    with pytest.raises(ConfigurationError, match="joints_v2 says --codec already"):
        read(tmp_path, plugins, '[act]\nvendor = "arm"\ncodec = "ee"\nvariant = "joints_v2"')


def test_a_variant_of_a_command_line(plugins, runs, capsys):
    line = ["--checkpoints-dir", runs, "joints_v2", "--device=cuda"]
    parsed = parse_serve(line, plugins)
    assert (parsed.variant, parsed.serve.models, parsed.vendor) == ("joints_v2", None, ArmOptions("cuda"))
    for wrong, reason in (
        ("arm models.toml", "give either models.toml or"),
        ("arm.bare joints_v2", "has no such words"),
    ):
        with pytest.raises(UsageError, match=reason):
            parse_serve(["--vendor", *wrong.split()], plugins)
    with pytest.raises(SystemExit):
        parse_serve(["--vendor", "arm", "--help"], plugins)
    assert "joints_v2 (--codec joints --layout v2)" in " ".join(capsys.readouterr().out.split())


def test_options_that_only_one_variant_says_are_its_codec(plugins):
    arm = plugins.get(LOADER, "arm")
    assert codec_of(arm, ArmOptions(layout="v2")) == "joints"
    assert codec_of(arm, ArmOptions(layout="v1")) is None
    assert codec_of(plugins.get(LOADER, "arm.bare"), ArmOptions(layout="v2")) is None


def test_a_variant_without_a_codec_is_a_mistake_of_the_plugin():
    with pytest.raises(ValueError, match="the variant 'v2' of the vendor 'arm' names no codec"):
        LoaderEntry(name="arm", summary="Arms.", factory=ArmLoader, variants={"v2": {"layout": "v2"}})


def test_a_missing_file_is_told(plugins, tmp_path):
    with pytest.raises(ConfigurationError, match=r"no\.toml cannot be read: No such file or directory$"):
        read_models(tmp_path / "no.toml", plugins)
    (tmp_path / "runs").mkdir()
    with pytest.raises(ConfigurationError, match=r"runs is a folder; serve its checkpoints with --checkpoints-dir"):
        read_models(tmp_path / "runs", plugins)
    with pytest.raises(ConfigurationError, match=r"No such file.*expected a models\.toml, or --checkpoints-dir"):
        read_models(tmp_path / "lerobot" / "act", plugins)
