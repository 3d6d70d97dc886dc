"""What a checkpoint of GR00T says of itself, before anything is loaded."""

from typing import Any

import pytest
from offboard_gr00t.generation import Generation


@pytest.mark.parametrize(
    ("config", "generation"),
    [
        ({"model_type": "gr00t_n1_5", "architectures": ["GR00T_N1_5"]}, Generation.N1_5),
        ({"architectures": ["GR00T_N1_5"]}, Generation.N1_5),
        ({"model_type": "Gr00tN1d6"}, Generation.N1_6),
        ({"model_type": "Gr00tN1d7", "architectures": ["Gr00tN1d7"]}, Generation.N1_7),
        ({"model_type": "pi0"}, None),
        ({"model_type": ["Gr00tN1d7"], "architectures": "GR00T_N1_5"}, None),
    ],
)
def test_the_config_names_the_generation(config: dict[str, Any], generation: Generation | None) -> None:
    assert Generation.of(config) is generation
