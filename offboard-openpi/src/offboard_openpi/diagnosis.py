"""From the end of openpi's log to the likely cause and what to do next; each of its scripts has faults of its own."""

from __future__ import annotations

from collections.abc import Sequence

from offboard_client.errors import LoadFailed
from offboard_core.process import MACHINE, PROGRAM, Fault, diagnose

_CONFIG = (
    Fault(
        r"Config '.*' not found",
        "this openpi checkout has no config {config}",
        "choose one of its own with --config-name, or use the checkout that has it (--openpi-root)",
        permanent=True,
    ),
)
_MEMORY = r"RESOURCE_EXHAUSTED|[Oo]ut of memory|OutOfMemory|CUDA_ERROR_OUT_OF_MEMORY"
# The order matters: the first that matches is told.
_SERVING = (
    *_CONFIG,
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
        r"[Aa]ddress already in use|Errno 98|Errno 48|is another offboard server's",
        "another process has the port, or took it meanwhile",
        "stop it, serve what it serves with --attach, or leave --openpi-ws-port away, so that a free port is taken",
    ),
    *PROGRAM,
    Fault(
        r"paligemma_tokenizer|Anonymous caller|DefaultCredentialsError|gcloud|gsutil|storage\.googleapis\.com",
        "openpi could not fetch from Google's storage, most likely the PaliGemma tokenizer, which every config needs",
        "put it at $OPENPI_DATA_HOME/big_vision/paligemma_tokenizer.model (without the variable: ~/.cache/openpi/…)",
    ),
    *MACHINE,
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
    *_CONFIG,
    Fault(
        _MEMORY,
        "there was not enough memory, most likely on the GPU",
        'see with nvidia-smi who else uses it; train with smaller batches (--extra-args="--batch-size 16")',
    ),
    *PROGRAM,
    *MACHINE,
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
        'give the container more of it (--shm-size 8g), or use fewer (--extra-args="--num-workers 0")',
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


_ATTACHING = (
    Fault(
        r"no server to attach to",
        "nobody listens there, or what listens is no openpi",
        "start openpi's serve_policy.py there, or correct --attach",
    ),
    Fault(
        r"did not answer within",
        "the first inference may be slow: the model is compiled",
        "see whether it goes on there, and raise --startup-timeout",
    ),
    Fault(
        r"failed its first inference",
        "it serves another config than {config}",
        "give --config-name the config that it serves",
    ),
)


def explain_serving(text: str, *, config: str, folder: str, root: str) -> LoadFailed:
    """``text`` (how openpi's server ended, with the end of its log), with the likely cause and the next step."""
    return _explain(text, _SERVING, config=config, folder=folder, root=root, script="serve_policy.py")


def explain_attaching(text: str, *, config: str) -> LoadFailed:
    """The same for a server that others started."""
    return diagnose(text, _ATTACHING, config=config)


def explain_training(text: str, *, script: str, config: str, data: str, root: str) -> LoadFailed:
    """The same for a script that reads the data set at ``data``."""
    return _explain(text, _TRAINING, script=script, config=config, data=data, root=root)


def _explain(text: str, faults: Sequence[Fault], *, script: str, **values: str) -> LoadFailed:
    options = {"name": "openpi", "command": "--openpi-command", "env": "--openpi-env"}
    return diagnose(text, faults, script=f"scripts/{script}", **options, **values)
