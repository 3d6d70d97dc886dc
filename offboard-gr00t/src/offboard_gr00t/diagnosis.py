"""From the end of GR00T's log to the likely cause and what to do next."""

from __future__ import annotations

from offboard_client.errors import LoadFailed
from offboard_core.process import MACHINE, PROGRAM, Fault, diagnose

_FLASH = Fault(
    r"flash_attn|flash-attn|FlashAttention",
    "flash-attn is not in GR00T's environment, or does not fit the torch and the GPU there",
    "install it there, in the version that this GR00T's README names",
    permanent=True,
)
_MEMORY = r"[Oo]ut of memory|OutOfMemory|CUDA_ERROR_OUT_OF_MEMORY"
_GPU = Fault(
    r"No CUDA GPUs are available|Found no NVIDIA driver|not compiled with CUDA|CUDA driver version is insufficient",
    "torch finds no GPU that it can use",
    "see with nvidia-smi whether there is one, and whether {name}'s environment has the torch for it",
)
# The order matters: the first that matches is told.
_SERVING = (
    _FLASH,
    Fault(
        r"No metadata found for embodiment tag|Unknown embodiment tag|embodiment-tag: invalid choice|"
        r"invalid choice: [^\n]*(NEW_EMBODIMENT|new_embodiment)",
        "this GR00T, or the statistics of the checkpoint, do not have the embodiment {tag}",
        "choose the one that it was trained with (--embodiment-tag); its files have {tags}",
        permanent=True,
    ),
    Fault(
        r"[Dd]ata_config|data-config",
        "this GR00T has no such data config",
        "name the one that the checkpoint was trained with: --data-config NAME, or MODULE:CLASS of one of your own",
        permanent=True,
    ),
    Fault(
        _MEMORY,
        "there was not enough memory, most likely on the GPU",
        "see with nvidia-smi who else uses it",
    ),
    _GPU,
    Fault(
        r"cannot import name '\w+' from 'transformers|transformers[^\n]*(required|requires|version)|"
        r"does not recognize this architecture|model type `?[Gg][Rr]00[Tt]|Unrecognized (model|configuration class)",
        "the transformers in GR00T's environment is of another version than this checkpoint needs, or the checkout is "
        "of another generation than {generation}",
        "use the checkout of {generation} (--gr00t-root) with the environment that its own lock or README makes",
        permanent=True,
    ),
    Fault(
        r"(No such file|not found|does not exist|NotFound)[^\n]*(statistics|metadata\.json|embodiment_id)|"
        r"[Ss]tatistics[^\n]*(missing|not found)|KeyError: '(statistics|modalities|min|max|mean|std|q01|q99)'",
        "the checkpoint lacks statistics that GR00T reads",
        "see that {folder} is wholly copied, with {statistics}",
    ),
    Fault(
        r"[Aa]ddress already in use|Errno 98|Errno 48|is another offboard server's",
        "another process has the port, or took it meanwhile",
        "stop it, serve what it serves with --attach, or leave --gr00t-port away, so that a free port is taken",
    ),
    Fault(
        r"unrecognized (arguments|options)|Unrecognized options|error: argument|[Rr]equired options",
        "GR00T's {script} does not know one of the arguments",
        "correct --gr00t-args; `{script} --help` in {root} lists what there is",
        permanent=True,
    ),
    *PROGRAM,
    *MACHINE,
    Fault(
        r"size mismatch|Missing key|[Ss]hape mismatch",
        "the weights do not fit the config of the checkpoint, or this GR00T",
        "see that {folder} is wholly copied, and that the checkout in {root} is the one that trained it",
    ),
    Fault(
        r"describes? another model",
        "what GR00T loaded is not what the files of the checkpoint say",
        "check --data-config, --embodiment-tag and --gr00t-args against what {folder} was trained with",
        permanent=True,
    ),
    Fault(
        r"FileNotFoundError|does not exist|not found",
        "GR00T did not find a file",
        "see that {folder} is wholly copied, and that what it names besides is there",
    ),
    Fault(
        r"did not become ready",
        "the first start may be slow: weights are read, the backbone is downloaded, the model compiled",
        "if the log shows that it goes on, raise --startup-timeout; else see whether the GPU has room for it",
    ),
    Fault(
        "",
        "the log above says why",
        "check that {folder} is a checkpoint of {generation} for the embodiment {tag}, and that GR00T's own {script} "
        "starts by hand in {root}",
    ),
)
_OPTIONS = {"name": "GR00T", "command": "--gr00t-python or --gr00t-command", "env": "--gr00t-env"}
_ATTACHING = (
    Fault(
        r"steps ahead",
        "its modality config is one for training on what is to come",
        "serve there a checkpoint with frames of the present and before it",
    ),
    Fault(
        r"when this server started",
        "another model was put behind that address, or none was there; the codec was chosen before",
        "start this server again, so that all is chosen for the one that is there now",
    ),
    Fault(
        r"no server to attach to",
        "nobody listens there, or what listens is no GR00T",
        "start GR00T's own server there, or correct --attach",
    ),
    Fault(
        r"refused the token",
        "that server has a token",
        "start this server with the variable GR00T_API_TOKEN set to it",
    ),
    Fault(
        r"did not answer (with)?in",
        "it infers for somebody else, and answers one question at a time, or the model is still compiled",
        "see whether it goes on there, and raise --startup-timeout",
    ),
    Fault(
        r"failed its first inference",
        "it is no GR00T, or of another generation than was said",
        "leave --generation away, or correct it",
    ),
)


_TRAINING = (
    _FLASH,
    Fault(
        _MEMORY,
        "there was not enough memory, most likely on the GPU",
        "see with nvidia-smi who else uses it; train with smaller batches (--global-batch-size 16)",
    ),
    _GPU,
    Fault(
        r"[Bb]us error|shared memory|/dev/shm",
        "the processes that load data have too little shared memory",
        "give the container more of it (--shm-size 8g), or use fewer (--num-workers 0)",
    ),
    Fault(
        r"GatedRepo|gated repo|401 Client Error|403 Client Error|RepositoryNotFound|LocalEntryNotFound",
        "the weights to begin with, or the backbone that they name, could not be fetched",
        "log in to Hugging Face where they are to be had (--gr00t-env HF_TOKEN), or give a copy (--base-model-path)",
    ),
    Fault(
        r"already registered",
        "this GR00T has a modality config of its own for new_embodiment",
        "take it out there, or use NVIDIA's checkout of {generation}",
    ),
    Fault(
        r"Joint group '|not found in (state|action|language|video) modality|[Mm]odality config path does not exist",
        "the data set in {data} does not hold what the modality config reads",
        "give the config that the data set was made for (--modality-config), or see its meta/modality.json",
    ),
    Fault(
        r"[Dd]ata_config|data-config",
        "this GR00T has no such data config",
        "name one that it has: --data-config NAME, or MODULE:CLASS of one of your own",
    ),
    Fault(
        r"torchcodec|decord|libavutil|video_backend",
        "the data set's videos cannot be decoded in GR00T's environment",
        "install what the log names there: ffmpeg, and torchcodec in the version for its torch",
    ),
    Fault(
        r"unrecognized (arguments|options)|Unrecognized options|invalid choice|error: argument|[Rr]equired options",
        "GR00T's {script} does not know one of the arguments",
        "correct --extra-args, or --generation; `{script} --help` in {root} lists what there is",
    ),
    *PROGRAM,
    *MACHINE,
    Fault(
        r"size mismatch|Missing key|[Ss]hape mismatch",
        "the weights to begin with are not of {generation}",
        "give --base-model-path of {generation}",
    ),
    Fault(
        r"FileNotFoundError|No such file|does not exist|not found",
        "GR00T did not find a file of the data set, or of the weights to begin with",
        "see that {data} is wholly copied, and correct --base-model-path",
    ),
    Fault(
        "",
        "the log above says why",
        "check that GR00T's own {script} runs by hand in {root} with the data set in {data}",
    ),
)


def explain_training(text: str, **values: str) -> LoadFailed:
    """``text`` (how GR00T's training ended, with the end of its log), with the likely cause and the next step.

    ``values``: ``generation``, ``data``, ``root`` and ``script``.
    """
    return diagnose(text, _TRAINING, **_OPTIONS, **values)


def explain_serving(text: str, **values: str) -> LoadFailed:
    """``text`` (how GR00T's server ended, with the end of its log), with the likely cause and the next step.

    ``values``: ``generation``, ``tag``, ``tags`` (those of the checkpoint), ``folder``, ``root`` and ``script``.
    """
    statistics = "experiment_cfg/metadata.json" if values["generation"] == "n1.5" else "statistics.json"
    return diagnose(text, _SERVING, statistics=statistics, **_OPTIONS, **values)


def explain_attaching(text: str) -> LoadFailed:
    """The same for a server that others started."""
    return diagnose(text, _ATTACHING)
