"""From the end of openpi's log to the likely cause and what to do next; each of its scripts has faults of its own."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Fault:
    """What is in the log, what it means, and the next step. ``{config}``, ``{root}`` and so on are filled in.

    ``permanent``: whether it will be so at every other try.
    """

    pattern: str
    cause: str
    step: str
    permanent: bool = False


_START = (
    Fault(
        r"(^|\n)uv: No such file or directory",
        "uv, which runs openpi in its own environment, is not installed",
        "install it (pip install uv), or say with --openpi-command what runs openpi's Python",
        permanent=True,
    ),
    Fault(
        r": No such file or directory\s*$(?![\s\S]*Traceback)",
        "the command that runs openpi does not exist",
        "correct --openpi-command",
        permanent=True,
    ),
    Fault(
        r"Config '.*' not found",
        "this openpi checkout has no config {config}",
        "choose one of its own with --config-name, or use the checkout that has it (--openpi-root)",
        permanent=True,
    ),
)
_MEMORY = r"RESOURCE_EXHAUSTED|[Oo]ut of memory|OutOfMemory|CUDA_ERROR_OUT_OF_MEMORY"
_ENVIRONMENT = Fault(
    r"ModuleNotFoundError|ImportError|lockfile|No solution found|Failed to (build|download|prepare)",
    "openpi's environment is not complete",
    "run `uv sync` in {root} and see that `uv run python scripts/{script} --help` works there",
)
#: The same where Python ends so; what a network may mend looks otherwise.
_MODULES = replace(_ENVIRONMENT, pattern=r"(^|\n)(ModuleNotFoundError|ImportError): [^\n]*\s*$", permanent=True)
_MACHINE = (
    Fault(
        r"GatedRepoError|RepositoryNotFoundError|401 Client Error|NoCredentialsError",
        "openpi was refused what it wanted to fetch: of your secrets it gets those that are named",
        "set the variable that allows it, such as HF_TOKEN, and name it with --openpi-env",
    ),
    Fault(
        r"KeyError: '[A-Z][A-Z0-9_]+'",
        "a variable is missing that this openpi reads: it gets few of this environment's",
        "set it, and name it with --openpi-env",
    ),
    Fault(
        r"was killed by SIGKILL",
        "it was killed; the kernel does so when the machine's memory runs out",
        "see with dmesg whether it was the kernel, and with free how much memory there is",
    ),
    Fault(r"No space left on device", "the disk is full", "free some of it"),
)
# The order matters: the first that matches is told.
_SERVING = (
    *_START,
    Fault(
        _MEMORY,
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
    _MODULES,
    _ENVIRONMENT,
    Fault(
        r"paligemma_tokenizer|Anonymous caller|DefaultCredentialsError|gcloud|gsutil|storage\.googleapis\.com",
        "openpi could not fetch from Google's storage, most likely the PaliGemma tokenizer, which every config needs",
        "put it at $OPENPI_DATA_HOME/big_vision/paligemma_tokenizer.model (without the variable: ~/.cache/openpi/…)",
    ),
    *_MACHINE,
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
    Fault(
        r"did not become ready",
        "the first start may be slow: weights are read, files downloaded, the model compiled",
        "if the log shows that it goes on, raise --startup-timeout; else see whether the GPU has room for it",
    ),
    Fault(
        "",
        "the log above says why",
        "check that {config} is the config the checkpoint in {folder} was trained with (--config-name), and that "
        "openpi's own {script} starts by hand in {root}",
    ),
)
_TRAINING = (
    *_START,
    Fault(
        _MEMORY,
        "there was not enough memory, most likely on the GPU",
        'see with nvidia-smi who else uses it; train with smaller batches (--extra-args "--batch-size 16")',
    ),
    _MODULES,
    _ENVIRONMENT,
    *_MACHINE,
    Fault(
        r"KeyError: '(total_\w+|features|fps|codebase_version|(data|video)_path|chunks_size)'",
        "the data set's meta/info.json lacks what openpi reads there: it is half written, or of another version",
        "finish or convert the data set in {data}; openpi reads the form v2.1",
    ),
    Fault(
        r"CompatibilityError|codebase_version|is in \S+ format",
        "the data set was written by a LeRobot of another version than openpi's",
        "convert the data set in {data} to the form that the log names; openpi reads v2.1",
    ),
    Fault(
        r"[Nn]orm(alization)? stats (file )?not found",
        "the data set has no statistics where the config {config} looks for them",
        "make them with `offboard stats`, and name the folder with --stats-path",
    ),
    Fault(
        r"[Bb]us error|shared memory|/dev/shm",
        "the processes that load data have too little shared memory",
        'give the container more of it (--shm-size 8g), or use fewer (--extra-args "--num-workers 0")',
    ),
    Fault(
        r"unrecognized (arguments|options)|invalid choice|error: argument",
        "openpi's {script} does not know one of the arguments",
        "correct --extra-args; `{script} {config} --help` in {root} lists what there is",
    ),
    Fault(
        r"FileNotFoundError|does not exist|not found|no data set",
        "openpi did not find a file of the data set, or of the weights that the config {config} begins with",
        "see that {data} is wholly copied, and that the config calls its data set by --repo-id",
    ),
    Fault(
        "",
        "the log above says why",
        "check that {config} is a config for the data set in {data}, and that openpi's own {script} runs by hand in "
        "{root}",
    ),
)


def explain_serving(text: str, *, config: str, folder: str, root: str) -> str:
    """``text`` (how openpi's server ended, with the end of its log), with the likely cause and the next step."""
    return _explain(text, _SERVING, config=config, folder=folder, root=root, script="serve_policy.py")


def is_permanent(text: str) -> bool:
    """Whether openpi's server would end like this at every other start, too."""
    return _fault(text, _SERVING).permanent


def explain_training(text: str, *, script: str, config: str, data: str, root: str) -> str:
    """The same for a script that reads the data set at ``data``."""
    return _explain(text, _TRAINING, script=script, config=config, data=data, root=root)


def _explain(text: str, faults: tuple[Fault, ...], **values: str) -> str:
    fault = _fault(text, faults)
    told = f"Likely cause: {fault.cause}. Next: {fault.step}."
    for name, value in values.items():
        told = told.replace(f"{{{name}}}", value)
    return f"{text}\n{told}"


def _fault(text: str, faults: tuple[Fault, ...]) -> Fault:
    return next(fault for fault in faults if re.search(fault.pattern, text))
