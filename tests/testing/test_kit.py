"""The kit finds what it is there to find: each law is broken once, by a vendor that breaks nothing else."""

import re
import subprocess
import sys
import threading
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from offboard_core import (
    Checkpoint,
    Chunk,
    Codec,
    CodecMeta,
    Feature,
    Field,
    Health,
    InvalidAction,
    Item,
    LoaderEntry,
    ModelNotFound,
    ModelRegistry,
    Policy,
    Session,
    hookimpl,
    testing,
)
from offboard_core.catalog import ModelSource
from offboard_core.plugins import Plugins
from offboard_core.testing import CodecLaws, PluginLaws, PolicyLaws, RegistryLaws
from offboard_core.types import ALONE, NO_CONTEXT
from planted import OBSERVATION, Good, Model, Steady, check, resolved, served


class WritesIntoTheObservation(Good):
    def encode(self, observation):
        observation["robot_state.q"][0] = 0.0
        return super().encode(observation)


class Remembers(Good):
    calls = 0

    def encode(self, observation):
        self.calls += 1
        return {**super().encode(observation), "calls": self.calls}


class ReadsMoreThanItSays(Good):
    meta = CodecMeta(observation={"robot_state.q": Field(shape=(3,))}, action=Good.meta.action)


class FillsInWhatIsMissing(Good):
    def encode(self, observation):
        return super().encode({"robot_state.q": np.zeros(3), **observation})


class WritesIntoTheChunk(Good):
    def decode(self, chunk, observation):
        chunk.action[:] /= 2
        return chunk.replace(action={"target_joints": chunk.action})


class MakesAnotherName(Good):
    def decode(self, chunk, observation):
        return chunk.replace(action={"joints": chunk.action})


class DecodesByPosition(Good):
    def decode(self, chunk, observation):
        return chunk.replace(action={"target_joints": chunk.action + np.arange(len(chunk))[:, None]})


class ClipsNaNAway(Good):
    def decode(self, chunk, observation):
        return chunk.replace(action={"target_joints": np.where(chunk.action > 0.5, 1.0, 0.0)})


class TakesBackSomethingElse(Good):
    def encode_actions(self, chunk, observation):
        return chunk.replace(action=chunk.columns()["target_joints"])


class TakesBackUnderAnotherName(Good):
    def encode_actions(self, chunk, observation):
        return chunk.replace(action={"joints": super().encode_actions(chunk, observation).action})


class WritesIntoWhatItTakesBack(Good):
    def encode_actions(self, chunk, observation):
        chunk.columns()["target_joints"][:] *= 2
        return chunk.replace(action=chunk.columns()["target_joints"])


class ClipsAndDoesNotSaySo(Good):
    def decode(self, chunk, observation):
        return super().decode(chunk.replace(action=np.clip(chunk.action, -1, 1)), observation)


class LeavesANumberOut(Good):
    def decode(self, chunk, observation):
        return super().decode(chunk.replace(action=chunk.action[:, [0, 1, 1]]), observation)


class TrainsOnMoreThanItSays(Good):
    features = {"state": Feature(shape=(3,), dtype="float32")}
    trained_on = frozenset[str]()

    def label(self, frame):
        return {"state": frame.get("robot_state.q", np.zeros(3))}


class TrainsOnWhatItFillsIn(TrainsOnMoreThanItSays):
    trained_on = frozenset({"robot_state.q"})


class SaysNothingAtLength(Good):
    one_way = " "


LAWS: list[tuple[type[Codec], Callable[..., None]]] = [
    (WritesIntoTheObservation, CodecLaws.test_encode_is_pure),
    (Remembers, CodecLaws.test_encode_is_pure),
    (ReadsMoreThanItSays, CodecLaws.test_encode_reads_what_meta_declares_and_nothing_else),
    (FillsInWhatIsMissing, CodecLaws.test_a_required_name_is_required),
    (TrainsOnMoreThanItSays, CodecLaws.test_trained_on_is_what_a_training_row_is_made_of),
    (TrainsOnWhatItFillsIn, CodecLaws.test_trained_on_is_what_a_training_row_is_made_of),
    (WritesIntoTheChunk, CodecLaws.test_decode_is_pure),
    (MakesAnotherName, CodecLaws.test_decode_makes_what_meta_declares),
    (DecodesByPosition, CodecLaws.test_decode_works_on_every_step_alone),
    (TakesBackSomethingElse, CodecLaws.test_encode_actions_undoes_decode_or_one_way_says_why_not),
    (TakesBackUnderAnotherName, CodecLaws.test_encode_actions_undoes_decode_or_one_way_says_why_not),
    (WritesIntoWhatItTakesBack, CodecLaws.test_encode_actions_undoes_decode_or_one_way_says_why_not),
    (SaysNothingAtLength, CodecLaws.test_encode_actions_undoes_decode_or_one_way_says_why_not),
    (ClipsAndDoesNotSaySo, CodecLaws.test_a_codec_whose_decoding_loses_something_says_so),
    (LeavesANumberOut, CodecLaws.test_a_codec_whose_decoding_loses_something_says_so),
    (ClipsNaNAway, CodecLaws.test_decode_hides_no_number_that_is_not_finite),
]


@pytest.mark.parametrize(("codec", "law"), LAWS, ids=[codec.__name__ for codec, _ in LAWS])
def test_a_codec_that_breaks_a_law_is_found(codec, law):
    def given():
        observation = {
            name: value.copy() if isinstance(value, np.ndarray) else value for name, value in OBSERVATION.items()
        }
        return {"observation": observation, "chunk": Chunk(np.linspace(0.0, 1.0, 12).reshape(4, 3))}

    check(CodecLaws(), law, resolved_codec=resolved(Good), **given())
    with pytest.raises((AssertionError, ValueError, InvalidAction, pytest.fail.Exception)):
        check(CodecLaws(), law, resolved_codec=resolved(codec), **given())


class LosesAResult(Model):
    max_batch_size = 2

    def infer_many(self, batch):
        return super().infer_many(batch)[:1]


class FailsTogether(Model):
    def infer_many(self, batch):
        return [item.session.infer(item.inputs, item.context) for item in batch]


class Counts(Model):
    def __init__(self):
        self.meta = {"sessions": 0}

    def new_session(self, params):
        self.meta = {"sessions": self.meta["sessions"] + 1}
        return Steady()


class Once(Session):
    def __init__(self):
        self.chunk = Chunk(np.zeros((1, 3)))

    def infer(self, inputs, context):
        chunk, self.chunk = self.chunk, None
        return chunk


class ForgetsToReset(Model):
    def new_session(self, params):
        return Once()


class AsksAChild(Model):
    def health(self):
        # Longer than the law allows on any machine: a bare process is begun and over within a millisecond on some.
        subprocess.run(["sleep", "0.003"], check=True)
        return Health()


class KnowsOnlyOnItsOwnThread(Model):
    """Its health cannot be had by another thread than the model's."""

    def __init__(self):
        self.thread = threading.get_ident()

    def health(self):
        return Health() if threading.get_ident() == self.thread else Health("recovering", "busy")


class NeverWell(Model):
    def health(self):
        return Health("recovering", "warming up")


class Stays(Model):
    everyone: list[Policy] = []

    def __init__(self):
        self.everyone.append(self)


class AnswersABareArray(Model):
    def new_session(self, params):
        class Bare(Session):
            def infer(self, inputs, context):
                return np.zeros((1, 3))

        return Bare()


class OneForAll(Model):
    one = None

    def __new__(cls):
        cls.one = cls.one or super().__new__(cls)
        return cls.one


class AnswersByItsNumber(Model):
    def __init__(self, place):
        self.number = place.replica

    def infer_many(self, batch):
        return [Chunk(np.full((1, 3), float(self.number))) for _ in batch]


class EndsTheOthersToo(Model):
    over: list[Policy] = []

    def close(self):
        self.over.append(self)

    def infer_many(self, batch):
        assert not self.over
        return super().infer_many(batch)


class LeavesAProcess(Model):
    def __init__(self):
        self.child = subprocess.Popen(["sleep", "600"])


class LeavesAThread(Model):
    def __init__(self):
        self.over = over = threading.Event()
        self.thread = threading.Thread(target=over.wait, daemon=True)
        self.thread.start()


@pytest.mark.parametrize(
    ("policy", "law"),
    [
        (AnswersABareArray, PolicyLaws.test_a_policy_answers_chunks),
        (OneForAll, PolicyLaws.test_replicas_answer_alike_and_end_alone),
        (AnswersByItsNumber, PolicyLaws.test_replicas_answer_alike_and_end_alone),
        (EndsTheOthersToo, PolicyLaws.test_replicas_answer_alike_and_end_alone),
        (LosesAResult, PolicyLaws.test_one_result_for_each_session_of_a_batch),
        (FailsTogether, PolicyLaws.test_one_bad_input_of_a_batch_fails_one_robot),
        (ForgetsToReset, PolicyLaws.test_an_episode_starts_anew_after_reset),
        (Counts, PolicyLaws.test_its_facts_are_plain_and_steady),
        (AsksAChild, PolicyLaws.test_its_health_is_told_at_once_from_any_thread),
        (KnowsOnlyOnItsOwnThread, PolicyLaws.test_its_health_is_told_at_once_from_any_thread),
        (NeverWell, PolicyLaws.test_its_health_is_told_at_once_from_any_thread),
        (Stays, PolicyLaws.test_a_closed_policy_is_gone),
    ],
)
def test_a_policy_that_breaks_a_law_is_found(policy, law):
    def given(kind):
        policy = served(kind).loader.load(Checkpoint(id="only"), print, ALONE)
        codec = resolved(Good)
        return {
            "policy": policy,
            "source": served(kind),
            "checkpoint": Checkpoint(id="only"),
            "resolved_codec": codec,
            "chunk": policy.new_session(policy.params()).infer(codec.encode(OBSERVATION), NO_CONTEXT),
        }

    check(PolicyLaws(), law, observation=OBSERVATION, **given(Model))
    with pytest.raises((AssertionError, KeyError)):
        check(PolicyLaws(), law, observation=OBSERVATION, **given(policy))


def stop_the_process(policy):
    policy.child.kill()
    policy.child.wait()


def stop_the_thread(policy):
    policy.over.set()
    policy.thread.join()


@pytest.mark.parametrize(
    ("policy", "law", "says", "stop"),
    [
        (LeavesAProcess, PolicyLaws.test_a_closed_policy_is_gone, "a process", stop_the_process),
        (LeavesAThread, PolicyLaws.test_a_closed_policy_is_gone, "a thread", stop_the_thread),
    ],
)
def test_a_policy_that_leaves_something_running_is_found(monkeypatch, policy, law, says, stop):
    monkeypatch.setattr("offboard_core.testing._policy._PATIENCE", 0.01)
    left = []

    class Kept(policy):
        def close(self):
            left.append(SimpleNamespace(**vars(self)))

    given = {"checkpoint": Checkpoint(id="only"), "resolved_codec": resolved(Good), "observation": OBSERVATION}
    with pytest.raises(AssertionError, match=says):
        check(PolicyLaws(), law, source=served(Kept), **given)
    for each in left:
        stop(each)


class AnswersNoOtherThread(KnowsOnlyOnItsOwnThread):
    """Who else asks waits for ever."""

    over = threading.Event()

    def health(self):
        if threading.get_ident() != self.thread:
            self.over.wait()
        return Health()


def test_a_policy_whose_health_never_returns_is_found_and_holds_up_nobody(monkeypatch):
    monkeypatch.setattr("offboard_core.testing._policy._PATIENCE", 0.01)
    given = {"resolved_codec": resolved(Good), "observation": OBSERVATION}
    try:
        with pytest.raises(AssertionError, match="asked by another thread"):
            check(
                PolicyLaws(), PolicyLaws.test_its_health_is_told_at_once_from_any_thread,
                policy=AnswersNoOtherThread(), **given,
            )  # fmt: skip
    finally:
        AnswersNoOtherThread.over.set()


class SamplingSession(Session):
    def infer(self, inputs, context):
        noise = np.random.default_rng(context.seed).normal(size=(4, 3))
        return Chunk(noise if context.prefix is None else np.concatenate([context.prefix.action[:1], noise]))


class Sampling(Model):
    """Takes a seed and a prefix as it should."""

    context = frozenset({"seed", "prefix", "delay_steps"})
    max_batch_size = 2

    def new_session(self, params):
        return SamplingSession()


class IgnoresItsSeed(Sampling):
    def infer_many(self, batch):
        return super().infer_many([Item(item.session, item.inputs) for item in batch])


class DrawsForTheWholeCall(Sampling):
    def infer_many(self, batch):
        noise = np.random.default_rng(batch[-1].context.seed).normal(size=(len(batch), 4, 3))
        return [Chunk(each) for each in noise]


class WritesIntoThePrefix(Sampling):
    def infer_many(self, batch):
        answers = super().infer_many(batch)
        for item in batch:
            if item.context.prefix is not None:
                item.context.prefix.action[:] = 0
        return answers


class WantsAllOfItsContext(Sampling):
    def new_session(self, params):
        class Wants(SamplingSession):
            def infer(self, inputs, context):
                assert context.prefix is not None
                return super().infer(inputs, context)

        return Wants()


class SharesNoCall(Sampling):
    """Its sessions are counted, and no two of them go into one call."""

    def __init__(self):
        self.open = []

    def new_session(self, params):
        class Counted(SamplingSession):
            def close(session):
                self.open.remove(session)

        self.open.append(Counted())
        assert len(self.open) <= 2
        return self.open[-1]

    def batch_key(self, item):
        return id(item.session)

    def infer_many(self, batch):
        assert len(batch) == 1
        return super().infer_many(batch)


@pytest.mark.parametrize(
    "law",
    [
        PolicyLaws.test_one_result_for_each_session_of_a_batch,
        PolicyLaws.test_a_seed_is_all_that_chance_has_in_an_answer,
    ],
)
def test_sessions_share_a_call_only_as_they_would_and_are_closed(law):
    policy = SharesNoCall()
    check(PolicyLaws(), law, policy=policy, resolved_codec=resolved(Good), observation=OBSERVATION)
    assert not policy.open


@pytest.mark.parametrize(
    ("policy", "law"),
    [
        (IgnoresItsSeed, PolicyLaws.test_a_seed_is_all_that_chance_has_in_an_answer),
        (DrawsForTheWholeCall, PolicyLaws.test_a_seed_is_all_that_chance_has_in_an_answer),
        (WritesIntoThePrefix, PolicyLaws.test_it_takes_what_its_context_names),
        (WantsAllOfItsContext, PolicyLaws.test_it_takes_what_its_context_names),
    ],
)
def test_a_policy_that_misuses_its_context_is_found(policy, law):
    chunk = Chunk(np.linspace(0.5, 1.0, 12).reshape(4, 3))
    given = {"resolved_codec": resolved(Good), "chunk": chunk, "observation": OBSERVATION}
    for kind in (Model, Sampling):
        check(PolicyLaws(), law, policy=kind(), **given)
    with pytest.raises(AssertionError):
        check(PolicyLaws(), law, policy=policy(), **given)


class ListsEveryFolder(ModelRegistry):
    def __init__(self, place):
        self.place = Path(place)

    def checkpoints(self):
        return [
            Checkpoint(id=path.name, location=str(path)) for path in sorted(self.place.iterdir()) if self.counts(path)
        ]

    def counts(self, path):
        return True


class ListsWhatHasWeights(ListsEveryFolder):
    def counts(self, path):
        return (path / "weights").is_file()


class ListsWhatHasFiles(ListsEveryFolder):
    def counts(self, path):
        return any(path.iterdir())


class JoinsIdsToItsPath(ListsWhatHasWeights):
    def resolve(self, model_id):
        return Checkpoint(id=model_id, location=str(self.place / model_id))


class KnowsNoNumbers(ListsWhatHasWeights):
    def resolve(self, model_id):
        for checkpoint in self.checkpoints():
            if checkpoint.id == model_id:
                return checkpoint
        raise ModelNotFound(f"there is no {model_id}")


@pytest.mark.parametrize(
    ("registry", "law"),
    [
        (JoinsIdsToItsPath, RegistryLaws.test_a_checkpoint_is_found_by_its_id),
        (KnowsNoNumbers, RegistryLaws.test_a_checkpoint_is_found_by_its_id),
        (ListsEveryFolder, RegistryLaws.test_a_folder_without_content_is_no_checkpoint),
        (ListsWhatHasFiles, RegistryLaws.test_a_checkpoint_without_its_weights_is_not_listed),
    ],
)
def test_a_registry_that_breaks_a_law_is_found(registry, law, tmp_path):
    def given(kind):
        place = tmp_path / kind.__name__
        for name in ("010000", "020000"):
            (place / name).mkdir(parents=True)
            (place / name / "config").write_text("{}")
            (place / name / "weights").write_bytes(b"many bytes")
        source = ModelSource(
            vendor="tested", registry=kind(place), loader=served(Model).loader, codec=served(Model).codec
        )
        return {"copied": (place, source), "source": source}

    check(RegistryLaws(), law, **given(ListsWhatHasWeights))
    with pytest.raises((AssertionError, ModelNotFound, pytest.fail.Exception)):
        check(RegistryLaws(), law, **given(registry))


def test_a_plugin_that_imports_a_model_library_is_found(tmp_path, monkeypatch):
    (tmp_path / "torchlike.py").write_text("")
    (tmp_path / "light_plugin.py").write_text("import json")
    (tmp_path / "heavy_plugin.py").write_text("import torchlike")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    law = PluginLaws.test_discovery_imports_nothing_heavy
    check(PluginLaws(), law, entry_point=EntryPoint("light", "light_plugin", "offboard"))
    with pytest.raises(AssertionError, match="torchlike"):
        check(PluginLaws(), law, entry_point=EntryPoint("heavy", "heavy_plugin", "offboard"))


class Light(PluginLaws):
    plugin = "light"


def offering(*entries):
    @hookimpl
    def offboard_checkpoint_loaders():
        yield from entries

    return SimpleNamespace(offboard_checkpoint_loaders=offboard_checkpoint_loaders)


def entry(name="light", summary="What it is."):
    return LoaderEntry(name=name, summary=summary, factory="light:Loader")


@pytest.mark.parametrize(
    ("plugin", "law"),
    [
        (offering(entry("heavy")), PluginLaws.test_nothing_is_wrong_with_the_plugin),
        (offering(entry(), entry()), PluginLaws.test_nothing_is_wrong_with_the_plugin),
        (offering(entry(summary=" ")), PluginLaws.test_every_name_has_a_summary_of_one_line),
        (offering(entry(summary="What\nit is.")), PluginLaws.test_every_name_has_a_summary_of_one_line),
    ],
    ids=["another name", "one name twice", "no summary", "two lines"],
)
def test_a_plugin_that_breaks_a_law_is_found(plugin, law):
    check(Light(), law, plugins=Plugins.of(light=offering(entry())))
    with pytest.raises(AssertionError):
        check(Light(), law, plugins=Plugins.of(light=plugin))


KITS = ("on_the_wire", "of_children", "of_listeners", "of_observers")


def test_a_defect_is_planted_for_each_law():
    """In these files a pair in a list, or the one law of a test, is run on what keeps it and on what breaks it."""
    laws = {
        f"{kind}.{name}"
        for kind in testing.__all__
        if kind.endswith("Laws")
        for name in vars(getattr(testing, kind))
        if name.startswith("test_")
    }
    files = [
        Path(__file__),
        *(Path(__file__).with_name(f"test_kit_{each}.py") for each in KITS),
    ]
    text = "\n".join(path.read_text("utf-8") for path in files)
    planted = re.findall(r"(?:\(.+, |law = )(\w+Laws\.test_\w+)", text)
    assert set(planted) == laws
    assert len(planted) >= 20
