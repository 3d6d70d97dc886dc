"""One thing has one spelling: in every command, with every vendor, in models.toml, and as an argument in Python."""

import dataclasses
import inspect
import re
from importlib.metadata import entry_points

import pytest
from offboard_client import InferenceClient
from offboard_client.cli import main
from offboard_client.drivers import RunLength
from offboard_client.plugins import describe
from offboard_core import InferenceServer
from offboard_core.catalog import KEYS
from offboard_core.plugins import CODEC, FRONTEND, LOADER, TRAINER, Plugins
from offboard_core.server import ServerConfig
from offboard_process import in_process

#: A thing → how it is spelled, and how else people spell it.
SPELLINGS = {
    "the model that a session is with": ("model_id", "model model_name model_path policy_path"),
    "a policy without a server": ("policy", "local_policy policy_name in_process"),
    "where a server is": ("server", "url uri address server_address server_url endpoint"),
    "where a server listens": ("host", "bind interface hostname"),
    "where checkpoints lie": ("checkpoints_dir", "location checkpoint_dir checkpoint_path checkpoints model_dir"),
    "which checkpoint": ("checkpoint", "checkpoint_id checkpoint_name"),
    "whose checkpoints": ("vendor", "framework backend policy_type model_type"),
    "steps per second": ("fps", "action_fps hz rate control_hz frequency"),
    "the token": ("auth_token", "token api_key api_token auth_key"),
    "where the token is": ("auth_token_file", "token_file auth_token_path"),
    "the server's certificate": ("ssl_certfile", "certfile cert tls_cert ssl_cert"),
    "the certificate's key": ("ssl_keyfile", "keyfile key tls_key ssl_key"),
    "how long one inference or answer may take": ("infer_timeout", "inference_timeout request_deadline"),
    "how long to wait for one answer": ("timeout", "max_time deadline"),
    "how many episodes": ("episodes", "num_iterations num_episodes n_episodes iterations"),
    "how long an episode or a measurement lasts": ("seconds", "simulation_time duration episode_seconds"),
    "the instruction": ("task", "prompt instruction default_prompt"),
    "where chance begins": ("seed", "random_seed"),
    "where a model runs": ("device", "policy_device"),
    "how many robots one inference serves": ("max_batch_size", "batch_size max_batch"),
    "how much is logged": ("log_level", "verbose verbosity loglevel"),
    "that machines read the output": ("json", "as_json format output_format"),
    "where training writes": ("output_path", "out"),
    "where episodes are written": ("output_dir", "out_dir record_dir recordings_dir"),
    "what training reads": ("input_path", "dataset dataset_path data_dir"),
    "how images are sent": ("images", "image_format image_compression compress_images"),
    "how robots' names become the model's": ("map", "rename rename_map remap"),
}
#: What a vendor's own training calls a thing, beside our word for it, by whose options this command's are.
THEIRS = {"train --vendor lerobot": {"dataset"}}
TALK_TO_A_SERVER = ["models", "probe", "bench", "doctor", "run sim"]


def helps():
    """The command lines whose help, together, shows every option."""
    for point in entry_points(group="offboard.commands"):
        yield [point.name, "sim"] if point.name in ("run", "evaluate") else [point.name]
    plugins = Plugins.discover()
    for offer in plugins.offers(LOADER):
        yield ["serve", "--vendor", offer.name]
    for offer in plugins.offers(TRAINER):
        yield from (["stats", "--vendor", offer.name], ["train", "--vendor", offer.name])


@pytest.fixture(scope="module")
def offered():
    """A spelling → who offers it."""
    found: dict[str, set[str]] = {}

    def add(where, names):
        for name in names:
            spelling = name.rpartition(".")[2].replace("-", "_")
            if spelling not in THEIRS.get(where, ()):
                found.setdefault(spelling, set()).add(where)

    for command in helps():
        helped = in_process(*command, "--help", COLUMNS="120")  # wider, a long help has two columns
        assert helped.returncode == 0
        shown = helped.stdout
        add(" ".join(command), re.findall(r"^\W* --([a-z][a-z.-]*)", shown, re.MULTILINE))
        positional = re.search(r"^\W*\[?([A-Z]+)\]? {2,}", shown, re.MULTILINE)
        add(" ".join(command), [positional[1].lower()] if positional else [])
    for kind in (CODEC, FRONTEND):
        for offer in Plugins.discover().offers(kind):
            add(f"{kind.heading} {offer.name}", [option.name for option in describe(offer.options())])
    add("models.toml", KEYS)
    for cls in (ServerConfig, RunLength):
        add(cls.__name__, [field.name for field in dataclasses.fields(cls)])
    for made in (InferenceClient, InferenceClient.new_session, InferenceServer):
        add(made.__qualname__, inspect.signature(made).parameters)
    return found


def wrong(found):
    """What is offered under another spelling than its thing's."""
    return [
        f"{', '.join(sorted(found[other]))}: {thing} is {spelling}, not {other}"
        for thing, (spelling, others) in SPELLINGS.items()
        for other in others.split()
        if other in found
    ]


def test_one_thing_has_one_spelling(offered):
    assert wrong(offered) == []
    offered_by_none = {thing for thing, (spelling, _) in SPELLINGS.items() if spelling not in offered}
    assert offered_by_none == set()


def test_another_spelling_would_be_found(offered):
    assert wrong(offered | {"num_iterations": {"run fly"}, "model": {"models.toml"}}) == [
        "models.toml: the model that a session is with is model_id, not model",
        "run fly: how many episodes is episodes, not num_iterations",
    ]


def test_a_thing_is_spelled_alike_by_all_who_ask_for_it(offered):
    several = {"evaluate sim", "validate"}
    assert {*TALK_TO_A_SERVER, *several} == offered["server"]
    assert {"probe", "bench", "doctor", "run sim", "InferenceClient.new_session"} == offered["model_id"]
    assert several == offered["models"]
    assert {"run sim", "demo", "RunLength", *several} == offered["episodes"]
    assert offered["seconds"] >= offered["episodes"]
    assert {"serve", "models.toml"} <= offered["checkpoints_dir"]
    assert {"InferenceClient", "ServerConfig"} == offered["auth_token"]


@pytest.mark.parametrize(
    ("command", "arguments", "meant"),
    [
        *((command, ["--server", "x"], "HOST:PORT") for command in TALK_TO_A_SERVER),
        *((command, ["x", "--token-file", "t"], "--auth-token-file") for command in TALK_TO_A_SERVER),
        *((command, ["x", "--model", "y"], "--model-id") for command in TALK_TO_A_SERVER if command != "models"),
    ],
)
def test_another_spelling_is_answered_with_ours(command, arguments, meant, capsys):
    assert main([*command.split(), *arguments]) == 2
    assert meant in capsys.readouterr().err
