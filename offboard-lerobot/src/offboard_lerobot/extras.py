"""What a policy type imports beside LeRobot itself, which an extra of LeRobot brings: seen without importing it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import metadata
from importlib.util import find_spec
from pathlib import Path

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

#: Our environments → types that their LeRobot knows and that are not run there, for what they need is not in it.
NOT_IN: Mapping[str, frozenset[str]] = {"lerobot-0.4": frozenset({"groot", "pi0", "pi05", "pi0_fast", "wall_x"})}
#: What the transformers has that LeRobot 0.4 patched for its types of the extra pi.
_PATCHED = "models/siglip/check.py"


def lacking(kind: str) -> str | None:
    """What a policy of this type needs that is not installed here, and how to get it; None: nothing."""
    extra, modules = EXTRAS.get(kind, ("", ()))
    missing = [name for name in modules if find_spec(name) is None]
    there = metadata("lerobot").get_all("Provides-Extra") or ()
    if not missing:
        return (
            "needs a transformers that LeRobot 0.4 patched, and no package index has"
            if (extra == "pi" and extra not in there and not _is_patched())
            else None
        )
    what = f"needs {' and '.join(missing)}, not installed here"
    return f"{what}: pip install 'lerobot[{extra}]'" if extra in there else what


def _is_patched() -> bool:
    spec = find_spec("transformers")
    return spec is not None and any((Path(at) / _PATCHED).is_file() for at in spec.submodule_search_locations or ())
