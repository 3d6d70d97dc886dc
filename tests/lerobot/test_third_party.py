"""Policy types of third parties' packages, which LeRobot's own discovery finds where they are installed."""

import importlib
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from lerobot_checkpoints import model_inputs, save_policy, write_files
from lerobot_loop import played
from offboard_client.errors import LoadFailed
from offboard_core import environments
from offboard_core.catalog import from_flags
from offboard_core.plugins import ENVIRONMENT, Plugins
from offboard_core.types import ALONE, NO_CONTEXT, InferContext, Item
from offboard_core.workers import Isolation
from offboard_process import offboard

PACKAGE = Path(__file__).parents[1] / "support" / "third_party" / "lerobot_policy_tiny"


def install(site, name=PACKAGE.name):
    """As pip does: the package, and the metadata by which it is found."""
    shutil.copytree(PACKAGE, site / name, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    info = site / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    return site


def forget():
    """What an import has registered, as if it had never been."""
    for name in [name for name in sys.modules if name.startswith("lerobot_policy_") and "_offboard" not in name]:
        del sys.modules[name]
    if "lerobot.configs.policies" in sys.modules:
        from lerobot.configs.policies import PreTrainedConfig
        from lerobot.processor.pipeline import ProcessorStepRegistry

        PreTrainedConfig._choice_registry.pop("tiny", None)
        ProcessorStepRegistry._registry.pop("tiny_gain", None)


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder of packages that this process sees."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(site)
    yield site
    forget()


@pytest.fixture
def tiny(lerobot, site, tmp_path):
    """A checkpoint of the third party's type; nothing here has imported the package since."""
    install(site)
    importlib.import_module(PACKAGE.name)
    folder = save_policy(tmp_path / "pretrained_model", "tiny", 8)
    forget()
    return folder


def source(folder, **options):
    return from_flags(Plugins.discover(), checkpoints_dir=str(folder), loader_options={"device": "cpu"}, **options)


def load(folder, **options):
    served = source(folder, **options)
    return served.loader.load(served.default(), lambda _: None, ALONE)


def chunks(policy, numbers):
    import torch

    session = policy.new_session(policy.params())
    answers = []
    for number in numbers:
        torch.manual_seed(number)
        answers.append(session.infer(model_inputs(number), NO_CONTEXT).action)
    session.close()
    return answers


def test_it_answers_what_lerobot_plays(tiny):
    from lerobot.policies.factory import get_policy_class

    policy = load(tiny)
    got = chunks(policy, (1, 2, 3))
    wanted = played(get_policy_class("tiny").from_pretrained(tiny), tiny, "tiny", (1, 2, 3))
    np.testing.assert_array_equal([chunk[:4] for chunk in got], wanted)
    assert (policy.meta["policy_type"], policy.meta["chunk_length"], policy.max_batch_size) == ("tiny", 6, 1)
    items = [
        Item(
            policy.new_session(policy.params()), model_inputs(n), InferContext(seed=n)
        )  # what it draws is a robot's own
        for n in (1, 2, 3)
    ]
    np.testing.assert_array_equal([answer.action for answer in policy.infer_many(items)], got)
    policy.close()


def test_whoever_waits_is_told_which_package_is_imported(tiny):
    """One that hangs there is what the load is said to have been at when its time is over."""
    told, served = [], source(tiny)
    served.loader.load(served.default(), told.append, ALONE).close()
    assert told[0] == f"importing the package {PACKAGE.name}"


def test_nothing_of_it_is_imported_before_a_load(tiny):
    assert source(tiny).default().extras["n_action_steps"] == 4
    assert PACKAGE.name not in sys.modules


@pytest.mark.slow
def test_it_is_served_in_a_worker_as_here(tiny):
    policy = load(tiny, isolation=Isolation())
    try:
        seeded = [InferContext(seed=n) for n in (1, 2)]
        session = policy.new_session(policy.params())
        got = [session.infer(model_inputs(1), context).action for context in seeded]
    finally:
        policy.close()
    here = load(tiny)
    session = here.new_session(here.params())
    np.testing.assert_array_equal(got, [session.infer(model_inputs(1), context).action for context in seeded])
    here.close()


ABSENT = (
    r"holds a 'tiny' policy, which is none of LeRobot's own\. Install its author's package \(usually called lerobot_p"
)


def test_where_it_is_not_installed_that_is_told_before_the_server_listens(tmp_path):
    folder = write_files(tmp_path / "m", kind="tiny")
    with pytest.raises(LoadFailed, match=ABSENT) as raised:
        source(folder).default()
    assert raised.value.permanent
    done = offboard("serve", "--checkpoints-dir", str(folder), "--port", "0", "--json")
    assert done.returncode == 1
    assert "which is none of LeRobot's own. Install its author's package" in done.stderr
    assert not done.stdout


def test_an_environment_may_be_given_it_and_then_serves_it(tmp_path, monkeypatch):
    monkeypatch.setenv("OFFBOARD_CACHE", str(tmp_path / "cache"))
    folder = write_files(tmp_path / "m", kind="tiny")
    offer = Plugins.discover().get(ENVIRONMENT, "lerobot-0.6")
    place = environments.place_of(offer)
    (place / "bin").mkdir(parents=True)
    (place / "bin" / "python").symlink_to(sys.executable)
    record = {"python": "3.12.1", "packages": 1, "size": 1, "made": "2026-11-27T13:00:00+00:00"}
    (place / ".offboard-environment.json").write_text(json.dumps(record))
    told = 'uv pip install --python "$(offboard envs make lerobot-0.6)" lerobot_policy_…'
    for env in (None, "auto"):
        with pytest.raises(LoadFailed, match=ABSENT) as raised:
            source(folder, env=env).default()
        text = raised.value.text
        assert f"In the environment lerobot-0.6 there is none either; installed there it is served: {told}" in text
    assert environments.added(offer) == []
    for installed in ("torch-2.11.0", "Lerobot.policy_tiny-0.1"):
        (place / "lib/python3.12/site-packages" / f"{installed}.dist-info").mkdir(parents=True)
    assert environments.added(offer) == ["lerobot_policy_tiny"]
    for env in (None, "auto"):
        served = source(folder, env=env)
        assert served.runs_in(served.default()) == "in the environment lerobot-0.6"
    done = offboard("envs", OFFBOARD_CACHE=str(tmp_path / "cache"))
    assert "installed beside its list: lerobot_policy_tiny" in " ".join(done.stdout.replace("│", " ").split())


def test_a_slip_in_a_type_is_told_with_what_was_meant(tmp_path):
    with pytest.raises(
        LoadFailed, match=r"a 'actt' policy, which is none of LeRobot's own \(did you mean act\?\)\. Inst"
    ):
        source(write_files(tmp_path / "m", kind="actt")).default()


def test_another_environment_may_have_it(tmp_path):
    folder = write_files(tmp_path / "m", kind="tiny")
    elsewhere = Isolation(python=Path(sys.executable))
    assert source(folder, isolation=elsewhere).default().type == "tiny"
    with pytest.raises(LoadFailed, match="holds a 'sarm' policy, which drives nothing"):
        source(write_files(tmp_path / "n", kind="sarm"), isolation=elsewhere).default()


def test_a_name_that_a_checkpoint_brings_is_not_imported(lerobot, site, tmp_path):
    for name in ("lerobot_policy_evil", "evil"):
        (site / f"{name}.py").write_text("raise SystemExit('imported')")
    with pytest.raises(LoadFailed, match="which is none of LeRobot's own"):
        load(write_files(tmp_path / "m", kind="evil"))
    install(site)
    with pytest.raises(LoadFailed, match=r"lerobot_policy_tiny registers no policy type 'evil'\. Install") as raised:
        load(write_files(tmp_path / "m", kind="evil"))
    assert raised.value.permanent
    for slip, meant in (("actt", "act"), ("tinyy", "tiny")):
        with pytest.raises(LoadFailed, match=rf"no policy type '{slip}' \(did you mean {meant}\?\)\. Install"):
            load(write_files(tmp_path / slip, kind=slip))


def test_a_package_that_cannot_be_imported_is_named(lerobot, site, tmp_path):
    install(site)
    (site / PACKAGE.name / "__init__.py").write_text("raise ImportError('no such thing')")
    said = r"'tiny'; lerobot_policy_tiny cannot be imported \(ImportError: no such thing\), the log has more\. Install"
    with pytest.raises(LoadFailed, match=said):
        load(write_files(tmp_path / "m", kind="tiny"))


@pytest.mark.parametrize(
    ("line", "text", "for_good"),
    [
        ("batch['observation.depth']", "the policy raised KeyError: 'observation.depth'", True),
        ("return self.seen.weight.new_zeros(2, 6, 8)", r"the policy answered \(2, 6, 8\), its config says", True),
        ("raise MemoryError", "the policy raised MemoryError", False),
    ],
)
def test_what_fails_at_its_first_inference_whatever_it_is_shown_is_never_loaded_again(tiny, site, line, text, for_good):
    model = site / PACKAGE.name / "modeling_tiny.py"
    model.write_text(model.read_text().replace("        means =", f"        {line}\n        means =", 1))
    with pytest.raises(LoadFailed, match=f"failed its first inference: {text}") as raised:
        load(tiny)
    assert raised.value.permanent == for_good


def packaged(site, name, text):
    """Another package that LeRobot's discovery finds."""
    install(site, name)
    (site / name / "__init__.py").write_text(text)


def test_one_that_exits_or_prints_keeps_nobody_from_another(tiny, site, capfd):
    packaged(site, "lerobot_policy_a", "import sys\nsys.exit(3)\n")
    packaged(site, "lerobot_policy_b", "print('hello')\n")
    load(tiny).close()
    assert capfd.readouterr().out == "", "what a server says there is for programs"


def test_one_that_exits_is_named(lerobot, site, tmp_path):
    packaged(site, "lerobot_policy_a", "import sys\nsys.exit(3)\n")
    with pytest.raises(LoadFailed, match=r"lerobot_policy_a cannot be imported \(SystemExit: 3\)") as raised:
        load(write_files(tmp_path / "m", kind="tiny"))
    assert raised.value.permanent


def test_a_type_that_two_register_is_told_with_both(tiny, site):
    packaged(
        site,
        "lerobot_policy_a",
        "from dataclasses import dataclass\nfrom lerobot.configs.policies import PreTrainedConfig\n\n\n"
        "@PreTrainedConfig.register_subclass('tiny')\n@dataclass\nclass Taken(PreTrainedConfig):\n    pass\n",
    )
    with pytest.raises(LoadFailed, match=r"the type 'tiny' that lerobot_policy_a registers .*lerobot_policy_tiny can"):
        load(tiny)


@pytest.mark.parametrize("kept", ["a buffer", "a list"])
def test_one_that_remembers_in_itself_is_refused(tiny, kept, tmp_path):
    importlib.import_module(PACKAGE.name)
    folder = save_policy(tmp_path / "other" / "pretrained_model", "tiny", 8, remembers=kept)
    name = {"a buffer": "_buffers", "a list": "recent"}[kept]
    with pytest.raises(LoadFailed, match=rf"keeps something of one inference for the next in itself \({name}\)"):
        load(folder)


def test_what_its_package_does_not_know_is_refused(tiny):
    import json

    path = tiny / "policy_postprocessor.json"
    content = json.loads(path.read_text())
    assert content["steps"][0]["config"] == {"gain": 3.0}
    content["steps"][0]["config"]["invented"] = 1
    path.write_text(json.dumps(content))
    with pytest.raises(LoadFailed, match="the option 'invented' of the step 'tiny_gain' of policy_postprocessor"):
        load(tiny)
    (tiny / "config.json").write_text((tiny / "config.json").read_text().replace('"spread"', '"spraed"'))
    with pytest.raises(LoadFailed, match=r"the field 'spraed' of config\.json \(0\.5\)"):
        load(tiny)
