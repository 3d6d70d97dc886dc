"""FAST's tokens, read as data: what its published tokenizers bring as code is written here instead."""

# LeRobot and transformers leave much of what they take and give untyped.
# pyright: reportMissingImports=false, reportUnknownVariableType=false, reportUnknownMemberType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from offboard_client.errors import InvalidAction, LoadFailed

from .features import CONFIG
from .files import Files

#: The class in the code of such a tokenizer.
CLASS = "UniversalActionProcessor"


class ActionTokens:
    """What LeRobot's pi0-FAST asks of a FAST tokenizer: its BPE, and how numbers stand for coefficients of a DCT."""

    def __init__(self, bpe_tokenizer: Any, scale: float, min_token: int) -> None:
        self.bpe_tokenizer = bpe_tokenizer
        self.scale = scale
        self.min_token = min_token

    @classmethod
    def from_pretrained(cls, name: str, **_: Any) -> ActionTokens:
        """Of a folder or a repository in the Hub's cache. Raises LoadFailed, and what transformers raises."""
        from transformers import PreTrainedTokenizerFast
        from transformers.utils.hub import cached_file

        described: Any = json.loads(Path(cached_file(name, "processor_config.json") or "").read_text("utf-8"))
        scale, least = (described.get(key) if isinstance(described, dict) else None for key in ("scale", "min_token"))
        if not isinstance(scale, (int, float)) or isinstance(scale, bool) or not scale > 0 or type(least) is not int:
            raise LoadFailed(f"the tokenizer {name} is none of FAST's: its scale is {scale!r}, its min_token {least!r}")
        return cls(PreTrainedTokenizerFast.from_pretrained(name), float(scale), least)

    @classmethod
    def register_for_auto_class(cls, *_: Any) -> None:
        """Asked of each class that comes from a tokenizer's code; this one does not."""


class NoAction(InvalidAction):
    """What a policy answered in tokens stands for no action."""

    def __init__(self, answered: str) -> None:
        super().__init__(
            f"the policy answered {answered}: that stands for no action, and none is made of it. Another observation "
            "may get one"
        )


def number_of(tokenizer: Any, tokens: Sequence[Any]) -> int:
    """For how many numbers these tokens stand; none for what is no token."""
    try:
        return len(tokenizer.bpe_tokenizer.decode(tokens))
    except Exception:
        return 0


def refuse_what_stands_for_nothing(model: Any) -> None:
    """Let a pi0-FAST policy raise NoAction at tokens that stand for none. LeRobot's answers zeros then.

    The coefficients of a DCT come from the slowest on, each of all numbers of an action. Those that are not there are
    zero, as LeRobot plays it; but where not even the first are, it would play zeros for the numbers that they are of.
    """
    decode, detokenize = model.decode_actions_with_fast, model.detokenize_actions

    def checked(token_ids: Sequence[Any], *, time_horizon: int, action_dim: int, **how: Any) -> Any:
        for tokens in token_ids:
            if (found := number_of(model.action_tokenizer, tokens)) < action_dim:
                raise NoAction(f"{len(tokens)} tokens for {found} numbers, of at least {action_dim}")
        return decode(token_ids, time_horizon=time_horizon, action_dim=action_dim, **how)

    def begun(*given: Any, **how: Any) -> Any:
        try:
            return detokenize(*given, **how)
        except AssertionError as error:  # of how an answer has to begin
            raise NoAction(f"what does not begin as it must ({error!s:.80})") from None

    model.decode_actions_with_fast, model.detokenize_actions = checked, begun


def refused(files: Files) -> Iterator[str]:
    """What LeRobot would take otherwise than it was trained, by a checkpoint's files alone."""
    if files.type != "pi0_fast":
        return
    played, trained = (files.config.get(name, 50) for name in ("n_action_steps", "chunk_size"))
    if played != trained:
        yield (
            f"n_action_steps ({played!r:.40}) and chunk_size ({trained!r:.40}) in {CONFIG}: its tokens stand for as "
            "many rows as the latter, and LeRobot would read them as fewer, played in another time. Write the same "
            "number for both there, and let the robot play as few of a chunk as it likes"
        )
