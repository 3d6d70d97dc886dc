import json
from dataclasses import fields

from offboard_core.plugins import CODEC, Plugins
from offboard_process import offboard
from plugin_dists import write_plugin
from toy_vendor import TOY


def test_plugins_lists_every_plugin_and_what_is_wrong(tmp_path):
    write_plugin(tmp_path, "toy", TOY)
    write_plugin(tmp_path, "bad", "raise RuntimeError('no CUDA')", version="2.5")
    done = offboard("plugins", "--json", path=tmp_path)
    assert done.returncode == 0
    assert "the plugin bad (dist-bad 2.5) cannot be used: RuntimeError: no CUDA" in done.stderr
    rows = {row["name"]: row for row in json.loads(done.stdout)["plugins"]}
    assert rows.keys() == {"toy", "bad"} | {row.provider.name for row in Plugins.discover().rows()}
    assert rows["toy"] == {
        "name": "toy",
        "distribution": "dist-toy",
        "version": "1.0",
        "vendors": ["toy"],
        "codecs": ["toy.shift"],
        "registries": ["toy.runs"],
        "frontends": [],
        "listeners": [],
        "observers": [],
        "trainers": [],
        "cause": None,
    }
    assert rows["bad"]["cause"] == "RuntimeError: no CUDA"
    table = offboard("plugins", path=tmp_path).stdout
    assert "dist-bad" in table
    assert "RuntimeError: no CUDA" in table


def test_codecs_lists_what_each_reads_makes_and_takes(tmp_path):
    write_plugin(tmp_path, "toy", TOY)
    done = offboard("codecs", "--json", path=tmp_path)
    codecs = {codec["name"]: codec for codec in json.loads(done.stdout)["codecs"]}
    assert codecs.keys() == {"toy.shift"} | {offer.name for offer in Plugins.discover().offers(CODEC)}
    shift = codecs["toy.shift"]
    assert shift["reads"] == {"robot_state.q": {"shape": [2], "unit": "rad", "kind": None}}
    assert shift["makes"] == {"target_joints": {"shape": [2], "unit": "rad", "kind": "absolute_joints"}}
    assert shift["options"] == [
        {"name": "fps", "type": "a number or null", "default": None},
        {"name": "offset", "type": "a number", "default": 0.0},
        {"name": "map", "type": "a map from text to text", "default": {}},
    ]
    assert codecs["core.native"]["reads"] is None, "only a checkpoint can tell"
    assert "toy.shift" in offboard("codecs", path=tmp_path).stdout


def test_every_installed_codec_can_be_listed_without_a_checkpoint_or_says_why():
    for offer in Plugins.discover().offers(CODEC):
        assert offer.entry.summary.endswith("."), offer.name
        assert all(f.init for f in fields(offer.options())), offer.name


def test_lists_have_no_blanks_at_the_ends_of_their_lines():
    for command in ("plugins", "codecs"):
        shown = offboard(command).stdout.splitlines()
        assert shown == [line.rstrip() for line in shown]
