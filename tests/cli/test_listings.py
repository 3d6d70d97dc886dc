import json
from contextlib import closing
from dataclasses import fields

from offboard_client.play import choose_policy, open_policy
from offboard_core.plugins import CODEC, Plugins
from offboard_process import in_process, offboard
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
        "forms": [],
        "environments": [],
        "cause": None,
    }
    assert rows["bad"]["cause"] == "RuntimeError: no CUDA"
    table = in_process("plugins", path=tmp_path).stdout
    assert "dist-bad" in table
    assert "RuntimeError: no CUDA" in table


def test_codecs_lists_what_each_reads_makes_and_takes(tmp_path):
    write_plugin(tmp_path, "toy", TOY)
    done = in_process("codecs", "--json", path=tmp_path)
    codecs = {codec["name"]: codec for codec in json.loads(done.stdout)["codecs"]}
    assert codecs.keys() == {"toy.shift"} | {offer.name for offer in Plugins.discover().offers(CODEC)}
    shift = codecs["toy.shift"]
    assert shift["reads"] == {"robot_state.q": {"shape": [2], "unit": "rad", "kind": None}}
    assert shift["makes"] == {"target_joints": {"shape": [2], "unit": "rad", "kind": "absolute_joints"}}
    assert shift["options"] == [
        {"name": "fps", "type": "a number or null", "default": None, "changeable": False},
        {"name": "offset", "type": "a number", "default": 0.0, "changeable": False},
        {"name": "map", "type": "a map from text to text", "default": {}, "changeable": False},
    ]
    assert codecs["core.native"]["reads"] is None, "only a checkpoint can tell"
    assert "toy.shift" in in_process("codecs", path=tmp_path).stdout


CHANGEABLE = """
    import dataclasses
    from offboard_core import Codec, CodecEntry, CodecMeta, Field, hookimpl
    from offboard_client.plugins import changeable

    @dataclasses.dataclass(frozen=True)
    class Options:
        gain: float = changeable(0.5)
        needed: bool = False

    class Lossy(Codec):
        meta = CodecMeta(
            observation={"robot_state.q": Field(shape=(2,), dtype="float32", unit="rad")},
            action={"target_joints": Field(shape=(2,), unit="rad", kind="absolute_joints")},
            action_fps=12.5, action_horizon_sec=0.5, conventions={"grip": "0 open, 1 closed"})
        def encode(self, observation): return dict(observation)
        def decode(self, chunk, observation): return chunk

    @hookimpl
    def offboard_codecs():
        yield CodecEntry(name="lossy", summary="Loses.", factory=lambda options, checkpoint: Lossy(), options=Options)
"""


def test_one_codec_is_shown_as_its_handshake_says_it_and_with_what_may_change(tmp_path):
    write_plugin(tmp_path, "toy", CHANGEABLE)
    done = in_process("codecs", "toy.lossy", "--json", path=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "name": "toy.lossy",
        "summary": "Loses.",
        "provider": "toy (dist-toy 1.0)",
        "observation": {"robot_state.q": {"shape": [2], "dtype": "float32", "unit": "rad", "required": True}},
        "image_sizes": None,
        "action": {"target_joints": {"shape": [2], "unit": "rad", "kind": "absolute_joints"}},
        "action_fps": 12.5,
        "action_horizon_sec": 0.5,
        "conventions": {"grip": "0 open, 1 closed"},
        "options": [
            {"name": "gain", "type": "a number", "default": 0.5, "changeable": True},
            {"name": "needed", "type": "true or false", "default": False, "changeable": False},
        ],
        "one_way": "Lossy decodes actions and has no inverse (encode_actions)",
    }
    shown = in_process("codecs", "toy.lossy", path=tmp_path).stdout
    gain, needed = (next(line for line in shown.splitlines() if name in line) for name in ("gain", "needed"))
    assert ("yes" in gain, "yes" in needed) == (True, False)
    assert "12.5" in shown
    assert "with others: offboard probe ws://HOST:PORT/api/v1/session?codec.OPTION=VALUE" in shown


def test_the_handshake_carries_what_is_shown_of_its_codec():
    shown = json.loads(in_process("codecs", "scripted", "--json").stdout)
    chosen = choose_policy("local:scripted")
    with closing(open_policy(chosen, chosen.options()(), print)) as session:
        meta = session.metadata
    said = {"observation", "image_sizes", "action", "action_fps", "conventions"}
    assert {name: meta[name] for name in said} == {name: shown[name] for name in said}


def test_a_codec_that_there_is_not_is_told_with_those_that_there_are():
    done = in_process("codecs", "lerobt.ee")
    assert done.returncode == 1
    assert "there is no codec 'lerobt.ee'" in done.stderr


def test_what_only_a_checkpoint_can_tell_is_said_to_be_so():
    assert in_process("codecs", "core.native").stdout.count("what the checkpoint says") == 2


BROKEN = "raise RuntimeError('no driver')"


def test_robots_are_listed_and_a_broken_one_says_why(tmp_path):
    write_plugin(tmp_path, "arm", BROKEN, group="offboard.robots", attr="it")
    done = in_process("robots", "--json", path=tmp_path)
    assert done.returncode == 0
    rows = {row["name"]: row for row in json.loads(done.stdout)["robots"]}
    assert rows["arm"] == {
        "name": "arm", "part": None, "summary": None, "provider": "dist-arm 1.0", "cause": "RuntimeError: no driver"
    }  # fmt: skip
    assert rows["sim"]["cause"] is None
    assert "RuntimeError: no driver" in in_process("robots", path=tmp_path).stdout
    done = in_process("robots", "arm", path=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "RuntimeError: no driver" in done.stderr


def test_every_installed_codec_can_be_listed_without_a_checkpoint_or_says_why():
    for offer in Plugins.discover().offers(CODEC):
        assert offer.entry.summary.endswith("."), offer.name
        assert all(f.init for f in fields(offer.options())), offer.name


def test_lists_have_no_blanks_at_the_ends_of_their_lines():
    for command in (["plugins"], ["codecs"], ["robots"], ["robots", "sim"]):
        shown = in_process(*command).stdout.splitlines()
        assert shown == [line.rstrip() for line in shown]
