"""The handshake's ``meta``: what the model is, what to send, what comes back, and how that was decided.

Equal on every connection to the same model with the same parameters (clients compare it after a reconnect): nothing
in it may depend on the time, on a counter or on the session.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from offboard_client.errors import BadMessage, LoadFailed
from offboard_client.protocol import check_meta

from .._version import __version__
from ..catalog import ResolvedCodec
from ..types import Checkpoint, CodecMeta, Elsewhere, Field
from .paths import without_paths, without_paths_in

#: How images may come, unless the policy wants them as they are (M-4).
_IMAGE_FORMATS = ["raw", "jpeg", "png"]


def build_meta(
    *,
    vendor: str,
    model_id: str,
    checkpoint: Checkpoint,
    policy: Mapping[str, Any],
    codec: ResolvedCodec,
    controls: Mapping[str, Any],
    context: Mapping[str, Any],
    address: tuple[str, int] | None,
    elsewhere: Elsewhere | None = None,
) -> dict[str, Any]:
    """``meta`` as section 3 of the protocol lists it.

    ``model_id``: as a session URL names it; ``policy``: the policy's own facts; ``controls``: what may be asked beside
    inference, which does not tell two models apart; ``context``: what an observation may bring for the inference
    itself; ``elsewhere``: the process that has the model. Raises LoadFailed if one of them, or of the codec's, is what
    no client takes (M-20).
    """
    identity = {
        **checkpoint.extras,
        **policy,
        "type": vendor,
        "checkpoint_path": checkpoint.location,
        "checkpoint_id": model_id,
        "experiment_name": checkpoint.experiment,
    }
    read_and_made = contract(codec.meta)
    # Neither the address nor the version belongs to what a client may pin: the same model served elsewhere is the same.
    spec = {
        **identity,
        **read_and_made,
        "compress_images": False,
        "image_formats": policy.get("image_formats", _IMAGE_FORMATS),
        **context,
        "chunk_length": policy.get("chunk_length", checkpoint.chunk_length),
        "codec": codec.name,
        "codec_source": codec.source,
    }
    try:
        check_meta({**spec, "controls": controls})
    except BadMessage as error:
        raise LoadFailed(
            f"what {model_id} and its codec declare is not sent, since no client takes it: {error}"
        ) from None
    host, port = address or (None, None)
    # Not the process id, nor its memory: they do not stay.
    # Nor the device: replicas of one model have one each. Nor what was compiled: it answers as the model does.
    pinned = {name: value for name, value in spec.items() if name not in ("device", "compiled")}
    place = {} if elsewhere is None else {"python": elsewhere.python, "environment": elsewhere.environment}
    return {
        **without_paths_in(spec),
        "checkpoint_id": model_id,
        "checkpoint_path": _shown(checkpoint),
        "controls": controls,
        **({"elsewhere": place} if place else {}),
        "host": host,
        "port": port,
        "offboard_version": __version__,
        "spec_hash": hashlib.sha256(json.dumps(pinned, sort_keys=True).encode()).hexdigest()[:16],
        "local_stack": _local_stack(read_and_made["image_sizes"]),
        "positronic_version": f"offboard {__version__}",
    }


def contract(meta: CodecMeta) -> dict[str, Any]:
    """What a codec reads and makes, in the handshake's names."""
    read_and_made: dict[str, Any] = {
        "observation": {name: _field(field) for name, field in meta.observation.items()},
        "image_sizes": image_sizes(meta),
        "action": {name: _action(field) for name, field in meta.action.items()},
        "action_fps": meta.action_fps,
        "conventions": dict(meta.conventions),
    }
    if meta.action_horizon_sec is not None:
        read_and_made["action_horizon_sec"] = meta.action_horizon_sec
    return read_and_made


def _shown(checkpoint: Checkpoint) -> str:
    """Where it lies, for everybody; on this machine no further up than its experiment."""
    location = checkpoint.location
    if without_paths(location) == location:
        return location
    parts = location.replace("\\", "/").rstrip("/").split("/")
    above = parts[::-1].index(checkpoint.experiment) if checkpoint.experiment in parts[1:] else 0
    return "/".join(parts[len(parts) - 1 - above :])


def image_sizes(meta: CodecMeta) -> list[int] | dict[str, list[int]] | None:
    """``[w, h]``, a map from name to ``[w, h]``, or None."""
    sizes = meta.image_sizes
    if sizes is None:
        return None
    if isinstance(sizes, Mapping):
        return {name: list(size) for name, size in sizes.items()}
    return list(sizes)


def _field(field: Field) -> dict[str, Any]:
    shape = None if field.shape is None else list(field.shape)
    return {"shape": shape, "dtype": field.dtype, "unit": field.unit, "required": field.required}


def _action(field: Field) -> dict[str, Any]:
    shape = None if field.shape is None else list(field.shape)
    return {"shape": shape, "unit": field.unit, "kind": field.kind}


def _local_stack(sizes: list[int] | dict[str, list[int]] | None) -> dict[str, Any]:
    """What Positronic's clients must run beside the robot; the three parts that all their generations know."""
    parts: list[dict[str, Any]] = [{"name": "stop_on_fault"}, {"name": "chunked_schedule"}]
    if sizes:
        every: list[list[int]] = list(sizes.values()) if isinstance(sizes, dict) else [sizes]
        largest = {"width": max(size[0] for size in every), "height": max(size[1] for size in every)}
        parts.append({"name": "restrict_image_size", "args": largest})
    return {"seq": parts}
