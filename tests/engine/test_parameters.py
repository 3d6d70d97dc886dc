from dataclasses import dataclass

import numpy as np
import pytest
from model_bench import run
from offboard_client.errors import BadParameter
from puppets import Puppet, source
from service_bed import open_session, serving

X = {"x": np.zeros(3)}


@dataclass(frozen=True)
class Params:
    """What a session may tune."""

    temperature: float = 1.0
    mode: str = "fast"


def tunable():
    return Puppet(params=Params)


@pytest.mark.rule("Q-1", "Q-2")
def test_parameters_reach_the_policy_as_json_or_as_text():
    async def main():
        async with serving(source({"a": tunable})) as service:
            session = await open_session(service, None, ("temperature", "0.5"), ("mode", "slow and steady"))
            assert session.pipeline.session.params == Params(temperature=0.5, mode="slow and steady")
            assert (await open_session(service)).pipeline.session.params == Params()

    run(main())


@pytest.mark.rule("Q-5")
@pytest.mark.parametrize(
    ("params", "says"),
    [
        ([("temprature", "1")], r"parameter 'temprature'; did you mean temperature\? there are: codec\.fps, .*mode"),
        ([("fps", "10")], r"no session parameter 'fps'; did you mean codec\.fps\?"),
        ([("temperature", "warm")], "temperature"),
        ([("temperature", "1"), ("temperature", "1")], "given twice"),
        ([("codec.fsp", "10")], "fps"),
        ([("codec.fps", "10"), ("codec.fps", "10")], "given twice"),
        ([("mode", "{")], None),
    ],
)
def test_a_parameter_that_does_not_exist_or_fit_is_refused_and_the_slot_is_free(params, says):
    async def main():
        async with serving(source({"a": tunable})) as service:
            if says is None:
                assert (await open_session(service, None, *params)).pipeline.session.params.mode == "{"
                return
            with pytest.raises(BadParameter, match=says):
                await open_session(service, None, *params)
            assert service.sessions == {}
            assert service.slot.loaded is None or not service.slot.loaded.leases

    run(main())


@pytest.mark.rule("Q-1", "M-10")
def test_a_codecs_option_changes_this_session_alone():
    async def main():
        async with serving(source({"a": Puppet}, fps=15)) as service:
            usual, slower = await open_session(service), await open_session(service, None, ("codec.fps", "10"))
            assert (usual.meta["action_fps"], slower.meta["action_fps"]) == (15, 10)
            assert usual.meta["spec_hash"] != slower.meta["spec_hash"]
            assert usual.meta == (await open_session(service)).meta

    run(main())


@pytest.mark.rule("Q-3")
def test_a_parameter_never_names_a_path():
    from pathlib import Path

    @dataclass(frozen=True)
    class WithPath:
        statistics: Path = Path("stats.json")

    async def main():
        async with serving(source({"a": lambda: Puppet(params=WithPath)})) as service:
            with pytest.raises(BadParameter, match="statistics"):
                await open_session(service, None, ("statistics", "/etc/passwd"))

    run(main())
