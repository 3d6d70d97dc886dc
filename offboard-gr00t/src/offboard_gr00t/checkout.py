"""GR00T's checkout: where it is, of which generation, and how its server is run."""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path

from offboard_client.errors import ConfigurationError

from .generation import Generation

#: Where GR00T says that it can be had.
_UPSTREAM = "github.com/NVIDIA/Isaac-GR00T"
_SCRIPTS = {
    Generation.N1_5: "scripts/inference_service.py",
    Generation.N1_6: "gr00t/eval/run_gr00t_server.py",
    Generation.N1_7: "gr00t/eval/run_gr00t_server.py",
}
_TRAINING = {
    Generation.N1_5: "scripts/gr00t_finetune.py",
    Generation.N1_6: "gr00t/experiment/launch_finetune.py",
    Generation.N1_7: "gr00t/experiment/launch_finetune.py",
}
#: The folder of its model, of the generations that share a script.
_MODELS = {Generation.N1_6: "gr00t_n1d6", Generation.N1_7: "gr00t_n1d7"}
_SHIM = Path(__file__).with_name("_shim.py")


def script(generation: Generation) -> str:
    """The server's script, from the checkout's root."""
    return _SCRIPTS[generation]


def server(root: Path, generation: Generation, python: str | None, command: str | None) -> list[str]:
    """The command line that runs GR00T's server, to which its own arguments are added.

    ``python``: the interpreter of GR00T's environment; ``command``: what runs a Python script of GR00T's instead, and
    then GR00T may lie in a container. Raises ConfigurationError where it is seen that it cannot run.
    """
    words = _python(root, generation, python, command)
    shim = ["-c", _SHIM.read_text("utf-8")] if generation is Generation.N1_5 else []
    return [*words, *shim, _path(root, script(generation))]


def training_script(generation: Generation) -> str:
    """The training's script, from the checkout's root."""
    return _TRAINING[generation]


def training(root: Path, generation: Generation, python: str | None, command: str | None) -> list[str]:
    """The same as :func:`server`, for GR00T's training."""
    return [*_python(root, generation, python, command), _path(root, training_script(generation))]


def generation_of(root: Path, told: str | None) -> Generation:
    """Of which generation the checkout is. Raises ConfigurationError where that is neither said nor seen."""
    if told is not None:
        return Generation(told)
    found = [generation for generation, name in _MODELS.items() if (root / "gr00t" / "model" / name).is_dir()]
    found += [Generation.N1_5] if (root / _TRAINING[Generation.N1_5]).is_file() else []
    if len(found) == 1:
        return found[0]
    if not root.is_dir():
        raise ConfigurationError(
            f"GR00T is not at {root}: clone it there ({_UPSTREAM}), or say where it is, with --gr00t-root or the "
            "variable GR00T_ROOT; if it lies in a container, say --generation"
        )
    seen = " and ".join(generation.value for generation in found) or "no generation that is known"
    raise ConfigurationError(f"GR00T at {root} looks like {seen}: say with --generation which it is")


def resumes_by_flag(root: Path, generation: Generation) -> bool:
    """Whether its training goes on only if it is told to; others go on wherever a checkpoint lies."""
    try:
        config = (root / "gr00t" / "configs" / "finetune_config.py").read_text("utf-8")
    except (OSError, ValueError):
        # Told one flag too many, it says so and ends; one too few, it would begin anew.
        return generation is Generation.N1_7
    return "resume_from_checkpoint" in config


def _python(root: Path, generation: Generation, python: str | None, command: str | None) -> list[str]:
    if command is not None:
        words = shlex.split(command)
    else:
        _check_there(root, generation)
        words = [_interpreter(python)] if python is not None else _environment(root)
    _check_program(words[0])
    return words


def _interpreter(python: str) -> str:
    """A path, which has a slash, is from the working directory, for GR00T runs in another; a folder is an environment.

    Raises ConfigurationError.
    """
    if "/" not in python:
        return python  # which PATH leads to
    path = Path(os.path.abspath(Path(python).expanduser()))  # links stay: through them an environment is known
    if path.is_dir():
        path = path / "bin" / "python"
    if not path.is_file() or not os.access(path, os.X_OK):
        raise ConfigurationError(
            f"--gr00t-python says {python}, and there is no program {path}: name the interpreter of GR00T's "
            "environment, or the environment's folder"
        )
    return str(path)


def _path(root: Path, name: str) -> str:
    return str(root / name) if (root / name).is_file() else name


def tag_word(generation: Generation, tag: str) -> str:
    """An embodiment's tag as the server takes it: N1.6 wants the name, which there is the value in capitals."""
    return tag.upper() if generation is Generation.N1_6 else tag


def _check_there(root: Path, generation: Generation) -> None:
    others = [other.value for other, name in _SCRIPTS.items() if (root / name).is_file() and name != script(generation)]
    own = _MODELS.get(generation)
    models = {found.name for found in (root / "gr00t" / "model").glob("gr00t_n1d*")}
    if models and own is not None and own not in models:
        others = [other.value for other, name in _MODELS.items() if name in models]
    elif (root / script(generation)).is_file():
        return
    if others:
        raise ConfigurationError(
            f"GR00T at {root} serves {' and '.join(others)}, and the checkpoint is {generation.value}: "
            f"check out the branch or tag of {generation.value} ({_UPSTREAM}) and name it with --gr00t-root"
        )
    raise ConfigurationError(
        f"GR00T is not at {root}: there is no {script(generation)}. Clone it there ({_UPSTREAM}, the branch or tag of "
        f"{generation.value}) and make its environment, or say where it is: --gr00t-root, or the variable GR00T_ROOT"
    )


def _environment(root: Path) -> list[str]:
    """The Python of the checkout's own environment."""
    own = root / ".venv" / "bin" / "python"
    if own.exists():
        return [str(own)]
    if (root / "uv.lock").is_file():
        return ["uv", "run", "--frozen", "--project", str(root), "--", "python"]
    raise ConfigurationError(
        f"GR00T at {root} has no environment that is known: no .venv and no uv.lock. Say with --gr00t-python which "
        "interpreter has what GR00T needs, such as that of its conda environment"
    )


def _check_program(name: str) -> None:
    """Raises ConfigurationError for a program that PATH does not lead to; one with a folder may be in GR00T's own."""
    if "/" not in name and shutil.which(name) is None:
        install = "install it (pip install uv), or " if name == "uv" else ""
        raise ConfigurationError(
            f"there is no program {name!r} here; {install}say with --gr00t-python or --gr00t-command what runs GR00T's "
            f"Python{f' (a path has a slash in it: ./{name})' * Path(name).exists()}"
        )
