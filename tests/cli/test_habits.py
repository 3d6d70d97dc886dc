import pytest
from offboard_client.cli import main
from offboard_client.terminal import HABITS
from offboard_core.plugins import LOADER, Plugins


@pytest.mark.parametrize(
    ("arguments", "here"),
    [
        (["serve", "--policy.path=outputs/x"], "--checkpoints-dir FOLDER"),
        (["serve", "--pretrained_policy_name_or_path", "lerobot/act"], "--checkpoints-dir FOLDER"),
        (["serve", "policy:checkpoint", "--policy.config=pi0"], "--checkpoints-dir FOLDER"),
        (["serve", "--policy.config", "pi0"], "--config-name NAME"),
        (["serve", "--policy.dir=x"], "--checkpoints-dir FOLDER"),
        (["serve", "--vendor", "scripted", "--model_path", "x"], "--checkpoints-dir FOLDER"),
        (["run", "--robot.type=so101", "--policy.path=x"], "offboard run sim HOST:PORT"),
        (["run", "sim", "--policy.path=x"], "--checkpoints-dir FOLDER"),
        (["run", "sim", "--policy=.remote", "--simulate_timeout=True"], "--clock real"),
    ],
)
def test_a_flag_of_another_project_is_answered_with_what_it_is_here(arguments, here, capsys):
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("offboard: ")
    assert "is a flag of" in err
    assert here in err


@pytest.mark.parametrize("command", ["models", "probe", "bench", "run sim"])
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--host", "gpu-box"], "there is no --host; the server is one argument: offboard {} HOST:PORT"),
        (["--server=gpu-box:8000"], "there is no --server; the server is one argument: offboard {} HOST:PORT"),
        (["gpu-box", "9000"], "gpu-box 9000: the server is one argument: offboard {} gpu-box:9000"),
    ],
)
def test_an_address_in_another_form_is_answered_with_the_one_there_is(command, arguments, says, capsys):
    assert main([*command.split(), *arguments]) == 2
    assert capsys.readouterr() == ("", f"offboard: {says.format(command)}\n")


def test_no_vendor_has_an_option_of_that_name():
    ours = {
        f"--{name.replace('_', '-')}"
        for o in Plugins.discover().offers(LOADER)
        for name in o.options().__dataclass_fields__
    }
    assert ours.isdisjoint(HABITS)
