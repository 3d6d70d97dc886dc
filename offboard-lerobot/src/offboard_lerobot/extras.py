"""What a policy type imports beside LeRobot itself, which an extra of LeRobot brings: seen without importing it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import metadata
from importlib.util import find_spec

#: Policy type → LeRobot's extra, and the modules that its policy cannot do without. Those that are not here need none.
EXTRAS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "diffusion": ("diffusion", ("diffusers",)),
    "eo1": ("eo1", ("transformers",)),
    "evo1": ("evo1", ("transformers",)),
    "fastwam": ("fastwam", ("transformers", "diffusers")),
    "groot": ("groot", ("transformers", "diffusers", "tree")),
    "lingbot_va": ("lingbot-va", ("transformers", "diffusers")),
    "molmoact2": ("molmoact2", ("transformers",)),
    "multi_task_dit": ("multi-task-dit", ("transformers", "diffusers")),
    "pi0": ("pi", ("transformers",)),
    "pi05": ("pi", ("transformers",)),
    "pi0_fast": ("pi", ("transformers", "scipy")),
    "smolvla": ("smolvla", ("transformers", "num2words")),
    "vla_jepa": ("vla-jepa", ("transformers", "diffusers")),
    "wall_x": ("wallx", ("transformers", "peft", "qwen_vl_utils", "torchdiffeq")),
    "xvla": ("xvla", ("transformers",)),
}


def lacking(kind: str) -> str | None:
    """What a policy of this type needs that is not installed here, and how to get it; None: nothing."""
    extra, modules = EXTRAS.get(kind, ("", ()))
    missing = [name for name in modules if find_spec(name) is None]
    if not missing:
        return None
    what = f"needs {' and '.join(missing)}, not installed here"
    there = metadata("lerobot").get_all("Provides-Extra") or ()
    return f"{what}: pip install 'lerobot[{extra}]'" if extra in there else what
