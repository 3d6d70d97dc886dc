"""What LeRobot lets pass in a MolmoAct2 checkpoint, or leaves to whoever asks it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from .fast import NoAction, number_of
from .features import CONFIG, POSTPROCESSOR, PREPROCESSOR
from .files import Files

#: Of what LeRobot raises where a policy answers no tokens, or does not come to an end of them.
_SAID_NOTHING = ("no decodable action tokens", "generated no tokens", "did not emit end token")
_PACK = "molmoact2_pack_inputs"
_FRAMES = ((PREPROCESSOR, "molmoact2_state_frame_transform"), (POSTPROCESSOR, "molmoact2_action_frame_transform"))


def decided(files: Files) -> dict[str, Any]:
    """What its config leaves open, and can be one thing alone: how it is asked, if it was trained in one way."""
    trained = files.config.get("action_mode")
    if files.type != "molmoact2" or _asked(files) is not None or trained not in ("continuous", "discrete"):
        return {}
    return {"inference_action_mode": trained}


def refused(files: Files) -> Iterator[str]:
    """What is wrong with it, by its files alone."""
    if files.type != "molmoact2":
        return
    if _asked(files) is None and not decided(files):
        yield (
            f"inference_action_mode (None) in {CONFIG}: it was trained to answer both by flow and in tokens. Write "
            '"continuous" or "discrete" there'
        )
    for name in ("joint_signs", "joint_offsets"):
        said = [files.config.get(name), *(_option(files, file, step, name) for file, step in _FRAMES)]
        if any(each != said[0] for each in said):
            yield (
                f"{name} ({said[0]!r:.80}) in {CONFIG}, and its steps {_FRAMES[0][1]!r} and {_FRAMES[1][1]!r} have "
                f"{said[1]!r:.80} and {said[2]!r:.80}: write the same in all three"
            )
    described: Mapping[str, Any] = files.config["input_features"]
    cameras = {name for name, of in described.items() if of["type"] == "VISUAL"}
    trained: Any = _option(files, PREPROCESSOR, _PACK, "image_keys")
    if trained and {*trained} != cameras:
        yield (
            f"that it was trained on the cameras {', '.join(map(str, trained))} (image_keys in the step {_PACK!r} of "
            f"{PREPROCESSOR}), and has {', '.join(sorted(cameras))}: LeRobot would leave some out, or take them in "
            "another order. Rename its cameras (rename_map), or write their names there"
        )


def _asked(files: Files) -> Any:
    return files.config.get("inference_action_mode")


def _option(files: Files, file: str, name: str, option: str) -> Any:
    for step in files.steps.get(file, ()):
        options = step.get("config")
        if step.get("registry_name") == name and isinstance(options, Mapping):
            return cast("Mapping[str, Any]", options).get(option)
    return None


def refuse_what_stands_for_nothing(model: Any) -> None:
    """Let it raise NoAction at tokens that stand for none. LeRobot's answers zeros then."""
    tokenizer = model._load_discrete_action_tokenizer()
    decode, generate = tokenizer.decode, model._generate_discrete_actions_from_inputs

    def ended(*given: Any, **how: Any) -> Any:
        try:
            return generate(*given, **how)
        except RuntimeError as error:
            if any(text in str(error) for text in _SAID_NOTHING):
                raise NoAction(f"no such tokens ({error!s:.80})") from None
            raise

    def checked(tokens: Sequence[Sequence[int]], *, time_horizon: int, action_dim: int) -> Any:
        for row in tokens:
            if (found := number_of(tokenizer, row)) != (wanted := time_horizon * action_dim):
                raise NoAction(f"{len(row)} tokens for {found} numbers, of {wanted}")
        return decode(tokens, time_horizon=time_horizon, action_dim=action_dim)

    tokenizer.decode, model._generate_discrete_actions_from_inputs = checked, ended
