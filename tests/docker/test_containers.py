"""The container files, as far as they can be checked without a container engine."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from offboard_client.cli import main
from offboard_core.catalog import expand
from offboard_core.cli import parse_serve
from offboard_core.plugins import CODEC, LOADER, Plugins

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
COMPOSE = yaml.safe_load((DOCKER / "compose.yaml").read_text("utf-8"))
SERVICES = COMPOSE["services"]
SERVERS = ["openpi-server", "lerobot-server", "groot-server"]
#: Those that have a GPU, and which of them can do without: GR00T trains on none.
MODELS = [*SERVERS, "openpi-stats", "openpi-train", "groot-train", "lerobot-train"]
TWINS = [name for name in MODELS if name != "groot-train"]
DOCKERFILES = sorted(DOCKER.glob("Dockerfile.*"))


def has_compose():
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0


def dockerfile(service):
    return (DOCKER / service["build"]["context"] / service["build"]["dockerfile"]).resolve()


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_a_dockerfile_is_well_written(path):
    linter = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([linter, path], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(not has_compose(), reason="docker compose is not installed")
def test_compose_takes_the_file():
    done = subprocess.run(
        ["docker", "compose", "-f", DOCKER / "compose.yaml", "config", "--quiet"],
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_the_services_are_built_of_the_dockerfiles_that_are_there():
    assert set(SERVICES) == {"demo", "positronic-to-lerobot", *MODELS, *(f"{name}-cpu" for name in TWINS)}
    built = {
        (DOCKER / service["build"]["context"] / service["build"]["dockerfile"]).resolve()
        for service in SERVICES.values()
    }
    assert sorted(built) == DOCKERFILES


@pytest.mark.parametrize("name", MODELS)
def test_a_service_has_the_gpu_and_a_twin_on_a_laptop_none(name):
    """Docker starts no container that reserves a driver which is not there."""
    service = SERVICES[name]
    (device,) = service["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])
    assert "profiles" not in service
    if name in TWINS:
        assert SERVICES[f"{name}-cpu"] == {**service, "deploy": {}, "profiles": ["cpu"]}


def test_data_sets_are_converted_without_a_gpu_by_the_image_that_has_every_vendors_codecs():
    service = SERVICES["positronic-to-lerobot"]
    assert "deploy" not in service
    assert service["entrypoint"] == ["offboard", "convert"]
    text = dockerfile(service).read_text("utf-8")
    for package in ("offboard_lerobot-*.whl)[lerobot]", "offboard_openpi-*.whl", "offboard_gr00t-*.whl"):
        assert package in text
    assert "offboard_core-*.whl)[convert,s3]" in text


def test_the_demo_needs_no_gpu_and_plays(capsys):
    assert "deploy" not in SERVICES["demo"]
    assert "profiles" not in SERVICES["demo"]
    command, *given = SERVICES["demo"]["entrypoint"]
    assert command == "offboard"
    assert main([*given, "--episodes", "1", "--seconds", "1", "--json"]) == 1, "nothing is stacked in a second"
    assert json.loads(capsys.readouterr().out)["episodes"] == 1


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_the_hosts_user_and_its_folders(name):
    service = SERVICES[name]
    assert service["user"] == "${HOST_UID:-1000}:${HOST_GID:-1000}"
    assert service["env_file"] == [{"path": ".env.wandb", "required": False}]
    home = re.search(r"HOME=(\S+)", Path(DOCKER / service["build"]["dockerfile"].removeprefix("docker/")).read_text())[
        1
    ]
    inside = [volume.rpartition(":")[2] for volume in service["volumes"]]
    assert inside == [f"{home}/checkpoints", f"{home}/datasets", f"{home}/.cache"]
    outside = [volume.rpartition(":")[0] for volume in service["volumes"]]
    assert outside == ["${HOME}/checkpoints", "${HOME}/datasets", "${CACHE_ROOT:-${HOME}/.cache}"]


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_is_reached_from_outside_and_says_when_it_is_ready(name):
    service = SERVICES[name]
    assert service["ports"] == ["8000:8000"]
    assert service["entrypoint"][service["entrypoint"].index("--host") + 1] == "0.0.0.0"
    kind, python, flag, code = service["healthcheck"]["test"]
    assert (kind, python, flag) == ("CMD", "python", "-c")
    compile(code, "healthcheck", "exec")
    assert "http://127.0.0.1:8000/readyz" in code


def parsed(name, *arguments):
    """The command line of a service, as ``offboard serve`` reads it."""
    command, subcommand, *given = SERVICES[name]["entrypoint"]
    assert (command, subcommand) == ("offboard", "serve")
    return parse_serve([*given, *arguments], Plugins.discover())


@pytest.mark.parametrize(
    ("name", "arguments", "location", "codec"),
    [
        (
            "openpi-server",
            "--checkpoints_dir=/checkpoints/openpi/pi05_positronic_lowmem/experiment_v1/",
            "/checkpoints/openpi/pi05_positronic_lowmem/experiment_v1",
            None,
        ),
        (
            "openpi-server",
            "--codec=@positronic.vendors.openpi.codecs.ee_joints --checkpoints_dir=/checkpoints/run/",
            "/checkpoints/run",
            "openpi.ee_joints",
        ),
        (
            "openpi-server",
            "--codec=@positronic.vendors.openpi.codecs.droid --config_name=pi05_droid --openpi_ws_port=8001 "
            "--checkpoints-dir /checkpoints/run --checkpoint 1000 --port 8000",
            "/checkpoints/run",
            "openpi.droid",
        ),
        (
            "openpi-server",
            "--checkpoints_dir=~/checkpoints/openpi/experiment_v1/ --codec=@positronic.vendors.openpi.codecs.ee",
            "/home/offboard/checkpoints/openpi/experiment_v1",
            "openpi.ee",
        ),
        (
            "lerobot-server",
            "--checkpoints_dir=~/checkpoints/lerobot/experiment_v1/ --codec=@positronic.vendors.lerobot.codecs.ee",
            "/home/offboard/checkpoints/lerobot/experiment_v1",
            "lerobot.ee",
        ),
        (
            "groot-server",
            "ee_rot6d_joints --checkpoints_dir=~/checkpoints/groot/experiment_v1/",
            "/home/offboard/checkpoints/groot/experiment_v1",
            "gr00t.ee_rot6d_joints",
        ),
    ],
)
def test_positronics_command_lines_serve(monkeypatch, name, arguments, location, codec):
    monkeypatch.setenv("HOME", "/home/offboard")
    options = parsed(name, *arguments.split())
    assert expand(options.serve.checkpoints_dir) == location
    assert options.serve.host == "0.0.0.0"
    vendor = options.serve.vendor
    if codec is not None:
        plugins = Plugins.discover()
        said = plugins.get(LOADER, vendor).entry.variants.get(options.variant, {"codec": options.serve.codec})
        assert plugins.get(CODEC, said["codec"], vendor).name == codec


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("openpi-stats", "--input_path=/data/my_lerobot_data --output_path=/data/openpi_assets"),
        (
            "openpi-train",
            "--input_path=/data/my_lerobot_data --stats_path=/data/openpi_assets/assets/ "
            "--output_path=/checkpoints/openpi "
            "--exp_name=experiment_v1 --config_name=pi05_positronic_lowmem --num_train_steps=10 --resume=True",
        ),
        (
            "lerobot-train",
            "--input_path=/data/my_lerobot_data --exp_name=experiment_v1 --output_dir=/checkpoints/lerobot "
            "--codec=@positronic.vendors.lerobot.codecs.ee --num_train_steps=10 --backbone=resnet18 --resume=True",
        ),
        (
            "groot-train",
            "--input_path=/data/my_lerobot_data --output_path=/checkpoints/groot --exp_name=experiment_v1 "
            "--modality_config=ee_rot6d_q_rel --num_train_steps=10 --learning_rate=1e-4 --save_steps=5 --num_workers=4 "
            "--resume=True",
        ),
    ],
)
def test_positronics_command_lines_train(capsys, name, arguments):
    command, subcommand, *given = SERVICES[name]["entrypoint"]
    assert command == "offboard"
    assert main([subcommand, *given, "--help"]) == 0
    described = capsys.readouterr().out
    for argument in arguments.split():
        assert f"{argument.partition('=')[0].replace('_', '-')} " in described.replace("\n", " ")


def test_the_pythons_of_openpi_are_where_the_image_has_them():
    text = (DOCKER / "Dockerfile.openpi").read_text("utf-8")
    root = re.search(r"OPENPI_ROOT=(\S+)", text)[1]
    for name in ("openpi-server", "openpi-stats", "openpi-train"):
        assert f"{root}/.venv/bin/python" in SERVICES[name]["entrypoint"]
    assert f"COPY --from=openpi {root} {root}" in text


def test_gr00t_is_where_the_image_has_it():
    """There its loader looks for it, and for its Python beside it."""
    text = (DOCKER / "Dockerfile.gr00t").read_text("utf-8")
    root = re.search(r"GR00T_ROOT=(\S+)", text)[1]
    assert f"WORKDIR {root}\nRUN git init" in text
    assert "uv sync --frozen\n" in text
    assert "VIRTUAL_ENV" not in text
    assert "UV_PROJECT_ENVIRONMENT" not in text


def test_gr00ts_server_without_a_gpu_asks_one_that_runs_elsewhere():
    command, subcommand, *given = SERVICES["groot-server-cpu"]["entrypoint"]
    assert (command, subcommand) == ("offboard", "serve")
    options = parse_serve([*given, "--attach=tcp://gpu-box:5555"], Plugins.discover())
    assert options.vendor.attach == "tcp://gpu-box:5555"


def test_the_images_are_built_of_what_the_build_context_holds():
    kept = [line[1:] for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line.startswith("!")]
    assert {"pyproject.toml", "requirements.lock", "offboard-*"} <= set(kept)
    workspace = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["uv"]["workspace"]
    assert set(workspace["members"]) <= set(kept)


def test_nothing_names_a_package_registry():
    for path in [*DOCKERFILES, DOCKER / "compose.yaml"]:
        text = path.read_text("utf-8")
        assert not re.search(r"index-url|extra-index|--index|pypi|simple/", text, re.IGNORECASE), path.name


def test_wandbs_key_is_never_committed():
    assert "docker/.env*" in (ROOT / ".gitignore").read_text("utf-8").split()
