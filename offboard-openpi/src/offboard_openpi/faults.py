"""From the end of openpi's log to the likely cause and what to do next."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """What is in the log, what it means, and the next step. ``{config}``, ``{folder}`` and ``{root}`` are filled in."""

    pattern: str
    cause: str
    step: str


# The order matters: the first that matches is told.
_FAULTS = (
    Fault(
        r"(^|\n)uv: No such file or directory",
        "uv, which runs openpi in its own environment, is not installed",
        "install it (pip install uv), or say with --openpi-command what runs openpi's Python",
    ),
    Fault(
        r": No such file or directory\s*$(?![\s\S]*Traceback)",
        "the command that runs openpi does not exist",
        "correct --openpi-command",
    ),
    Fault(
        r"Config '.*' not found",
        "this openpi checkout has no config {config}",
        "choose one of its own with --config-name, or use the checkout that has it (--openpi-root)",
    ),
    Fault(
        r"RESOURCE_EXHAUSTED|[Oo]ut of memory|OutOfMemory|CUDA_ERROR_OUT_OF_MEMORY",
        "there was not enough memory, most likely on the GPU",
        "see with nvidia-smi who else uses it, and give JAX less at once with --gpu-memory-fraction 0.5",
    ),
    Fault(
        r"Norm stats file not found at|Norm stats not found",
        "the checkpoint's assets/ hold no statistics under the asset id that the config {config} asks for",
        "check that --config-name is the config that it was trained with; its asset ids are what {folder}/assets holds",
    ),
    Fault(
        r"Asset id is required",
        "the config {config} names no data set, so openpi cannot serve it (its debug configs are of this kind)",
        "choose the config that the checkpoint was trained with (--config-name)",
    ),
    Fault(
        r"[Aa]ddress already in use|Errno 98|Errno 48",
        "another process took the port meanwhile",
        "leave --openpi-ws-port away, so that a free port is taken",
    ),
    Fault(
        r"ModuleNotFoundError|ImportError|lockfile|No solution found|Failed to (build|download|prepare)",
        "openpi's environment is not complete",
        "run `uv sync` in {root} and see that `uv run python scripts/serve_policy.py --help` works there",
    ),
    Fault(
        r"paligemma_tokenizer|Anonymous caller|DefaultCredentialsError|gcloud|gsutil|storage\.googleapis\.com",
        "openpi could not fetch from Google's storage, most likely the PaliGemma tokenizer, which every config needs",
        "put it at $OPENPI_DATA_HOME/big_vision/paligemma_tokenizer.model (without the variable: ~/.cache/openpi/…)",
    ),
    Fault(
        r"GatedRepoError|RepositoryNotFoundError|401 Client Error|NoCredentialsError",
        "openpi was refused what it wanted to fetch: of this server's secrets it gets those that are named",
        "set the variable that allows it, such as HF_TOKEN, and name it with --openpi-env",
    ),
    Fault(
        r"KeyError: '[A-Z][A-Z0-9_]+'",
        "a variable is missing that this openpi reads: it gets few of this server's",
        "set it, and name it with --openpi-env",
    ),
    Fault(
        r"was killed by SIGKILL",
        "somebody killed it; the kernel does so when the machine's memory runs out",
        "see with dmesg whether it was the kernel, and with free how much memory there is",
    ),
    Fault(r"No space left on device", "the disk is full", "free some of it"),
    Fault(
        r"tree structures? d|[Ss]hape mismatch|[Ii]ncompatible shapes|do(es)? not match|Missing key|size mismatch",
        "the weights do not fit the config {config}",
        "choose the config that the checkpoint was trained with (--config-name)",
    ),
    Fault(
        r"FileNotFoundError|NotFoundError|does not exist|not found",
        "openpi did not find a file of the checkpoint",
        "see that {folder} holds params/ or model.safetensors, and assets/, and is wholly copied",
    ),
)
_LATE = Fault(
    r"did not become ready",
    "the first start may be slow: weights are read, files downloaded, the model compiled",
    "if the log shows that it goes on, raise --startup-timeout; else see whether the GPU has room for it",
)
_UNKNOWN = Fault(
    "",
    "the log above says why",
    "check that {config} is the config the checkpoint in {folder} was trained with (--config-name), and that "
    "openpi's own serve_policy.py starts by hand in {root}",
)


def explain(text: str, *, config: str, folder: str, root: str) -> str:
    """``text`` (how openpi ended, with the end of its log), followed by the likely cause and the next step."""
    late = re.search(_LATE.pattern, text) is not None
    fault = next((f for f in _FAULTS if re.search(f.pattern, text)), _LATE if late else _UNKNOWN)
    told = f"Likely cause: {fault.cause}. Next: {fault.step}."
    for name, value in {"config": config, "folder": folder, "root": root}.items():
        told = told.replace(f"{{{name}}}", value)
    return f"{text}\n{told}"
