"""FAST's tokens, read as data: what its published tokenizers bring as code is written here instead."""

# LeRobot and transformers leave much of what they take and give untyped.
# pyright: reportMissingImports=false, reportUnknownVariableType=false, reportUnknownMemberType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from offboard_client.errors import InvalidAction, LoadFailed

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


def refuse_what_stands_for_nothing(model: Any) -> None:
    """Let a pi0-FAST policy fail at tokens that stand for no action. LeRobot's answers zeros then."""
    decode = model.decode_actions_with_fast

    def checked(token_ids: Sequence[Any], **how: Any) -> Any:
        for tokens in token_ids:
            try:
                text = model.action_tokenizer.bpe_tokenizer.decode(tokens)
            except Exception:
                text = ""
            if not text:
                raise InvalidAction(f"the policy answered {len(tokens)} tokens that stand for no action")
        return decode(token_ids, **how)

    model.decode_actions_with_fast = checked
