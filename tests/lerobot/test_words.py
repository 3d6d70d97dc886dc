"""Every field, type and step that a LeRobot checkpoint can have: one is planted for each, and its word is obeyed."""

import importlib.util
import json
import re
import struct
from dataclasses import fields
from importlib.metadata import metadata, version
from importlib.resources import files as resources
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pytest
from lerobot_checkpoints import INPUTS, OUTPUTS
from offboard_client.errors import LoadFailed
from offboard_core.checkpoints import Incomplete
from offboard_core.types import Checkpoint
from offboard_lerobot import extras, rules, step_values, steps, verdict, words
from offboard_lerobot.features import POSTPROCESSOR, PREPROCESSOR
from offboard_lerobot.files import read
from offboard_lerobot.loader import LeRobotLoader, LeRobotOptions
from offboard_lerobot.versions import installed, releases

OLD, NEW = releases()
NAMED = words.NAMED
ROOT = Path(__file__).resolve().parents[2]
EMPTY = struct.pack("<Q", 2) + b"{}"


class Planted:
    """A checkpoint's files, in memory."""

    is_local: ClassVar[bool] = True
    location = "/runs/planted"

    def __init__(self, files):
        self.files = {name: v if isinstance(v, bytes) else json.dumps(v).encode() for name, v in files.items()}

    def size(self, name):
        return len(self.files[name]) if name in self.files else None

    def read(self, name, start, end):
        return self.files[name][start:end]

    def above(self):
        return None


def described(of):
    return {name: {"type": kind, "shape": list(shape)} for name, (kind, shape) in of.items()}


def plant(release, kind, before=(), after=(), **config):
    """A checkpoint of this type, as this release writes it, without what it would name on the Hub."""
    defaults = {n: v for n, v in release.types[kind].items() if words.word_of(kind, n) != "hub"}
    if kind == "molmoact2":
        defaults["inference_action_mode"] = "continuous"  # which it leaves to whoever asks
    defaults |= {"type": kind, "input_features": described(INPUTS), "output_features": described(OUTPUTS)}
    return read(
        Planted(
            {
                "config.json": defaults | config,
                "model.safetensors": EMPTY,
                PREPROCESSOR: {"steps": [{"registry_name": name, "config": of} for name, of in before]},
                POSTPROCESSOR: {"steps": [{"registry_name": name, "config": of} for name, of in after]},
                "adapter_config.json": {"peft_type": "LORA", "base_model_name_or_path": "org/base"},
                "adapter_model.safetensors": EMPTY,
            }
        )
    )


@pytest.fixture(autouse=True)
def cached(monkeypatch):
    """What LeRobot itself names counts as here, unless a test says that it is not. What fits what has its own tests."""
    monkeypatch.setattr(verdict, "NAMED", {})
    monkeypatch.setattr(rules, "refused", lambda files: ())


def given(files, release):
    return verdict.given(files, release, release.name)


def other_than(value):
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value + 1
    return {str: f"{value}_x", list: ["x"], dict: {"x": 1}}.get(type(value), 0.5)


def where(listed):
    """In which releases and types a listed field has this word."""
    kind, _, field = listed.rpartition(".")
    found = []
    for release in releases():
        for each in [kind] if kind else release.served:
            if field in release.types.get(each, ()) and (kind or f"{each}.{field}" not in words.listed()):
                found.append((release, each, field))
    return found


PAIR = {
    "before": [("relative_actions_processor", {"enabled": True})],
    "after": [("absolute_actions_processor", {"enabled": True})],
}


def special(release, kind, field, value):
    """What else a checkpoint has to say for this value to make sense, and the value."""
    if field == "n_action_steps" and "chunk_size" in release.types[kind]:
        return value, {"chunk_size": value}
    if (kind, field) == ("pi0_fast", "chunk_size"):
        return value, {"n_action_steps": value}
    if field == "rtc_config":
        return {"enabled": True}, {}
    if field == "use_relative_actions":
        return value, PAIR
    if field in ("joint_signs", "joint_offsets"):
        value = [0.5]
        named = [(f"molmoact2_{of}_frame_transform", {field: value}) for of in ("state", "action")]
        return value, {"before": named[:1], "after": named[1:]}
    return ({"STATE": "MEAN_STD"} if field == "normalization_mapping" else value), {}


@pytest.mark.parametrize("listed", [n for n, word in words.listed().items() if word not in ("described", "refused")])
def test_a_field_is_dealt_with_as_its_word_says(listed, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    word = words.listed()[listed]
    assert where(listed), "no release has such a field"
    for release, kind, field in where(listed):
        value, more = special(release, kind, field, other_than(release.types[kind][field]))
        if word == "hub":
            value = "org/tokenizer"
            with pytest.raises(LoadFailed, match=rf"{field} \('org/tokenizer'\).* hf download org/tokenizer"):
                given(plant(release, kind, **{field: value}), release)
            cached = tmp_path / "models--org--tokenizer" / "snapshots" / "a1"
            cached.mkdir(parents=True, exist_ok=True)
        files = plant(release, kind, **{**more, field: value})
        got = given(files, release).config[field]
        if word == "hub":
            cached.rmdir()
        if word == "replaced":
            assert got == (files.location if field == "pretrained_path" else words.REPLACED[field])
        else:
            assert got == value
        assert (files.checkpoint("m", "e").extras.get(field) == value) == (word == "announced")


@pytest.mark.parametrize("listed", words.REFUSED)
def test_a_field_that_is_not_honoured_says_what_to_do(listed):
    refusal = words.REFUSED[listed]
    assert where(listed), "no release has such a field"
    for release, kind, field in where(listed):
        for neutral in refusal.neutral:
            assert given(plant(release, kind, **{field: neutral}), release).config[field] == neutral
        if release.name == refusal.unless:
            continue
        value = other_than(refusal.neutral[0])
        with pytest.raises(LoadFailed) as raised:
            given(plant(release, kind, **{field: value}), release)
        assert (
            f"/runs/planted says {field} ({value!r}) in config.json: {refusal.why}. {refusal.do}" in raised.value.text
        )


GUIDED = [(release, kind) for release in releases() for kind in release.served if "rtc_config" in release.types[kind]]


@pytest.mark.parametrize(("release", "kind"), GUIDED, ids=lambda each: getattr(each, "name", each))
def test_what_an_rtc_config_says_is_dealt_with_by_its_field(release, kind):
    assert words.GUIDANCE.keys() == release.rtc_config.keys()
    whole = {**release.rtc_config, "later": None}
    assert given(plant(release, kind, rtc_config=whole), release).config["rtc_config"] == release.rtc_config
    wrong = {
        "debug": (1, "true or false is"),
        "debug_maxlen": (0, "a number from 1 on is"),
        "enabled": ("yes", "true or false is"),
        "execution_horizon": (0, "a whole number from 1 to 16,384 is"),
        "max_guidance_weight": (0.0, "a number above 0, of at most 1000, is"),
        "prefix_attention_schedule": ("SLOW", "ZEROS, ONES, LINEAR or EXP is"),
    }
    for name in release.rtc_config:
        value, expected = wrong[name]
        text = f"{name} ({value!r}) in rtc_config in config.json, where {expected} expected"
        with pytest.raises(LoadFailed, match=re.escape(text)):
            given(plant(release, kind, rtc_config={name: value}), release)
    with pytest.raises(LoadFailed, match=r"does not know the field 'later' of rtc_config in config\.json \(1\)"):
        given(plant(release, kind, rtc_config={"later": 1}), release)


def only_one_has():
    """Fields of a type that one release knows and another, which has the type, does not."""
    for release, other in ((OLD, NEW), (NEW, OLD)):
        for kind in sorted({*release.served} & {*other.served}):
            for field in sorted(release.types[kind].keys() - other.types[kind].keys()):
                yield pytest.param(release, other, kind, field, id=f"{release.name}-{kind}-{field}")


@pytest.mark.parametrize(("release", "other", "kind", "field"), [*only_one_has()])
def test_what_another_release_lacks_is_left_out_where_it_asks_for_nothing(release, other, kind, field):
    def asks(value):
        return plant(other, kind, **{field: value})

    if words.word_of(kind, field) == "training":
        assert field not in given(asks(other_than(release.types[kind][field])), other).config
        return
    neutral = words.AS_BEFORE.get(field)
    off = {"use_relative_actions": False} if field in words.OF_ANOTHER else {}
    value = ["gripper"] if off else neutral
    assert field not in given(plant(other, kind, **off, **{field: value}), other).config
    value = other_than(neutral) if not off else ["gripper"]
    on = {"use_relative_actions": True} if off else {}
    with pytest.raises(LoadFailed, match=rf"does not know .*the field '{field}' of config\.json"):
        given(plant(other, kind, **on, **{field: value}), other)


@pytest.mark.parametrize("kind", sorted({*OLD.types, *NEW.types}))
def test_every_type_is_served_by_the_releases_that_have_it(kind):
    for release in releases():
        if kind in release.served:
            assert given(plant(release, kind), release).type == kind
        else:
            writer = next(each for each in releases() if kind in each.types)
            why = f", which {words.NO_POLICIES[kind]}" if kind in words.NO_POLICIES else ""
            with pytest.raises(
                LoadFailed, match=f"holds a '{kind}' policy{why}; these LeRobot policies are served: act"
            ):
                given(plant(writer, kind), release)


OF_ALL_KINDS = ({}, 1, True, [], [8, 8], "x", "longest", "left", "float32")


def options_of(name, option):
    """A value that the option of this step may have."""
    if option in steps.FORGOTTEN.get(name, ()):
        return steps.FORGOTTEN[name][option][1]
    if (field := steps.AGREED.get(name, {}).get(option)) in OLD.types["act"]:
        return OLD.types["act"][field]
    if option in steps.HUB or option == "video_modality_keys":
        return None
    if option == "embodiment_mapping":
        return {"x": 1}
    if option in step_values.KINDS and option not in steps.ONLY:
        can_be = step_values.KINDS[option][0]
        return next(value for value in OF_ALL_KINDS if can_be(value))
    return steps.ONLY.get(option, "x")


@pytest.mark.parametrize("name", sorted({*OLD.steps, *NEW.steps}))
def test_a_step_is_dealt_with_as_its_word_says(name, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    word = steps.word_of(name)
    for release in releases():
        if word == "run" and name in release.steps:
            options = {option: options_of(name, option) for option in sorted(steps.RUN[name])}
            if name == "absolute_actions_processor":
                files, file = plant(release, "act", PAIR["before"], [(name, options)]), POSTPROCESSOR
            else:
                after = PAIR["after"] if name == "relative_actions_processor" else ()
                files, file = plant(release, "act", [(name, options)], after), PREPROCESSOR
            [run] = given(files, release).steps[file]
            assert (run["registry_name"], run["config"]) == (name, options)
            assert steps.RUN[name] <= {*release.steps[name]}
            with pytest.raises(LoadFailed, match=f"the option 'invented' of the step '{name}' of {PREPROCESSOR}"):
                given(plant(release, "act", [(name, {"invented": 1})]), release)
        elif word == "left out":
            files = plant(release, "act", [(name, {"trust_remote_code": True, "invented": 1})])
            assert given(files, release).steps[PREPROCESSOR] == []
        else:
            files = plant(release, "act", [(name, {})])
            if word == "refused":
                refusal = steps.NOT_RUN[name]
                text = f"the step '{name}' in {PREPROCESSOR}, which is not run here: {refusal.why}. {refusal.do}"
            else:
                text = f"does not know the step '{name}' of {PREPROCESSOR} (here are run"
            with pytest.raises(LoadFailed, match=re.escape(text)):
                given(files, release)


@pytest.mark.parametrize("listed", [name for name, word in words.listed().items() if word == "hub"])
def test_an_empty_name_is_refused_where_lerobot_has_one(listed):
    for release, kind, field in where(listed):
        usual, files = release.types[kind][field], plant(release, kind, **{field: ""})
        if usual is None:
            given(files, release)
            continue
        text = f"{field} ('') in config.json, where a name is expected, such as {usual}"
        with pytest.raises(LoadFailed, match=re.escape(text)):
            given(files, release)


@pytest.mark.parametrize("option", sorted(steps.HUB))
def test_a_step_names_what_is_here_or_is_refused(option, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    name = next(name for name, options in steps.RUN.items() if option in options)
    release = NEW if name in NEW.steps else OLD
    for value, text in (
        ("org/tokenizer", "is not on this machine, and nothing is fetched at a load"),
        ("../x", "is a path from where it was trained"),
        (".", "is a folder of .*, where this runs"),
        ("..", "is a folder of .*, where this runs"),
        ("here", "is a folder of .*, where this runs"),
        ("/nowhere", "is no folder of this machine"),
        (str(tmp_path), "is a folder without a model or a tokenizer"),
        (3, "is no name"),
    ):
        said = re.escape(f"{option} ({value!r:.80}) in the step {name!r} of")
        with pytest.raises(LoadFailed, match=rf"{said} .*, which {text}"):
            given(plant(release, "act", [(name, {option: value})]), release)
    (tmp_path / "tokenizer.json").touch()
    given(plant(release, "act", [(name, {option: str(tmp_path)})]), release)


@pytest.mark.parametrize("kind", NAMED)
def test_what_lerobot_itself_names_is_here_or_refused(kind, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(verdict, "NAMED", NAMED)
    for name in NAMED[kind]:
        with pytest.raises(LoadFailed, match=f"LeRobot reads {name}, which is not on this machine"):
            given(plant(NEW, kind), NEW)
        (tmp_path / f"models--{name.replace('/', '--')}" / "snapshots" / "a1").mkdir(parents=True)
    given(plant(NEW, kind), NEW)


@pytest.mark.parametrize("option", steps.ONLY)
def test_an_option_that_has_one_value_here_is_refused_at_others(option):
    name = next(name for name, options in steps.RUN.items() if option in options)
    with pytest.raises(LoadFailed, match=rf"{option} \('x'\) in the step '{name}' of .* is the only one"):
        given(plant(NEW, "act", [(name, {option: "x"})]), NEW)


@pytest.mark.parametrize("name", steps.FORGOTTEN)
def test_what_lerobot_does_not_save_of_a_step_is_as_its_config_says(name):
    for option, (field, default) in steps.FORGOTTEN[name].items():
        [kind] = [kind for kind in NEW.served if field in NEW.types[kind] and name.startswith(kind)]
        assert NEW.types[kind][field] == default
        given(plant(NEW, kind, after=[(name, {})]), NEW)
        given(plant(NEW, kind, after=[(name, {option: default + 1})], **{field: default + 1}), NEW)
        for options, said in (({}, default + 1), ({option: default + 1}, default)):
            with pytest.raises(
                LoadFailed, match=rf"{field} \({said}\) in config.json, and the step '{name}' .*Write {option}"
            ):
                given(plant(NEW, kind, after=[(name, options)], **{field: said}), NEW)


@pytest.mark.parametrize("half", ["before", "after"])
def test_relative_actions_that_stay_so_are_refused(half):
    with pytest.raises(LoadFailed, match="must both be enabled, or neither"):
        given(plant(NEW, "pi0", **{half: PAIR[half]}), NEW)
    with pytest.raises(LoadFailed, match=r"no step of .* makes its actions absolute again"):
        given(plant(NEW, "pi0", use_relative_actions=True), NEW)


def test_cameras_are_named_as_the_data_set_had_them():
    def renamed(**names):
        prefix = "observation.images."
        of = {prefix + sent: prefix + read for sent, read in names.items()}
        return plant(NEW, "act", [("rename_observations_processor", {"rename_map": of})])

    images = [name for name in renamed(top="left").inputs if "images" in name]
    assert images == ["observation.images.top", "observation.images.side"]
    swapped = renamed(left="side", side="left")
    assert {*swapped.inputs} == {*INPUTS}
    with pytest.raises(Incomplete, match=r"a and observation\.images\.b are all renamed to it: give each input one"):
        renamed(a="left", b="left")
    with pytest.raises(Incomplete, match=r"images\.left: it is renamed to observation\.images\.gone"):
        renamed(left="gone")
    with pytest.raises(Incomplete, match="whose rename_map is no map of names"):
        plant(NEW, "act", [("rename_observations_processor", {"rename_map": {"a": 1}})])


def test_what_a_checkpoint_leaves_to_its_release_is_that_releases():
    """0.6 plays 32 rows of a diffusion policy that does not say how many, 0.4 plays 8."""
    for writer, steps_played in ((OLD, 8), (NEW, 32)):
        files = plant(writer, "diffusion")
        del files.config["n_action_steps"]
        for here in releases():
            config = {**here.types["diffusion"], **given(files, here).config}
            assert config["n_action_steps"] == steps_played


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        (plant(OLD, "act"), "lerobot-0.4"),
        (plant(NEW, "act"), "lerobot-0.6"),
        (plant(OLD, "groot", [("groot_pack_inputs_v3", {})]), None),
        (plant(OLD, "sac"), "lerobot-0.4"),
        (plant(NEW, "multi_task_dit"), "lerobot-0.6"),
        (plant(NEW, "pi0", use_relative_actions=True, **PAIR), "lerobot-0.6"),
        (plant(OLD, "pi0"), "lerobot-0.6"),  # and what else lerobot-0.4 knows and has not what it needs for
        (plant(OLD, "pi05"), "lerobot-0.6"),
        (plant(OLD, "pi0_fast"), "lerobot-0.6"),
        (plant(OLD, "wall_x"), "lerobot-0.6"),
        (plant(OLD, "act", invented=1), None),
        (plant(OLD, "sarm"), None),
    ],
)
def test_the_environment_is_that_of_the_release_that_wrote_it(files, wanted):
    assert verdict.environment(files) == wanted


def test_a_loader_says_which_environment_a_folder_wants(act):
    loader = LeRobotLoader(LeRobotOptions())
    assert loader.environment(Checkpoint(id="a", location=str(act))) == installed().environment
    with pytest.raises(LoadFailed, match=r"config\.json is missing"):
        loader.environment(Checkpoint(id="a", location=str(act / "gone")))


def test_who_else_can_serve_it_is_told():
    other = next(each for each in releases() if each is not installed())
    kind = next(kind for kind in other.served if kind not in installed().served)
    with pytest.raises(LoadFailed, match=rf"LeRobot {other.name} can serve it as it is"):
        verdict.understood(plant(other, kind))


def test_what_a_type_needs_beside_lerobot_is_told_before_it_is_loaded(monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == "transformers" else name)
    with pytest.raises(LoadFailed, match=r"policy, which needs transformers, not installed here: pip.*\[smolvla\]'$"):
        verdict.understood(plant(installed(), "smolvla"))  # another LeRobot would need it, too
    monkeypatch.setattr(extras, "find_spec", lambda name: name)
    verdict.understood(plant(installed(), "smolvla"))


def test_the_transformers_that_lerobot_patched_is_another(monkeypatch, tmp_path):
    def looked_for(name):
        return SimpleNamespace(submodule_search_locations=[str(tmp_path)])

    monkeypatch.setattr(extras, "find_spec", looked_for)
    monkeypatch.setattr(extras, "metadata", lambda _: SimpleNamespace(get_all=lambda _: ["smolvla"]))
    for kind in ("pi0", "pi05", "pi0_fast"):
        assert extras.lacking(kind) == "needs a transformers that LeRobot 0.4 patched, and no package index has"
    assert extras.lacking("smolvla") is None
    (tmp_path / "models/siglip").mkdir(parents=True)
    (tmp_path / "models/siglip/check.py").touch()
    assert extras.lacking("pi05") is None


@pytest.mark.parametrize("release", releases(), ids=lambda release: release.name)
def test_an_environment_has_what_its_types_need_or_is_not_chosen_for_them(release):
    """By its list alone; of the types that it says it has not, what they need is not in it, or is patched."""
    listed = (resources("offboard_lerobot") / f"environments/{release.environment}.txt").read_text("utf-8")
    there = {line.partition("==")[0].replace("-", "_") for line in listed.splitlines() if "==" in line}
    there |= {"tree"} if "dm_tree" in there else set()
    has_not = extras.NOT_IN.get(release.environment, frozenset())
    for kind in release.served:
        _, modules = extras.EXTRAS.get(kind, ("", ()))
        patched = release is OLD and kind.startswith("pi0")
        # What LeRobot 0.4 brings itself has no extra, and is in any list of it.
        assert ({*modules} <= there and not patched) == (kind not in has_not), kind


def test_every_type_is_known_to_need_something_or_nothing():
    served = {kind for release in releases() for kind in release.served}
    assert served - extras.EXTRAS.keys() == {"act", "gaussian_actor", "sac", "tdmpc", "vqbet"}
    there = metadata("lerobot").get_all("Provides-Extra")
    needed = {extra for kind, (extra, _) in extras.EXTRAS.items() if kind in installed().types}
    assert sorted(needed - {*there}) == ([] if installed() is NEW else ["diffusion", "pi"])


def test_every_field_and_step_of_the_releases_has_one_word():
    names = {f"{kind}.{field}" for each in releases() for kind in each.served for field in each.types[kind]}
    assert [name for name in sorted(names) if words.word_of(*name.split(".")) is None] == []
    assert [name for name in words.listed() if not where(name)] == []
    assert {*words.listed().values()} == {*words.WORDS}
    known = {*OLD.steps, *NEW.steps}
    assert {*steps.RUN, *steps.LEFT_OUT, *steps.NOT_RUN} == known
    assert len(steps.RUN) + len(steps.LEFT_OUT) + len(steps.NOT_RUN) == len(known)
    assert words.NO_POLICIES.keys() <= {*OLD.types, *NEW.types}


def test_the_releases_are_as_the_installed_lerobot_has_them(lerobot):
    """As far as it is imported for the tests; test_the_whole_table below looks at all of it."""
    import inspect

    from lerobot.configs.policies import PreTrainedConfig
    from lerobot.configs.types import FeatureType, NormalizationMode
    from lerobot.processor.pipeline import ProcessorStepRegistry

    here = installed()
    assert here.name.split(".")[:2] == version("lerobot").split(".")[:2]
    for kind in own_types(PreTrainedConfig):
        known = {field.name for field in fields(PreTrainedConfig.get_choice_class(kind))} | {"type"}
        assert here.types[kind].keys() == known
    for name in tool("lerobot_fields").step_names():
        assert set(here.steps[name]) == inspect.signature(ProcessorStepRegistry.get(name)).parameters.keys()
    assert {*tool("lerobot_fields").registered()} == here.steps.keys(), "those of robots and simulators, too"
    assert {each.value for each in FeatureType} == set(here.features)
    assert {each.value for each in NormalizationMode} == set(here.normalizations)


def own_types(configs):
    """Those that LeRobot brings; another test may have imported a package that registers more."""
    found = {kind: configs.get_choice_class(kind) for kind in configs.get_known_choices()}
    return {kind for kind, config in found.items() if config.__module__.startswith("lerobot.")}


def tool(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_whole_table_is_as_the_installed_lerobot_has_it():
    """Its types, and the steps that can be imported: needs what its vision-language policies need."""
    pytest.importorskip("transformers")
    known = json.loads(json.dumps(tool("lerobot_fields").known(whole=False)))
    table = json.loads(tool("lerobot_fields").TABLE.read_text("utf-8"))[installed().name]
    assert known["types"] == table["types"]
    assert known["rtc_config"] == table["rtc_config"]
    assert known["steps"] == {name: table["steps"].get(name) for name in known["steps"]}
    assert steps.RUN.keys() & table["steps"].keys() <= known["steps"].keys(), "what is run is seen"


def test_the_page_is_made_of_the_words():
    made = tool("lerobot_words")
    assert made.PAGE.read_text("utf-8") == made.page(), "run tools/lerobot_words.py"


def test_the_page_names_all_that_the_installed_lerobot_has(lerobot):
    """Read off the page itself, whoever made it."""
    from lerobot.configs.policies import PreTrainedConfig

    known = tool("lerobot_fields").known(whole=False)["types"]
    assert known.keys() == own_types(PreTrainedConfig)
    parts = dict(
        re.findall(r"^##+ ([^\n]+)\n(.*?)(?=^##|\Z)", tool("lerobot_words").PAGE.read_text("utf-8"), re.M | re.S)
    )
    rows = {
        part: [re.split(r" *\| *", row)[1:-1] for row in re.findall(r"^\| `.*$", text, re.M)]
        for part, text in parts.items()
    }
    there = {cells[0].strip("`"): cells[1:] for cells in rows["Policy types"]}
    column = releases().index(installed())
    assert {kind for kind, cells in there.items() if cells[column]} == {*known}
    whole = {kind.strip("`"): re.findall(r"`(\w+)`", names) for kind, names in rows["Of types that are refused"]}
    listed = [(cells[0].strip("`"), cells[1].split(", ")) for word in words.WORDS for cells in rows[word]]
    for kind, fields_of in known.items():
        mine = {name.rpartition(".")[2] for name, of in listed if {"all", kind, f"{kind} ({installed().name})"} & {*of}}
        assert {*fields_of} <= {*whole.get(kind, mine)}, kind
    steps_there = {cells[0].strip("`") for cells in rows["Steps of the processors"] if cells[1 + column]}
    assert steps_there == {*tool("lerobot_fields").registered()}
    assert {cells[0].strip("`") for cells in rows["Within rtc_config"]} == installed().rtc_config.keys()
