import json
import re
import shutil
import signal
import socket
import subprocess
from urllib.request import urlopen

import numpy as np
import pytest
from offboard_client import InferenceClient, Unauthorized
from offboard_core.server import reachable
from offboard_process import LIMIT, command, environment, in_process, serving
from plugin_dists import write_plugin
from toy_vendor import TOY, write_runs

Q = {"robot_state.q": np.zeros(2, np.float32)}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the toy vendor installed and a training run of its own."""
    place = tmp_path_factory.mktemp("toy")
    write_plugin(place, "toy", TOY)
    write_runs(place / "runs", "000100", "000200")
    (place / "runs" / "000300").mkdir()
    return place


def first_joints(info):
    with InferenceClient(info["url"]) as client, client.new_session() as session:
        rows = session.infer(Q)
        return session.metadata, [row["action"]["target_joints"].tolist() for row in rows]


@pytest.mark.rule("A-5")
def test_one_source_by_flags(place):
    with serving("--checkpoints-dir", place / "runs", path=place) as (process, info):
        assert info == {
            "url": f"ws://127.0.0.1:{info['port']}",
            "host": "127.0.0.1",
            "port": info["port"],
            "pid": process.pid,
            "models": ["000100", "000200"],
            "default": "000200",
            "frontends": info["frontends"],
            "listeners": {},
        }
        meta, joints = first_joints(info)
        assert (meta["type"], meta["checkpoint_id"], meta["codec"], meta["codec_source"]) == (
            "toy", "000200", "toy.shift", "default",
        )  # fmt: skip
        assert joints == [[1.0, 1.0]] * 3
        process.send_signal(signal.SIGTERM)
        rest, _ = process.communicate()
        assert rest == "", "stdout holds one JSON object and nothing else"
        assert process.returncode == 0


def test_every_option_reaches_its_place(place):
    """The vendor's own, the codec's, a map entry; hyphens and underscores; --flag=True; a home after an equals sign."""
    arguments = [
        "--vendor=toy", f"--checkpoints_dir={place}/runs", "--checkpoint", "100", "--codec", "shift", "--fps", "10",
        "--gain", "2", "--loud=True", "--assets=~/a", "--codec.offset", "0.5", "--codec.map", "robot_state.q=state",
    ]  # fmt: skip
    with serving(*arguments, path=place, HOME="/home/somebody") as (_, info):
        meta, joints = first_joints(info)
    assert meta["checkpoint_id"] == "000100"
    assert meta["codec_source"] == "option"
    assert meta["action_fps"] == 10.0
    assert (meta["loud"], meta["assets"]) == (True, "a")
    assert joints == [[2.5, 2.5]] * 3


def test_several_sources_from_a_file(place):
    file = place / "models.toml"
    file.write_text(
        '[two]\ncheckpoints_dir = "runs"\nisolate = true\noptions = { gain = 2 }\n'
        'codec_options = { map = { "robot_state.q" = "state" } }\n'
        '[demo]\nvendor = "scripted"\nreplicas = 2\n'
    )
    with serving(file, path=place) as (_, info):
        with InferenceClient("127.0.0.1", info["port"]) as client:
            client.new_session("demo/scripted").close()
        with urlopen(f"http://127.0.0.1:{info['port']}/api/v1/status") as answer:
            assert len(json.load(answer)["replicas"]) == 2
        assert info["models"] == ["two/000100", "two/000200", "demo/scripted"]
        meta, joints = first_joints(info)
    assert meta["checkpoint_id"] == "two/000200"
    assert joints == [[2.0, 2.0]] * 3


@pytest.mark.rule("A-6")
def test_the_client_line_is_printed_for_people():
    process = subprocess.Popen(
        [command(), "serve", "--vendor", "scripted", "--port", "0"],
        env=environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    with process.stdout:
        lines = [process.stdout.readline() for _ in range(5)]
        process.terminate()
        process.wait(LIMIT)
    port = re.fullmatch(r"listening on ws://127\.0\.0\.1:([0-9]+) with scripted\n", lines[0])[1]
    assert lines[2] == f"  offboard run sim 127.0.0.1:{port}\n"
    assert lines[3] == f'  session = offboard_client.InferenceClient("127.0.0.1:{port}").new_session()\n'


def test_a_token_from_a_file_is_asked_for(tmp_path):
    secret = tmp_path / "token"
    secret.write_text("correct-horse\n")
    with serving("--vendor", "scripted", "--auth-token-file", secret) as (_, info):
        with pytest.raises(Unauthorized):
            InferenceClient(info["url"]).list_models()
        assert in_process("models", info["url"]).returncode == 1
        assert in_process("models", info["url"], "--auth-token-file", secret).stdout == "scripted\n"
        assert in_process("models", info["url"], OFFBOARD_AUTH_TOKEN="correct-horse").stdout == "scripted\n"


@pytest.mark.rule("A-7")
def test_listening_beyond_loopback_without_a_token_is_warned_about():
    with serving("--vendor", "scripted", "--host", "0.0.0.0") as (process, info):
        assert info["url"] == reachable("0.0.0.0", info["port"], secure=False)[0]
        process.terminate()
        _, log = process.communicate()
        assert "listening on 0.0.0.0 without a token" in log
    with serving("--vendor", "scripted", "--host", "0.0.0.0", OFFBOARD_AUTH_TOKEN="x") as (process, _):
        process.terminate()
        assert "without a token" not in process.communicate()[1]


def refused(*arguments, path=None, status=1, **env):
    """What ``offboard serve`` says to arguments it refuses: one line on stderr, nothing on stdout."""
    done = in_process("serve", *arguments, "--port", "0", path=path, **env)
    assert done.returncode == status, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return done.stderr


def test_a_place_that_is_missing_or_empty(place, tmp_path):
    typo = refused("--vendor", "toy", "--checkpoints-dir", place / "rnus", path=place)
    assert f"rnus does not exist; did you mean {place}/runs?" in typo
    empty = refused("--vendor", "toy", "--checkpoints-dir", tmp_path, path=place)
    assert f"there is no complete checkpoint in {tmp_path}: it holds nothing; expected folders called <number>" in empty
    (tmp_path / "000100").mkdir()
    half = refused("--vendor", "toy", "--checkpoints-dir", tmp_path, path=place)
    assert "000100 is incomplete" in half
    assert "no installed vendor recognises the files in" in refused("--checkpoints-dir", tmp_path, path=place)


def test_files_of_another_vendor_are_told_whose_they_are(place):
    text = refused("--vendor", "openpi", "--checkpoints-dir", place / "runs", path=place)
    assert "no complete checkpoint" in text
    assert "these files are toy's: serve them with --vendor toy" in text


def test_names_that_do_not_exist(place):
    assert "there is no vendor 'tyo'; did you mean toy?" in refused("--vendor", "tyo", path=place)
    runs = ("--vendor", "toy", "--checkpoints-dir", place / "runs")
    assert "there is no codec 'shfit'; did you mean toy.shift?" in refused(*runs, "--codec", "shfit", path=place)
    assert "there is no model '7' here; there are: 000100, 000200" in refused(*runs, "--checkpoint", "7", path=place)
    assert "no option 'ofset' of the codec toy.shift; did you mean offset?" in refused(
        *runs, "--codec", "shift", "--codec.ofset", "1", path=place
    )
    flag = refused(*runs, "--gian", "2", path=place, status=2)
    assert "--gian" in flag
    assert "--gain" in flag


def test_values_that_make_no_sense(place):
    assert "--port 70000 is no port" in in_process("serve", "--vendor", "scripted", "--port", "70000").stderr
    assert "--infer-timeout 0.0 is not above 0" in refused("--vendor", "scripted", "--infer-timeout", "0", status=2)
    assert "belong together" in refused("--vendor", "scripted", "--ssl-certfile", "x.pem", status=2)
    assert "cannot be read" in refused("--vendor", "scripted", "--auth-token-file", place / "none")
    pems = ("--ssl-certfile", place / "cert.pem", "--ssl-keyfile", place / "key.pem")
    assert "are no certificate and its key" in refused("--vendor", "scripted", *pems)
    assert "the token is empty" in refused("--vendor", "scripted", OFFBOARD_AUTH_TOKEN="")
    assert "--codec.offset needs a value" in refused("--vendor", "scripted", "--codec.offset", status=2)
    expected = "the vendor scripted has no such words as map: leave it away; --codec names a codec"
    assert expected in refused("--vendor", "scripted", "map", status=2)
    assert "say what to serve" in refused()
    toy = ("--vendor", "toy", "--checkpoints-dir", place / "runs")
    assert "the vendor toy refuses its options: gain is -1.0" in refused(*toy, "--gain", "-1", path=place, status=2)
    assert "fps is nan" in refused(*toy, "--fps", "nan", path=place)
    assert "replicas is 0; expected a whole number" in refused("--vendor", "scripted", "--replicas", "0")
    assert "is no program that can be run; expected an interp" in refused("--vendor", "scripted", "--python", "/none")
    true = shutil.which("true")
    assert f"{true} is no Python: it exited with code 0" in refused("--vendor", "scripted", "--python", true)
    assert "python is empty; expected an interpreter" in refused("--vendor", "scripted", "--python", "")
    assert "can be inherited by a worker only" in refused("--vendor", "scripted", "--inherit", "HOME")
    assert "NONE_SUCH, which is not set" in refused("--vendor", "scripted", "--isolate", "--inherit", "NONE_SUCH")
    (place / "python.toml").write_text('[act]\nvendor = "scripted"\npython = "./none"\n')
    assert f"[act]: python is {place}/none, and" in refused(place / "python.toml").replace("\n", " ")


def test_a_port_in_use():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = in_process("serve", "--vendor", "scripted", "--port", port)
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in done.stderr
    assert "choose another --port" in done.stderr


def test_a_file_that_is_wrong(tmp_path):
    file = tmp_path / "models.toml"
    file.write_text("[act\n")
    assert f"{file} is not TOML" in refused(file)
    file.write_text('[act]\nvendro = "scripted"\n')
    assert "[act]: there is no key 'vendro'; did you mean vendor?" in refused(file)
    assert "cannot be read: No such file" in refused(tmp_path / "nothing.toml")
    assert "--fps cannot be combined with" in refused(file, "--fps", "10", status=2)
    assert f"{tmp_path} is a folder: --checkpoints-dir {tmp_path}" in refused(tmp_path, "--fps", "10", status=2)
    assert "give either" in refused(file, "--vendor", "scripted", status=2)


def test_a_plugin_that_raises_at_import_is_an_error_only_if_asked_for(place):
    write_plugin(place / "more", "bad", "raise RuntimeError('no CUDA')")
    with serving("--vendor", "scripted", path=place / "more") as (process, _):
        process.terminate()
        log = process.communicate()[1]
        assert log.count("the plugin bad (dist-bad 1.0) cannot be used: RuntimeError: no CUDA") == 1
    assert "the plugin bad (dist-bad 1.0) is broken: RuntimeError: no CUDA" in refused(
        "--vendor", "bad", path=place / "more"
    )


def test_two_plugins_of_one_name(tmp_path):
    write_plugin(tmp_path, "twin", TOY, dist="dist-one")
    write_plugin(tmp_path, "twin", TOY, dist="dist-two")
    text = refused("--vendor", "twin", path=tmp_path)
    assert "2 plugins are called 'twin': twin (dist-one 1.0), twin (dist-two 1.0)" in text
    rows = json.loads(in_process("plugins", "--json", path=tmp_path).stdout)["plugins"]
    assert [(r["distribution"], bool(r["cause"])) for r in rows if r["name"] == "twin"] == [
        ("dist-one", True), ("dist-two", True),
    ]  # fmt: skip
    assert next(r for r in rows if r["name"] == "scripted")["cause"] is None


def test_a_plugin_whose_options_clash_with_cores_is_named(tmp_path):
    write_plugin(tmp_path, "toy", TOY.replace("gain: float", "port: float").replace(".gain", ".port"))
    text = refused("--vendor", "toy", "--checkpoints-dir", tmp_path, path=tmp_path)
    assert "the plugin toy (dist-toy 1.0) declares options that are core's own: port" in text


def test_vendor_help_shows_the_vendors_options(place):
    done = in_process("serve", "--vendor", "toy", "--help", path=place)
    assert done.returncode == 0
    assert "--gain" in done.stdout
    assert "What the answer is multiplied with." in done.stdout
    assert "--checkpoints-dir" in done.stdout
