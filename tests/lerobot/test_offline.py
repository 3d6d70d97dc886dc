"""A load fetches nothing: a cache of the Hub that is half filled stays so, and the error says what is absent."""

import contextlib
import shutil
import threading
from unittest import mock

import huggingface_hub
import huggingface_hub.constants
import lerobot_backbones
import pytest
from huggingface_hub.errors import OfflineModeIsEnabled
from lerobot_checkpoints import kinds, save_policy
from offboard_client.errors import LoadFailed
from offboard_lerobot.loader import LeRobotLoader, LeRobotOptions
from offboard_lerobot.offline import offline
from offboard_lerobot.registry import LeRobotRegistry
from waits import PATIENCE


@pytest.fixture
def online(monkeypatch, hub):
    """As where nobody has switched the network off, and this is the Hub."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", hub.url)
    hub.push({"tokenizer.json": b"{}"})
    return hub


def looked_up(hub):
    return huggingface_hub.HfApi(endpoint=hub.url).repo_info("org/cubes").sha


def test_one_thread_asks_nobody_while_another_does(online, tmp_path):
    commit = looked_up(online)
    others = []
    asked = len(online.requests)
    with offline() as absent:
        for _ in range(2):
            with pytest.raises(OfflineModeIsEnabled):
                looked_up(online)
            with pytest.raises(Exception, match="cannot find the requested files") as raised:
                huggingface_hub.hf_hub_download("org/cubes", "tokenizer.json", cache_dir=tmp_path, endpoint=online.url)
            assert absent.of(raised.value) == (
                "tokenizer.json of 'org/cubes' is not on this machine, and nothing is fetched at a load. "
                "Fetch it once: hf download org/cubes"
            )
        assert len(online.requests) == asked
        thread = threading.Thread(target=lambda: others.append(looked_up(online)))
        thread.start()
        thread.join(PATIENCE)
        assert others == [commit]
        with pytest.raises(OfflineModeIsEnabled):
            looked_up(online)
    assert looked_up(online) == commit, "the thread may ask again when it has loaded"
    assert [*tmp_path.rglob("tokenizer.json")] == []


def test_who_has_switched_the_network_off_finds_it_off(online, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with offline():
        pass
    asked = len(online.requests)
    with pytest.raises(OfflineModeIsEnabled):
        looked_up(online)
    assert len(online.requests) == asked


def test_a_failed_load_that_was_told_what_is_absent_keeps_no_error(online, tmp_path):
    import diffusers

    with offline() as absent:
        with pytest.raises(Exception, match="cannot find the requested files") as raised:
            huggingface_hub.hf_hub_download("org/cubes", "x", cache_dir=tmp_path, revision="v1", endpoint=online.url)
        assert absent.of(raised.value).endswith("hf download org/cubes --revision v1")
        with pytest.raises(OSError, match="no file named scheduler_config") as made:
            diffusers.DDPMScheduler.from_pretrained(tmp_path)
        told = absent.of(made.value)
        assert told.startswith("OSError: Error no file named scheduler_config.json found in directory")
        assert told.endswith(
            ". Of 'org/cubes' were looked for, and are not on this machine: x. "
            "Fetch it once: hf download org/cubes --revision v1"
        )
        assert absent.of(ValueError("num_inference_steps is 0")) is None, "no file of the Hub is to blame for that"
    assert absent.of(raised.value) is None


@pytest.fixture(scope="module")
def smolvla(lerobot, tmp_path_factory):
    return save_policy(tmp_path_factory.mktemp("smolvla") / "pretrained_model", "smolvla", 4)


@pytest.fixture
def cache(smolvla, tmp_path, online):
    """The Hub's cache with what the tests have of it, to take from, where the network is on."""
    here = tmp_path / "hub"
    shutil.copytree(huggingface_hub.constants.HF_HUB_CACHE, here)
    import transformers.utils.hub

    # Undone in the other order, one by one, or the tests after these would find the network on.
    with lerobot_backbones.in_use(here), contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(huggingface_hub.constants, "HF_HUB_OFFLINE", False))
        if hasattr(transformers.utils.hub, "_is_offline_mode"):
            stack.enter_context(mock.patch.object(transformers.utils.hub, "_is_offline_mode", False))
        yield here


def load(folder):
    [checkpoint] = LeRobotRegistry(str(folder)).checkpoints()
    return LeRobotLoader(LeRobotOptions(device="cpu")).load(checkpoint, lambda _: None)


@pytest.mark.skipif("smolvla" not in kinds(), reason="SmolVLA wants transformers")
@pytest.mark.parametrize("file", ["config.json", "tokenizer.json"])
def test_a_cache_that_is_half_filled_is_not_filled_by_a_load(smolvla, cache, online, file):
    load(smolvla).close()
    assert online.requests == [], "what is whole is not asked for"
    [absent] = (cache / "models--tiny--smolvlm" / "snapshots").glob(f"*/{file}")
    absent.unlink()
    with pytest.raises(LoadFailed) as raised:
        load(smolvla)
    assert online.requests == []
    assert file in raised.value.text
    assert "hf download tiny/smolvlm" in raised.value.text
    assert not absent.exists()
