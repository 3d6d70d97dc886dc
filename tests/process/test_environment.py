"""A child gets the variables it needs, and no secret that nobody named."""

import json
import os
import sys

import pytest
from offboard_core.process import Child

#: What a server's environment may hold that is none of a vendor's business.
SECRETS = {
    "OFFBOARD_AUTH_TOKEN": "correct-horse",
    "AWS_SECRET_ACCESS_KEY": "s3cret",
    "DATABASE_URL": "postgres://me:s3cret@db",
    "CUDA_LICENCE_KEY": "s3cret",
    "XDG_SESSION_COOKIE": "s3cret",
    "NCCL_MIRROR": "https://me:s3cret@mirror",
}
NEEDED = {"CUDA_VISIBLE_DEVICES": "1", "LC_ALL": "C.UTF-8", "HTTPS_PROXY": "http://me:pw@proxy:3128", "TMPDIR": "/tmp"}


def environment(**more):
    """What a child sees."""
    code = "import json, os; print(json.dumps(dict(os.environ)))"
    with Child([sys.executable, "-c", code], name="vendor", **more) as child:
        assert child.wait(240)
        child.death()  # waits for the end of its log
        return json.loads(child.last_line)


@pytest.fixture(autouse=True)
def server(monkeypatch):
    for name, value in {**SECRETS, **NEEDED, "JAX_PLATFORMS": "cpu", "JAX_AUTH": "s3cret"}.items():
        monkeypatch.setenv(name, value)


def test_it_gets_what_any_program_needs():
    seen = environment()
    assert {name: seen.get(name) for name in NEEDED} == NEEDED
    assert seen["PATH"] == os.environ["PATH"]
    assert seen["PYTHONUNBUFFERED"] == "1"


def test_it_gets_no_secret_and_nothing_that_nobody_named():
    seen = environment()
    assert not SECRETS.keys() & seen.keys()
    assert "JAX_PLATFORMS" not in seen


def test_what_is_named_comes_too():
    seen = environment(
        inherit=["JAX_*", "AWS_SECRET_ACCESS_KEY", "NOT_SET", "OFFBOARD_AUTH_TOKEN"], env={"MEMORY": "0.5"}
    )
    assert (seen["JAX_PLATFORMS"], seen["AWS_SECRET_ACCESS_KEY"], seen["MEMORY"]) == ("cpu", "s3cret", "0.5")
    assert not {"JAX_AUTH", "NOT_SET", "OFFBOARD_AUTH_TOKEN"} & seen.keys()
