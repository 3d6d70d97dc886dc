"""What the two trainings share: the data set that they read, and the run that they leave. There is no model."""

import argparse
import json
import os
import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "support")]

from gr00t_standin import write_checkpoint  # noqa: E402


def flags(parser):
    """The command line as tyro reads it: hyphens and underscores are alike, what is unknown ends it."""
    words = [re.sub(r"^--[^=]*", lambda flag: flag[0].replace("_", "-"), word) for word in sys.argv[1:]]
    try:
        return argparse.ArgumentParser.parse_args(parser, words)
    except SystemExit:
        print("Unrecognized or missing options", file=sys.stderr)
        raise


def read(data):
    """A data set's groups: modality → group → numbers; as GR00T's loader finds them."""
    meta = Path(data) / "meta"
    info = json.loads((meta / "info.json").read_text())
    for name in ("episodes.jsonl", "tasks.jsonl"):
        (meta / name).read_text()
    modality = json.loads((meta / "modality.json").read_text())
    for camera in modality["video"].values():
        if camera["original_key"] not in info["features"]:
            raise KeyError(camera["original_key"])
    found = {"video": list(modality["video"]), "annotation": list(modality["annotation"])}
    for kind, column in (("state", "observation.state"), ("action", "action")):
        found[kind] = {}
        for group, part in modality[kind].items():
            (width,) = info["features"][part.get("original_key", column)]["shape"]
            assert 0 <= part["start"] < part["end"] <= width, group
            found[kind][group] = part["end"] - part["start"]
    (meta / "stats.json").write_text("{}")
    return found


def run(output, steps, save_steps, keep, start, save):
    """Steps up to ``steps`` from after ``start``; a checkpoint now and then, and at the last one."""
    output = Path(output)
    output.mkdir(parents=True, exist_ok=True)
    (output / "seen.json").write_text(json.dumps({"words": sys.argv[1:], "wandb": "WANDB_API_KEY" in os.environ}))
    for step in range(start + 1, steps + 1):
        print(f"\r{100 * step // steps}%| {step}/{steps}", end="", file=sys.stderr, flush=True)
        if step % save_steps == 0 or step == steps:
            print(f"\n{{'loss': 0.0123, 'epoch': {step}}}", flush=True)
            save(output / f"checkpoint-{step}")
            done = sorted(output.glob("checkpoint-*"), key=lambda path: int(path.name.partition("-")[2]))
            for old in done[:-keep]:
                for path in sorted(old.rglob("*"), reverse=True):
                    path.unlink() if path.is_file() else path.rmdir()
                old.rmdir()


def newest(output):
    return max((int(path.name.partition("-")[2]) for path in Path(output).glob("checkpoint-*")), default=0)


__all__ = ["argparse", "flags", "newest", "read", "run", "write_checkpoint"]
