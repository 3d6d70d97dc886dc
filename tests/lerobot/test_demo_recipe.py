"""The model that ``offboard demo --vendor lerobot`` offers is that of ``examples/sim_stack``, and can be made."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from offboard_lerobot import demo
from offboard_process import in_process

EXAMPLE = Path(__file__).parents[2] / "examples" / "sim_stack" / "run.sh"
#: Of a model that shows how the parts fit, and not that it learns.
SMALL = {
    "--episodes": "1", "--num-train-steps": "2", "--save_freq": "2", "--batch_size": "2", "--num_workers": "0",
    "--scheduler.num_warmup_steps": "1",
}  # fmt: skip


def said(name: str) -> list[str]:
    """The words of the example's ``offboard NAME``, its folder as the recipe writes it."""
    text = EXAMPLE.read_text("utf-8").replace("\\\n", " ").replace('"$folder/', '"{folder}/')
    found = re.search(rf"offboard ({name} .*?)(?:$| \|\| | &$)", text, re.MULTILINE)
    assert found, f"the example runs no offboard {name}"
    return shlex.split(found[1])


def test_it_is_made_as_the_example_makes_it() -> None:
    assert [list(command) for command in demo.RECIPE.commands] == [said(name) for name in ("run", "convert", "train")]


def test_it_asks_for_no_variable_that_may_not_be_there() -> None:
    assert not [word for command in demo.RECIPE.commands for word in command if word.endswith("-env")]


def test_it_is_played_as_the_example_plays_it() -> None:
    serve, evaluate = said("serve"), said("evaluate")
    assert list(demo.RECIPE.serve) == serve[serve.index("{folder}/run") + 1 : serve.index("--port")]
    played = {name: float(evaluate[evaluate.index(f"--{name.replace('_', '-')}") + 1]) for name in demo.RECIPE.options}
    assert played == demo.RECIPE.options
    assert demo.RECIPE.checkpoints == "run"


@pytest.mark.slow
def test_it_is_made_and_played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def small(command: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(SMALL.get(before, word) for before, word in zip(("", *command), command, strict=False))

    monkeypatch.setattr(demo, "RECIPE", replace(demo.RECIPE, commands=tuple(map(small, demo.RECIPE.commands))))
    monkeypatch.setenv("OFFBOARD_CACHE", str(tmp_path))
    done = in_process("demo", "--vendor", "lerobot", "--make", "--episodes", "1", "--seconds", "0.5", "--json")
    assert done.returncode == 1, done.stderr
    assert '"episodes": 1' in done.stdout
    assert "3 of 3: offboard train" in done.stderr
