"""An adapter of another policy's weights (LoRA) is served with its base, as LeRobot loads both; or refused by name."""

import importlib.util
import json
import re
import shutil

import numpy as np
import pytest
from lerobot_checkpoints import (
    kinds,
    model_inputs,
    save_adapter,
    save_policy,
    spread,
    write_files,
    write_safetensors,
)
from lerobot_loop import played
from object_store import upload
from offboard_client.errors import ConfigurationError, LoadFailed
from offboard_core.catalog import from_flags
from offboard_core.checkpoints import LocalPlace
from offboard_core.plugins import Plugins
from offboard_core.types import NO_CONTEXT
from offboard_lerobot import verdict
from offboard_lerobot.adapters import FIELDS
from offboard_lerobot.files import read
from offboard_lerobot.loader import LeRobotLoader, LeRobotOptions
from offboard_lerobot.registry import LeRobotRegistry, recognises
from offboard_lerobot.versions import installed, releases

OLD, NEW = releases()
KINDS = [kind for kind in ("act", "diffusion", "pi0", "pi05", "smolvla") if kind in kinds()]
applied = pytest.mark.skipif(
    installed() is OLD or importlib.util.find_spec("peft") is None, reason="LeRobot 0.6 applies adapters, with PEFT"
)


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def base(kind, lerobot, tmp_path_factory):
    return save_policy(tmp_path_factory.mktemp(kind) / "base", kind, 4)


@pytest.fixture(scope="module")
def adapter(kind, base):
    return save_adapter(base.with_name("adapter"), base, kind, 5)


def load(folder):
    [checkpoint] = LeRobotRegistry(str(folder)).checkpoints()
    return LeRobotLoader(LeRobotOptions(device="cpu")).load(checkpoint, lambda _: None)


def answers(folder, kind):
    import torch

    policy = load(folder)
    try:
        session = policy.new_session(policy.params())
        chunks = []
        for number in (1, 2, 3):
            torch.manual_seed(number)
            chunks.append(session.infer({**model_inputs(number, kind), "task": "stack"}, NO_CONTEXT).action)
        return chunks
    finally:
        policy.close()


def expected(folder, kind):
    """What LeRobot plays of it, loaded as ``lerobot-rollout`` loads it.

    As lerobot/rollout/context.py has it, which cannot be imported without what records data sets.
    """
    from lerobot.configs.policies import PreTrainedConfig
    from lerobot.policies.factory import get_policy_class
    from peft import PeftConfig, PeftModel

    config = PreTrainedConfig.from_pretrained(folder)
    said = PeftConfig.from_pretrained(folder)
    policy = get_policy_class(kind).from_pretrained(said.base_model_name_or_path, config=config, revision=said.revision)
    return played(PeftModel.from_pretrained(policy, folder, config=said), folder, kind, (1, 2, 3))


@applied
def test_it_answers_what_lerobot_plays(adapter, base, kind):
    wanted = expected(adapter, kind)
    got = answers(adapter, kind)
    np.testing.assert_array_equal([chunk[: len(wanted[0])] for chunk in got], wanted)
    assert not np.allclose(got, answers(base, kind)), "the base alone answers something else"


#: What training may say of an adapter → of ACT, that is like nothing else.
WAYS = {
    "DoRA": {"use_dora": True, "lora_dropout": 0.2},
    "ranks of their own": {"rank_pattern": {"linear1": 2}, "alpha_pattern": {"linear2": 3}, "use_rslora": True},
    "layers that are trained whole": {"modules_to_save": ["action_head"], "bias": "lora_only"},
    "some layers": {"target_modules": ["linear1"], "exclude_modules": ["linear2"], "init_lora_weights": "gaussian"},
}


@pytest.fixture(scope="module")
def act_base(lerobot, tmp_path_factory):
    return save_policy(tmp_path_factory.mktemp("bases") / "base", "act", 6)


@applied
@pytest.mark.parametrize("way", WAYS)
def test_whatever_a_training_says_of_it_is_done(act_base, tmp_path, way):
    folder = save_adapter(tmp_path / "adapter", act_base, "act", 7, **WAYS[way])
    np.testing.assert_array_equal(answers(folder, "act"), expected(folder, "act"))


def say(folder, name="adapter_config.json", **said):
    content = json.loads((folder / name).read_text())
    (folder / name).write_text(json.dumps(content | said))


@applied
def test_the_base_may_be_in_several_files_or_in_the_hubs_cache(act_base, tmp_path, monkeypatch):
    folder = save_adapter(tmp_path / "adapter", act_base, "act", 7)
    before = answers(folder, "act")
    several = spread(shutil.copytree(act_base, tmp_path / "several"))
    say(folder, base_model_name_or_path=str(several))
    np.testing.assert_array_equal(answers(folder, "act"), before)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    kept = tmp_path / "hub" / "models--org--base"
    (kept / "refs").mkdir(parents=True)
    (kept / "refs" / "v1").write_text("a1")
    shutil.copytree(act_base, kept / "snapshots" / "a1")
    say(folder, base_model_name_or_path="org/base", revision="v1")
    np.testing.assert_array_equal(answers(folder, "act"), before)
    say(folder, revision="a1")
    np.testing.assert_array_equal(answers(folder, "act"), before)
    say(folder, revision=None)
    with pytest.raises(LoadFailed, match=r"'org/base' as its base .*not on this machine at revision 'main'"):
        load(folder)


@applied
@pytest.mark.parametrize("when", ["reading the weights", "warming"])
def test_a_base_that_is_written_to_while_it_is_loaded_is_not_served(act_base, tmp_path, when):
    several = spread(shutil.copytree(act_base, tmp_path / "several"))
    folder = save_adapter(tmp_path / "adapter", act_base, "act", 7)
    say(folder, base_model_name_or_path=str(several))
    [checkpoint] = LeRobotRegistry(str(folder)).checkpoints()
    written = []

    def report(said):
        if said.startswith(when):
            written.append(min(several.glob("*.safetensors")))
            whole = written[0].read_bytes()
            written[0].unlink()
            written[0].write_bytes(whole)

    with pytest.raises(LoadFailed, match=f"^{several} was written to while it was loaded") as raised:
        LeRobotLoader(LeRobotOptions(device="cpu")).load(checkpoint, report)
    assert (len(written), raised.value.permanent) == (1, False)


@applied
@pytest.mark.filterwarnings("ignore:Found missing adapter keys")
@pytest.mark.parametrize("more", [True, False])
def test_an_adapter_that_is_not_whole_is_no_adapter(act_base, tmp_path, more):
    from safetensors.torch import load_file, save_file

    folder = save_adapter(tmp_path / "adapter", act_base, "act", 7)
    tensors = load_file(folder / "adapter_model.safetensors")
    name = next(name for name in tensors if "lora_A" in name)
    if more:
        tensors["base_model.model.more"] = tensors[name].clone()
    else:
        del tensors[name], tensors[name.replace("lora_A", "lora_B")]
    save_file(tensors, folder / "adapter_model.safetensors")
    lacks = "nothing" if more else f".*{name}.*"
    with pytest.raises(LoadFailed, match=f"does not fit its policy: it lacks {lacks}, and has"):
        load(folder)


@applied
def test_it_is_fetched_from_a_store_with_its_base_here(act_base, bucket, tmp_path, monkeypatch):
    folder = save_adapter(tmp_path / "adapter", act_base, "act", 7)
    upload(folder, bucket)
    with pytest.raises(LoadFailed, match="is a folder of the machine that trained it"):
        loaded(bucket)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    kept = tmp_path / "hub" / "models--org--base"
    (kept / "refs").mkdir(parents=True)
    (kept / "refs" / "main").write_text("a1")
    shutil.copytree(act_base, kept / "snapshots" / "a1")
    say(folder, base_model_name_or_path="org/base")
    upload(folder, bucket)
    np.testing.assert_array_equal(loaded(bucket), answers(folder, "act")[0])


def loaded(url):
    source = from_flags(Plugins.discover(), vendor="lerobot", checkpoints_dir=url, loader_options={"device": "cpu"})
    policy = source.loader.load(source.default(), lambda _: None)
    try:
        return policy.new_session(policy.params()).infer({**model_inputs(1), "task": "stack"}, NO_CONTEXT).action
    finally:
        policy.close()


PATH = "base_model.model.model.encoder.linear1"


@pytest.fixture
def planted(tmp_path):
    """Files alone: a base with one weight (6, 8), and an adapter of rank 4 for it."""
    base = write_files(tmp_path / "base")
    write_safetensors(base / "model.safetensors", **{"model.encoder.linear1.weight": np.zeros((6, 8))})
    folder = write_files(tmp_path / "adapter", use_peft=True)
    (folder / "model.safetensors").unlink()
    said = {"peft_type": "LORA", "base_model_name_or_path": str(base), "r": 4, "target_modules": ["linear1"]}
    (folder / "adapter_config.json").write_text(json.dumps(said))
    write_adapter(folder, (4, 8), (6, 4))
    return folder


def write_adapter(folder, a, b):
    tensors = {f"{PATH}.lora_A.weight": np.zeros(a), f"{PATH}.lora_B.weight": np.zeros(b)}
    write_safetensors(folder / "adapter_model.safetensors", **tensors)


def given(folder, release=NEW):
    return verdict.given(read(LocalPlace(folder)), release, release.name)


def test_it_is_listed_and_a_load_reads_it_and_no_weights_of_its_own(planted):
    assert recognises(planted)
    [checkpoint] = LeRobotRegistry(str(planted)).checkpoints()
    assert checkpoint.type == "act"
    names = given(planted).names
    assert {"adapter_config.json", "adapter_model.safetensors"} < names
    assert "model.safetensors" not in names
    assert LeRobotLoader(LeRobotOptions()).environment(checkpoint) == "lerobot-0.6"


def test_the_release_that_is_not_asked_to_apply_it_says_which_is(planted):
    with pytest.raises(LoadFailed, match=r"says use_peft \(True\) in config\.json: an adapter changes .*lerobot-0\.6"):
        given(planted, OLD)


def one_that_is_itself_an_adapter(planted):
    say(planted.with_name("base"), "config.json", use_peft=True)


REFUSED = {
    "no base on this machine": (
        lambda m: say(m, base_model_name_or_path="org/base"),
        r"names 'org/base' as its base .*, which is not on this machine.*: hf download org/base$",
    ),
    "no base at all": (
        lambda m: shutil.rmtree(m.with_name("base")),
        r"base' as its base \(base_model_name_or_path in adapter_config\.json\), which is no folder of this machine",
    ),
    "a base that is half there": (
        lambda m: (m.with_name("base") / "model.safetensors").unlink(),
        r"which is no complete checkpoint \(.*/base\): model\.safetensors is missing",
    ),
    "a base of another type": (
        lambda m: say(m.with_name("base"), "config.json", type="vqbet"),
        "which holds a 'vqbet' policy: the adapter is for one of the type 'act'$",
    ),
    "an adapter of an adapter": (one_that_is_itself_an_adapter, "which is an adapter itself: merge that one into its"),
    "another rank": (
        lambda m: say(m, r=8),
        r"it does not fit: .*lora_A\.weight \[4, 8\] and its lora_B \[6, 4\], where .* says rank 8$",
    ),
    "two ranks": (lambda m: write_adapter(m, (4, 8), (6, 2)), r"lora_B \[6, 2\], where .* says rank 4"),
    "half of it": (
        lambda m: write_safetensors(m / "adapter_model.safetensors", **{f"{PATH}.lora_A.weight": np.zeros((4, 8))}),
        r"\[4, 8\] and its lora_B \[\], where",
    ),
    "another width": (
        lambda m: write_adapter(m, (4, 9), (6, 4)),
        r"lora_A\.weight and its lora_B for a weight \[6, 9\], and there it is \[6, 8\]$",
    ),
    "a rank that nothing has": (
        lambda m: say(m, rank_pattern={"action_head": 200_000_000}),
        r"does not fit: adapter_config\.json says rank 200000000, and the highest in adapter_model\.safetensors is 4$",
    ),
    "a base whose name is no name": (
        lambda m: say(m, base_model_name_or_path="a" * 5000),
        r"names 'a+ as its base \(base_model_name_or_path in adapter_config\.json\), which is no name$",
    ),
    "an end of the name within it": (
        lambda m: say(m, base_model_name_or_path="x\0y"),
        "as its base .*, which is no name",
    ),
    "another kind of adapter": (
        lambda m: say(m, peft_type="IA3"),
        r"says peft_type \('IA3'\) .*Merge it into the base",
    ),
    "a base that training changed": (lambda m: say(m, init_lora_weights="pissa"), r"init_lora_weights \('pissa'\) in"),
    "code of the checkpoint": (
        lambda m: say(m, megatron_config={"x": 1}, megatron_core="os"),
        r"says megatron_config \(\{'x': 1\}\) in adapter_config\.json: that is not honoured here",
    ),
    "what nobody knows": (
        lambda m: say(m, invented=1),
        r"invented \(1\) in adapter_config\.json: that is not honoured",
    ),
}


NO_VALUE = {
    "r": ["4", 4.0, 0, -1, True, None, [4], {"a": 4}],
    "rank_pattern": [["x"], "abc", 5, {"linear1": "4"}, {"linear1": [4]}, {"(": 4}, {"(a+)+X": 4}],
    "lora_alpha": [0, -8, float("nan"), float("inf"), None, "8"],
    "alpha_pattern": [[], "abc", {"linear1": float("nan")}, {"linear1": "x"}],
    "target_modules": [
        None, [], "", 5, {"a": 1}, [1], ["a b"], "(", "(([a-z0-9_.])+)+X", ".*.*.*.*X", "(?=a)b", r"(a)\1",
        "a{9}", "a" * 2000, "(.*.*|b)(.*|.*).*X", "(.|.)" * 40, ".?" * 40, "(.*.*|.*.*)" * 2,
    ],
    "exclude_modules": [5, "(a*)*b", ["(a+)+"]],
    "modules_to_save": ["action_head", 5, ["(a+)+"]],
    "layers_pattern": [5, "(a+)+$", ["a|b"]],
    "layers_to_transform": ["1", 1.5, ["x"]],
    "bias": ["x", None, ["all"]],
    "use_rslora": ["false", 1],
    "use_dora": ["false", 0],
    "lora_bias": ["false", 0],
    "fan_in_fan_out": ["false"],
    "init_lora_weights": [1, 0, float("nan"), ["eva"], "pissa"],
}  # fmt: skip


@pytest.mark.parametrize("field", NO_VALUE)
def test_a_field_that_peft_would_stumble_at_or_wait_for_is_named(planted, field):
    for value in NO_VALUE[field]:
        say(planted, **{field: value})
        with pytest.raises(
            LoadFailed, match=rf"says {field} \({re.escape(repr(value)[:40])}.* in adapter_config\.json"
        ):
            given(planted)


def test_what_lerobot_and_its_users_write_is_taken(planted):
    projections = "state_proj|action_in_proj|action_out_proj|action_time_mlp_in|action_time_mlp_out"
    leaves, experts = (
        "w1|w2|attn_out",
        r"time_embed\.(1|3)|blocks\.\d+\.self_attn\.(qkv|out_proj)|blocks\.\d+\.mlp\.up_proj",
    )
    for text in (
        rf"(model\.vlm_with_expert\.lm_expert\..*\.(q|v)_proj|model\.({projections}))",
        rf"(.*\.gemma_expert\..*\.self_attn\.(q|v)_proj|model\.({projections}))",
        rf"(model\.(transformer|vision_backbone)\.(?:.*\.)?({leaves})$|model\.action_expert\.({experts})$)",
        r".*\.encoder\..*\.linear1|.*\.decoder\..*\.linear1",
        ".*q_proj|.*k_proj|.*v_proj|.*o_proj",
        r"(?:.*\.layers\..*\.(q|k|v|o)_proj|.*\.(down|up)_proj|.*\.mlp(\.\d+)?\.linear[12])$",
        "all-linear",
        r".*?\.[^.]*linear[12]",
    ):
        say(planted, target_modules=text)
        assert given(planted).adapter.options["target_modules"] == text
    say(planted, rank_pattern={"^linear1": 4}, alpha_pattern={"model.linear1": 2.5}, layers_to_transform=[0, 1])
    say(planted, exclude_modules=["linear2"], modules_to_save=[], layers_pattern="layers", bias="all")
    assert given(planted).adapter.options["r"] == 4


@pytest.mark.parametrize("why", REFUSED)
def test_what_cannot_be_applied_is_named_before_anything_is_loaded(planted, why):
    given(planted)
    harm, text = REFUSED[why]
    harm(planted)
    with pytest.raises(LoadFailed, match=text) as raised:
        given(planted)
    assert raised.value.text.startswith(str(planted))


def pickled(planted):
    (planted / "adapter_model.safetensors").rename(planted / "adapter_model.bin")


NO_ADAPTER = {
    "a pickle": (pickled, r"cannot be served: its adapter is a pickle \(adapter_model\.bin\), which may run code"),
    "no weights": (lambda m: (m / "adapter_model.safetensors").unlink(), r"adapter_model\.safetensors is missing"),
    "no config": (lambda m: (m / "adapter_config.json").unlink(), r"adapter_config\.json is missing"),
    "no base": (
        lambda m: say(m, base_model_name_or_path=None),
        r"cannot be served: adapter_config\.json does not say which policy it changes \(base_model.*: None\)",
    ),
    "weights cut short": (
        lambda m: (m / "adapter_model.safetensors").write_bytes(b"\x02"),
        r"adapter_model\.safetensors ends within its header",
    ),
}


@pytest.mark.parametrize("why", NO_ADAPTER)
def test_what_is_no_whole_adapter_is_refused_by_name(planted, why):
    harm, text = NO_ADAPTER[why]
    harm(planted)
    with pytest.raises(ConfigurationError, match=text):
        LeRobotRegistry(str(planted)).checkpoints()


#: Field that PEFT is told → what may stand there.
SAID = {
    "peft_type": "LORA", "r": 4, "lora_alpha": 16, "target_modules": ["linear1"], "exclude_modules": ["linear2"],
    "fan_in_fan_out": False, "bias": "all", "use_rslora": True, "use_dora": True, "lora_bias": True,
    "modules_to_save": ["action_head"], "layers_to_transform": [0], "layers_pattern": "layers",
    "rank_pattern": {"linear1": 4}, "alpha_pattern": {"linear1": 2.5}, "init_lora_weights": "gaussian",
}  # fmt: skip


@pytest.mark.parametrize("field", FIELDS)
def test_a_field_is_dealt_with_as_its_word_says(planted, field):
    word = FIELDS[field]
    value = str(planted.with_name("base")) if word == "hub" else SAID[field] if word == "needed" else "whatever"
    say(planted, **{field: value})
    adapter = given(planted).adapter
    assert adapter.options.get(field) == (value if word == "needed" else None)
    assert (value in (adapter.base, adapter.revision)) == (word == "hub")


def test_what_training_alone_says_is_left_out(planted):
    say(planted, peft_version="9", auto_mapping={"parent_library": "os"}, lora_dropout=0.5, megatron_core="os")
    say(planted, task_type=None, loftq_config={}, layer_replication=None, use_qalora=False)
    adapter = given(planted).adapter
    assert adapter.options == {"peft_type": "LORA", "r": 4, "target_modules": ["linear1"]}


def test_merged_weights_are_served_as_they_are(planted):
    """A policy that was merged says so, whatever else was left in its folder."""
    say(planted, "config.json", use_peft=False)
    write_safetensors(planted / "model.safetensors", weight=[1.0])
    files = read(LocalPlace(planted))
    assert files.adapter is None
    assert "adapter_model.safetensors" not in files.names


@applied
def test_every_field_of_peft_is_known_or_asks_for_nothing():
    from dataclasses import fields

    from offboard_lerobot.adapters import _refused
    from peft import LoraConfig

    said = json.loads(json.dumps(LoraConfig(target_modules=["a"]).to_dict(), default=list))
    assert {*FIELDS} <= {field.name for field in fields(LoraConfig)}
    assert [*_refused(said)] == []
