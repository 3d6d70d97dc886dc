import io
import json
import logging
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
from offboard_client.cli import main
from offboard_core import CodecEntry, ConfigurationError, LoaderEntry, RegistryEntry, hookimpl
from offboard_core.plugins import CODEC, KINDS, LOADER, REGISTRY, Entry, Kind, Plugins
from offboard_core.types import Checkpoint, Codec
from plugin_dists import entry_points_in, write_plugin

GOOD = """
    from offboard_core import CodecEntry, LoaderEntry, hookimpl

    @hookimpl
    def offboard_checkpoint_loaders():
        yield LoaderEntry(name="{name}", summary="A vendor.", factory="nowhere:make")

    @hookimpl
    def offboard_codecs():
        yield CodecEntry(name="ee", summary="A codec.", factory="nowhere:make")
"""


@pytest.fixture
def discovered(tmp_path, monkeypatch):
    """Discover plugins made of ``name=source`` pairs, next to a good one called ``good``."""

    def discover(**sources):
        write_plugin(tmp_path, "good", GOOD.format(name="good"))
        for name, source in sources.items():
            write_plugin(tmp_path, name, source)
        monkeypatch.syspath_prepend(tmp_path)
        return Plugins.discover(entry_points_in(tmp_path))

    return discover


def row(plugins, name):
    (found,) = [row for row in plugins.rows() if row.provider.name == name]
    return found


def of(**hooks):
    """A plugin object whose hooks yield these entries."""
    return SimpleNamespace(**{hook: hookimpl(yielding(entries)) for hook, entries in hooks.items()})


def yielding(entries):
    def hook():
        yield from entries

    return hook


def codec(name, factory="offboard_core.codecs:make"):
    return CodecEntry(name=name, summary=f"The codec {name}.", factory=factory)


def loader(name, **more):
    return LoaderEntry(name=name, summary=f"The vendor {name}.", factory="nowhere:make", **more)


def test_core_is_a_plugin_like_any_other():
    plugins = Plugins.of()
    assert [row.provider.name for row in plugins.rows()] == ["core"]
    assert row(plugins, "core").offers[CODEC] == ("core.native",)
    assert row(plugins, "core").provider.distribution == "offboard-core"


def test_a_plugin_is_listed_with_its_distribution_and_what_it_offers(discovered):
    found = row(discovered(), "good")
    assert str(found.provider) == "good (dist-good 1.0)"
    assert (found.offers[LOADER], found.offers[CODEC], found.cause) == (("good",), ("good.ee",), None)


BROKEN = {
    "raises_at_import": ("raise RuntimeError('no\\n  CUDA')", "RuntimeError: no CUDA"),
    "leaves_at_import": ("raise SystemExit(3)", "SystemExit: 3"),
    "lacks_a_module": ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
    "misspells_a_hook": (
        "from offboard_core import hookimpl\n@hookimpl\ndef offboard_codec():\n    yield 1",
        "it implements offboard_codec, and there is no such hook; did you mean offboard_codecs?",
    ),
    "forgets_the_mark": (
        "def offboard_codecs():\n    yield 1",
        "its function offboard_codecs lacks the decorator @hookimpl",
    ),
    "takes_arguments": (
        "from offboard_core import hookimpl\n@hookimpl\ndef offboard_codecs(config):\n    yield 1",
        "a hook is declared wrongly",
    ),
    "raises_midway": (
        "from offboard_core import CodecEntry, hookimpl\n@hookimpl\ndef offboard_codecs():\n"
        "    yield CodecEntry(name='a', summary='', factory='a:b')\n    raise KeyError('b')",
        "offboard_codecs raised KeyError: 'b'",
    ),
    "yields_something_else": (
        "from offboard_core import hookimpl\n@hookimpl\ndef offboard_codecs():\n    yield 'ee'",
        "offboard_codecs yields 'ee', which is no CodecEntry",
    ),
    "yields_nothing_iterable": (
        "from offboard_core import hookimpl\n@hookimpl\ndef offboard_codecs():\n    return 1",
        "offboard_codecs raised TypeError: 'int' object is not iterable",
    ),
    "yields_a_name_twice": (
        "from offboard_core import CodecEntry, hookimpl\n@hookimpl\ndef offboard_codecs():\n"
        "    yield CodecEntry(name='a', summary='', factory='a:b')\n"
        "    yield CodecEntry(name='a', summary='', factory='c:d')",
        "offboard_codecs yields 'yields_a_name_twice.a' twice",
    ),
    "writes_its_own_prefix": (
        "from offboard_core import CodecEntry, hookimpl\n@hookimpl\ndef offboard_codecs():\n"
        "    yield CodecEntry(name='x.a', summary='', factory='a:b')",
        "offboard_codecs yields the name 'x.a': letters, digits, '-' and '_' only",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_plugin_is_a_row_with_its_cause_and_one_warning(discovered, caplog, name):
    source, cause = BROKEN[name]
    with caplog.at_level(logging.WARNING):
        plugins = discovered(**{name: source})
    found = row(plugins, name)
    assert cause in found.cause
    assert str(found.provider) == f"{name} (dist-{name} 1.0)"
    assert (found.offers[LOADER], found.offers[CODEC], found.offers[REGISTRY]) == ((), (), ())
    (warning,) = caplog.records
    assert name in warning.getMessage()
    assert cause in warning.getMessage()
    assert plugins.get(LOADER, "good").name == "good"


def test_a_broken_plugin_is_an_error_for_whoever_asks_for_it(discovered):
    plugins = discovered(bad="raise RuntimeError('no CUDA')")
    for ask in (
        lambda: plugins.get(LOADER, "bad"),
        lambda: plugins.get(CODEC, "bad.ee"),
        lambda: plugins.get(REGISTRY, "bad.runs"),
    ):
        with pytest.raises(ConfigurationError, match=r"bad \(dist-bad 1\.0\) is broken: RuntimeError: no CUDA"):
            ask()


def test_two_plugins_of_one_name_harm_only_each_other(tmp_path, monkeypatch):
    write_plugin(tmp_path, "good", GOOD.format(name="good"))
    write_plugin(tmp_path, "twin", GOOD.format(name="twin"), dist="dist-one", version="1.5")
    write_plugin(tmp_path, "twin", GOOD.format(name="twin"), dist="dist-two", version="2.5")
    monkeypatch.syspath_prepend(tmp_path)
    plugins = Plugins.discover(entry_points_in(tmp_path))
    assert plugins.get(LOADER, "good").name == "good"
    assert [r.provider.distribution for r in plugins.rows() if r.cause] == ["dist-one", "dist-two"]
    with pytest.raises(ConfigurationError, match=r"twin \(dist-one 1\.5\), twin \(dist-two 2\.5\)"):
        plugins.get(LOADER, "twin")


def test_a_plugin_called_core_does_not_push_core_aside(tmp_path, monkeypatch):
    write_plugin(tmp_path, "core", GOOD.format(name="core"))
    monkeypatch.syspath_prepend(tmp_path)
    plugins = Plugins.discover(entry_points_in(tmp_path))
    assert plugins.get(CODEC, "native").provider.distribution == "offboard-core"
    assert [r.provider.distribution for r in plugins.rows() if r.cause] == ["dist-core"]


@pytest.mark.parametrize(
    ("written", "vendor", "meant"),
    [
        ("@positronic.vendors.arm.codecs.ee", "arm", "arm.ee"),
        ("@positronic.vendors.arm_0_3_3.codecs.ee", "arm", "arm.ee"),
        ("@positronic.vendors.leg.codecs.ee", "arm", "leg.ee"),
        ("@codecs_of.mine.codecs.native", "arm", "core.native"),
    ],
)
def test_a_codec_may_be_written_as_positronic_does(written, vendor, meant):
    plugins = Plugins.of(arm=of(offboard_codecs=[codec("ee")]), leg=of(offboard_codecs=[codec("ee")]))
    assert plugins.get(CODEC, written, vendor).name == meant


@pytest.mark.parametrize("written", ["@codecs.ee", "arm.codecs.ee", "@arm.codecs.ee.more", "@arm.codecs.nothing"])
def test_nothing_else_is_taken_for_a_codec(written):
    with pytest.raises(ConfigurationError, match="there is no codec"):
        Plugins.of(arm=of(offboard_codecs=[codec("ee")])).get(CODEC, written, "arm")


def test_a_codec_is_found_by_full_name_then_at_the_vendor_then_in_core():
    plugins = Plugins.of(
        arm=of(offboard_codecs=[codec("native"), codec("ee")]), leg=of(offboard_codecs=[codec("ee"), codec("leg")])
    )
    assert plugins.get(CODEC, "leg.ee", vendor="arm").name == "leg.ee"
    assert plugins.get(CODEC, "ee", vendor="arm").name == "arm.ee"
    assert plugins.get(CODEC, "native", vendor="arm").name == "arm.native"
    assert plugins.get(CODEC, "native", vendor="leg").name == "core.native"
    assert plugins.get(CODEC, "native").name == "core.native"
    assert plugins.get(CODEC, "leg").name == "leg"
    with pytest.raises(ConfigurationError, match="there is no codec 'ee'"):
        plugins.get(CODEC, "ee")


def test_an_unknown_name_gets_the_nearest_ones():
    plugins = Plugins.of(arm=of(offboard_codecs=[codec("joints"), codec("ee")]))
    text = r"no codec 'jonts'; did you mean arm\.joints\? there are: arm\.ee, arm\.joints"
    with pytest.raises(ConfigurationError, match=text):
        plugins.get(CODEC, "jonts", vendor="arm")
    with pytest.raises(ConfigurationError, match="there is no vendor 'arm'; there are none"):
        plugins.get(LOADER, "arm")


def test_a_registry_is_found_at_its_vendor():
    runs = RegistryEntry(name="runs", summary="Runs.", factory="nowhere:make")
    plugins = Plugins.of(arm=of(offboard_model_registries=[runs]))
    assert plugins.get(REGISTRY, "runs", vendor="arm").entry is runs


def test_files_are_recognised_by_exactly_one_vendor(tmp_path, caplog):
    (tmp_path / "config.json").touch()

    def mine(path):
        return (path / "config.json").exists()

    def fails(path):
        raise OSError("no disk")

    arm = of(offboard_checkpoint_loaders=[loader("arm", recognises=mine)])
    leg = of(offboard_checkpoint_loaders=[loader("leg", recognises=mine)])
    bad = of(offboard_checkpoint_loaders=[loader("bad", recognises=fails)])
    dumb = of(offboard_checkpoint_loaders=[loader("dumb")])
    assert Plugins.of(arm=arm, dumb=dumb, bad=bad).recognise(tmp_path) == "arm"
    assert "bad could not look" in caplog.text
    with pytest.raises(ConfigurationError, match=r"several vendors recognise .*: arm, leg"):
        Plugins.of(arm=arm, leg=leg).recognise(tmp_path)
    with pytest.raises(ConfigurationError, match=r"no installed vendor recognises .*asked: arm, leg"):
        Plugins.of(arm=arm, leg=leg).recognise(tmp_path / "elsewhere")


def boom(options, checkpoint):
    raise ValueError("no such camera")


@pytest.mark.parametrize(
    ("factory", "text"),
    [
        (
            "no_such_module:make",
            "the factory 'no_such_module:make' of the plugin arm cannot be imported: ModuleNotFound",
        ),
        ("json:make", "cannot be imported: ImportError: the module json has no 'make'"),
        ("json", "is not of the form 'module:attr'"),
        (boom, "the factory of the plugin arm failed: ValueError: no such camera"),
        (lambda options, checkpoint: 3, "made a int, which is no Codec"),
    ],
)
def test_a_factory_that_fails_is_named(factory, text):
    offer = Plugins.of(arm=of(offboard_codecs=[codec("ee", factory)])).get(CODEC, "arm.ee")
    with pytest.raises(ConfigurationError, match=text):
        offer.make(None, Checkpoint(id="1"))


def test_a_factory_may_be_a_callable():
    made = Codec()
    offer = Plugins.of(arm=of(offboard_codecs=[codec("ee", lambda options, checkpoint: made)])).get(CODEC, "arm.ee")
    assert offer.make(None, Checkpoint(id="1")) is made


def test_options_that_are_no_dataclass_are_named():
    entry = CodecEntry(name="ee", summary="", factory=boom, options="json:JSONDecoder")
    with pytest.raises(ConfigurationError, match="which is no dataclass"):
        Plugins.of(arm=of(offboard_codecs=[entry])).get(CODEC, "arm.ee").options()


def test_files_that_nobody_recognises_are_named_with_what_is_near(tmp_path):
    (tmp_path / "outputs" / "train" / "cubes").mkdir(parents=True)
    (tmp_path / "outputs" / "train" / "cubes" / "config.json").touch()
    arm = of(offboard_checkpoint_loaders=[loader("arm", recognises=lambda path: (path / "config.json").exists())])
    plugins = Plugins.of(arm=arm)
    for given in ("outputs", "outputs/train", "outputs/train/cubes/config.json"):
        text = f"did you mean {tmp_path / 'outputs' / 'train' / 'cubes'}\\?"
        with pytest.raises(ConfigurationError, match=text):
            plugins.recognise(tmp_path / given)
    with pytest.raises(ConfigurationError, match=r"config\.json, which is a file \(asked: none can tell\).*install"):
        Plugins.of().recognise(tmp_path / "outputs" / "train" / "cubes" / "config.json")
    with pytest.raises(ConfigurationError, match=r"outputs, which holds train \(asked: none can tell\)"):
        Plugins.of().recognise(tmp_path / "outputs")


def test_a_vendor_that_is_not_installed_is_told_from_a_misspelt_one_and_one_that_serves_nothing():
    plugins = Plugins.of(arm=of(offboard_checkpoint_loaders=[loader("arm")]), later=of())
    for name, hint in {
        "lerobot": r"is offboard-lerobot installed in this environment \(`offboard plugins` lists",
        "later": "the plugin later serves nothing yet",
        "amr": r"did you mean arm\? there are: arm$",
        "../x": "there are: arm$",
    }.items():
        with pytest.raises(ConfigurationError, match=hint):
            plugins.get(LOADER, name)


@dataclass(frozen=True, kw_only=True)
class RecorderEntry(Entry[[str], io.IOBase]):
    """What plugins yield for the kind that the next test adds."""


def test_a_new_kind_is_one_row(monkeypatch, capsys):
    recorder = Kind("offboard_recorders", RecorderEntry, "io:IOBase", "recorder", "recorders")
    monkeypatch.setitem(KINDS, recorder.hook, recorder)
    text = RecorderEntry(name="text", summary="Text.", factory="io:StringIO")
    wrong = RecorderEntry(name="wrong", summary="A list.", factory=list)
    plugins = Plugins.of(arm=of(offboard_recorders=[text, wrong]), leg=of(offboard_recorder=[text]))
    assert row(plugins, "arm").offers[recorder] == ("arm.text", "arm.wrong")
    assert [offer.entry for offer in plugins.offers(recorder)] == [text, wrong]
    assert plugins.get(recorder, "text", "arm").make("a tick").getvalue() == "a tick"
    with pytest.raises(ConfigurationError, match="the factory of the plugin arm made a list, which is no IOBase"):
        plugins.get(recorder, "arm.wrong").make("a tick")
    with pytest.raises(ConfigurationError, match=r"there is no recorder 'txt'; did you mean arm\.text\?"):
        plugins.get(recorder, "txt")
    assert "no such hook; did you mean offboard_recorders?" in row(plugins, "leg").cause
    assert main(["plugins", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["plugins"]
    assert [one["recorders"] for one in listed] == [[] for _ in listed]
