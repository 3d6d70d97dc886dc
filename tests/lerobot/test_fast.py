"""pi0-FAST answers in tokens: those that stand for no action are an error in play, and no reason not to serve it."""

import logging

import numpy as np
import pytest
from lerobot_checkpoints import kinds, model_inputs, save_policy, write_files
from offboard_client.errors import InvalidAction, LoadFailed
from offboard_core.checkpoints import LocalPlace
from offboard_core.types import NO_CONTEXT, Item
from offboard_lerobot.files import read
from offboard_lerobot.loader import LeRobotLoader, LeRobotOptions
from offboard_lerobot.registry import LeRobotRegistry
from offboard_lerobot.verdict import given
from offboard_lerobot.versions import releases

with_pi0_fast = pytest.mark.skipif(
    "pi0_fast" not in kinds(), reason="pi0-FAST is of LeRobot 0.6, and wants transformers"
)
NO_ACTION = "that stands for no action, and none is made of it. Another observation may get one"


@pytest.fixture(scope="module")
def folder(lerobot, tmp_path_factory):
    return save_policy(tmp_path_factory.mktemp("pi0_fast") / "pretrained_model", "pi0_fast", 4)


@pytest.fixture
def load(request):
    def load_it(folder):
        [checkpoint] = LeRobotRegistry(str(folder)).checkpoints()
        policy = LeRobotLoader(LeRobotOptions(device="cpu")).load(checkpoint, lambda _: None)
        request.addfinalizer(policy.close)
        return policy

    return load_it


@pytest.fixture
def said(monkeypatch, lerobot):
    """Lets it answer these texts to observations with such a first picture. What random weights say means nothing."""
    from lerobot.policies.pi0_fast.modeling_pi0_fast import PI0FastPytorch

    asked = PI0FastPytorch.sample_actions_fast_kv_cache

    def says(numbers, such):
        def sample(self, images, *rest, **how):
            answered = asked(self, images, *rest, **how).clone()
            for tokens, image in zip(answered, images[0], strict=True):
                if such(image):
                    tokens[:] = END
                    tokens[:numbers] = NUMBER
            return answered

        monkeypatch.setattr(PI0FastPytorch, "sample_actions_fast_kv_cache", sample)

    return says


#: What the tiny tokenizer has for the end of an answer, and for one number.
END, NUMBER = 95, 319 - 44


def answers(policy, *numbers):
    sessions = [policy.new_session(policy.params()) for _ in numbers]
    sent = [{**model_inputs(number), "task": "go"} for number in numbers]
    return policy.infer_many([Item(*each, NO_CONTEXT) for each in zip(sessions, sent, strict=True)])


@with_pi0_fast
def test_what_stands_for_no_action_is_an_error_and_no_zeros(folder, load, said, caplog):
    policy = load(folder)
    usual = answers(policy, 1, 2)
    assert not np.array_equal(usual[0].action, usual[1].action)
    seen = []
    said(0, such=lambda image: seen.append(image.clone()))
    answers(policy, 1)
    of_the_first = float(seen[0].sum())
    for numbers in (0, 7):
        said(numbers, such=lambda image: float(image.sum()) == of_the_first)
        error, other = answers(policy, 1, 2)
        assert isinstance(error, InvalidAction)
        assert f"{numbers} tokens for {numbers} numbers, of at least 8: {NO_ACTION}" in error.text
        # A robot that is served at the same time has its own answer.
        np.testing.assert_allclose(other.action, usual[1].action, atol=1e-5)
    assert "Traceback" not in caplog.text
    # The slowest coefficients alone are what LeRobot makes an action of.
    said(8, such=lambda _: True)
    [chunk] = answers(policy, 1)
    assert np.ptp(chunk.action, axis=0) == pytest.approx(0, abs=1e-5)
    assert np.abs(chunk.action).min() > 0


@with_pi0_fast
def test_what_does_not_begin_as_it_must_is_the_same_error(lerobot, load, said, tmp_path):
    folder = save_policy(tmp_path / "pretrained_model", "pi0_fast", 4, validate_action_token_prefix=True)
    [error] = answers(load(folder), 1)
    assert isinstance(error, InvalidAction)
    assert "what does not begin as it must (Token sequence does not start with ['Action', ':']" in error.text
    assert NO_ACTION in error.text


@with_pi0_fast
def test_nothing_to_say_to_a_blank_picture_is_no_reason_to_refuse_it(folder, load, said, caplog):
    caplog.set_level(logging.INFO)
    said(0, such=lambda image: bool((image == image.flatten()[0]).all()))
    policy = load(folder)
    assert "has nothing to say to a blank observation: the policy answered 0 tokens" in caplog.text
    assert policy.meta["chunk_length"] == 6
    [chunk] = answers(policy, 1)
    assert chunk.action.shape == (6, 8)


def test_tokens_of_more_rows_than_are_played_are_refused(tmp_path):
    folder = write_files(tmp_path / "m", kind="pi0_fast", chunk_size=50, n_action_steps=10, pretrained_revision=None)
    for release in releases():
        with pytest.raises(
            LoadFailed, match=r"n_action_steps \(10\) and chunk_size \(50\) in config\.json: its tokens"
        ):
            given(read(LocalPlace(folder)), release, release.name)
