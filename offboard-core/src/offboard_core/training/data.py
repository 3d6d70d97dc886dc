"""What ``offboard convert`` left in a data set about how it was made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

from offboard_client.errors import ConfigurationError

#: Beside what the data set's own form has.
MADE = Path("meta", "offboard.json")


def made_with(folder: Path) -> dict[str, Any]:
    """``codec``, ``action_fps`` and ``codec_options``, as :meth:`.Trainer.said_of` has them; {} where others made it.

    Raises ConfigurationError for a file that says them wrongly.
    """
    path = folder / MADE
    try:
        said: Any = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from None
    if not isinstance(said, dict) or "codec" not in said:
        return {}
    record = cast("dict[str, Any]", said)
    codec, fps = record["codec"], record.get("fps")
    if not isinstance(codec, str) or type(fps) not in (int, float):
        raise ConfigurationError(
            f"{path} says that codec is {codec!r:.80} and fps is {fps!r:.80}, expected a codec's name and a number"
        )
    options: Any = record.get("options", {})
    if not isinstance(options, dict):
        raise ConfigurationError(f"{path} says that options is {options!r:.80}, expected a map of the codec's options")
    return {"codec": codec, "action_fps": fps, "codec_options": options}
