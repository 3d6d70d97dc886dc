"""Adapters (LoRA): what changes the weights of another policy, its base, as LeRobot's training saves it with PEFT.

``adapter_config.json`` says what is changed and which policy is the base, ``adapter_model.safetensors`` by how much.
Read without torch; :mod:`.adapted` puts both together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from offboard_core.checkpoints import Incomplete, LocalPlace, Place, Unfit, header, read_json, weights

from . import hub
from .adapter_values import why_no_value
from .features import CONFIG

ADAPTER = "adapter_config.json"
ADAPTED = "adapter_model.safetensors"
_PICKLE = "adapter_model.bin"
_BASE, _REVISION = "base_model_name_or_path", "revision"
_MERGE = "Merge it into the base (merge_and_unload of peft), save the whole policy, and set use_peft to false"

#: Word → the fields of adapter_config.json that it is about. Any other is refused, unless it asks for nothing.
_LISTED = {
    "needed": """
        peft_type r lora_alpha target_modules exclude_modules fan_in_fan_out bias use_rslora use_dora lora_bias
        modules_to_save layers_to_transform layers_pattern rank_pattern alpha_pattern init_lora_weights
    """,
    "training": "inference_mode peft_version auto_mapping lora_dropout megatron_core qalora_group_size",
    "hub": f"{_BASE} {_REVISION}",
}
#: Field of adapter_config.json → its word, of those in :mod:`.words`.
FIELDS: Mapping[str, str] = {name: word for word, names in _LISTED.items() for name in names.split()}
#: Beginnings of a training that leave the base as its files have it.
_INITIAL = (None, True, False, "gaussian", "orthogonal", "eva")


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """``options``: what PEFT is told; ``tensors``: name → shape; ``refused``: what is asked for and not honoured."""

    base: str
    revision: str | None
    options: Mapping[str, Any]
    tensors: Mapping[str, tuple[int, ...]]
    refused: tuple[str, ...]


def read_adapter(place: Place) -> Adapter:
    """The adapter in a folder whose config says ``use_peft``. Raises Incomplete."""
    if place.size(ADAPTED) is None and place.size(_PICKLE) is not None:
        raise Unfit(
            f"its adapter is a pickle ({_PICKLE}), which may run code and is not read; there is no {ADAPTED}",
            f"load it where you trust it, and save it as {ADAPTED}",
        )
    said = read_json(place, ADAPTER)
    base, revision = said.get(_BASE), said.get(_REVISION)
    if not isinstance(base, str) or not base or not isinstance(revision, (str, type(None))):
        raise Unfit(f"{ADAPTER} does not say which policy it changes ({_BASE}: {base!r:.80})", "write it there")
    return Adapter(
        base=base,
        revision=revision or None,
        options={name: value for name, value in said.items() if FIELDS.get(name) == "needed"},
        tensors=_shapes(header(place, ADAPTED)),
        refused=tuple(_refused(said)),
    )


def base_of(adapter: Adapter, kind: str, local: bool) -> tuple[Path, tuple[str, ...]]:
    """Where the base lies, and the files that hold its weights. Raises ValueError with why it cannot be used.

    ``kind``: the type of policy that the adapter is for. ``local``: whether the adapter lies on this machine.
    """
    of = f"{adapter.base!r:.160} as its base ({_BASE} in {ADAPTER}), which"
    try:
        folder = hub.folder_of(adapter.base, adapter.revision, local)
    except ValueError as error:
        raise ValueError(f"{of} {error}") from None
    try:
        place = LocalPlace(folder)
        config = read_json(place, CONFIG)
        if config.get("type") != kind:
            raise ValueError(
                f"{of} holds a {config.get('type')!r:.80} policy: the adapter is for one of the type {kind!r}"
            )
        if config.get("use_peft"):
            raise ValueError(f"{of} is an adapter itself: merge that one into its base, and name the whole policy")
        files, tensors = weights(place)
    except Incomplete as error:
        raise ValueError(f"{of} {error.verdict} ({folder}): {error}") from None
    if misfits := [*_misfits(adapter, _shapes(tensors))]:
        raise ValueError(f"{of} it does not fit: {misfits[0]}")
    return folder, files


def _refused(said: Mapping[str, Any]) -> Iterator[str]:
    if said.get("peft_type") != "LORA":
        yield f"peft_type ({said.get('peft_type')!r:.40}) in {ADAPTER}: LORA is the only one that is applied. {_MERGE}"
    for name, value in said.items():
        if name == "init_lora_weights" and not any(type(value) is type(each) and value == each for each in _INITIAL):
            yield f"{name} ({value!r:.40}) in {ADAPTER}: its training began with changing the base itself. {_MERGE}"
        elif why := why_no_value(name, value):
            yield f"{name} ({value!r:.80}) in {ADAPTER}, which {why}"
        elif name not in FIELDS and value:
            yield f"{name} ({value!r:.40}) in {ADAPTER}: that is not honoured here. {_MERGE}"


def _misfits(adapter: Adapter, base: Mapping[str, tuple[int, ...]]) -> Iterator[str]:
    """What of it PEFT would fail at, as far as the files tell."""
    patterns: Mapping[str, int] = adapter.options.get("rank_pattern") or {}
    ranks: set[int] = {adapter.options.get("r", 8), *patterns.values()}
    for name, a in adapter.tensors.items():
        before, found, after = name.partition(".lora_A.")
        if not found:
            continue
        b = adapter.tensors.get(f"{before}.lora_B.{after}", ())
        if len(a) < 2 or len(b) < 2 or a[0] not in ranks or b[1] != a[0]:
            said = " or ".join(map(str, sorted(ranks)))
            yield f"{ADAPTED} has {name} {list(a)} and its lora_B {list(b)}, where {ADAPTER} says rank {said}"
        changed = base.get(f"{before.removeprefix('base_model.model.')}.weight")
        shape = (b[0], a[1]) if b and len(a) > 1 else ()
        if changed is not None and shape != changed[:2][:: -1 if adapter.options.get("fan_in_fan_out") else 1]:
            yield f"{ADAPTED} has {name} and its lora_B for a weight {list(shape)}, and there it is {list(changed)}"
    # PEFT makes room for what is said before it sees what is there.
    most = max((a[0] for name, a in adapter.tensors.items() if ".lora_A." in name and a), default=0)
    if max(ranks) > most:
        yield f"{ADAPTER} says rank {max(ranks)}, and the highest in {ADAPTED} is {most}"


def _shapes(found: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    try:
        return {name: tuple(map(int, of["shape"])) for name, of in found.items() if name != "__metadata__"}
    except (LookupError, TypeError, ValueError):
        raise Incomplete("a safetensors file has tensors without a shape") from None
