"""What lerobot-train says and writes, and in which order, without what it learns; the slow tests run the real one.

Run as ``python THIS -m lerobot.scripts.lerobot_train --NAME=VALUE …``. Further options: ``--standin.cut=STEP`` fails in
the middle of this step's weights as a full disk does, ``--standin.stay=STEP`` stays there until it is ended, and
``--standin.log=TEXT`` ends with this.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from lerobot_checkpoints import write_files, write_safetensors

#: Options that it knows beside those that begin with these.
KNOWN = (
    "batch_size",
    "config_path",
    "job_name",
    "log_freq",
    "num_workers",
    "output_dir",
    "resume",
    "save_freq",
    "steps",
)
OWNERS = ("dataset.", "policy.", "wandb.", "standin.")


def main(arguments: list[str]) -> int:
    words = dict(word[2:].partition("=")[::2] for word in arguments)
    for name in words:
        if name not in KNOWN and not name.startswith(OWNERS):
            print("usage: lerobot_train.py [-h]\n                        [--batch_size str]")
            print(f"lerobot_train.py: error: unrecognized arguments: --{name}={words[name]}")
            return 2
    said = {}
    if "config_path" in words:
        said = json.loads(Path(words["config_path"]).read_text())
    said = {**said, **{name: value for name, value in words.items() if name not in ("config_path", "resume")}}
    out = Path(said["output_dir"])
    if "resume" not in words and out.is_dir():
        print(f"FileExistsError: Output directory {out} already exists and resume is False.")
        return 1
    print("INFO 2026-11-27 22:44:06 ot_train.py:217 Creating dataset", flush=True)
    if "standin.log" in words:
        print(words["standin.log"])
        return 1
    begun = int(Path(words["config_path"]).parents[1].name) if "config_path" in words else 0
    steps, every = int(said.get("steps", 100000)), int(said.get("save_freq", 20000))
    for step in range(begun + 1, steps + 1):
        bar = f"{step - begun}/{steps - begun} [00:06<00:1{steps - step},  6.93s/step]"
        print(f"\rTraining:  33%|███      | {bar}", end="", flush=True)
        print(
            f"INFO 2026-11-27 22:44:13 ot_train.py:641 step:{step} smpl:2 ep:0 loss:{step}.244 lr:1.0e-05", flush=True
        )
        if step % every == 0 or step == steps:
            save(out / "checkpoints" / f"{step:06d}", said, step)
    print("INFO 2026-11-27 22:44:23 ot_train.py:770 End of training")
    return 0


def save(folder: Path, said: dict[str, Any], step: int) -> None:
    """In LeRobot's order."""
    model = write_files(folder / "pretrained_model", kind=said["policy.type"])
    if str(step) in (said.get("standin.cut"), said.get("standin.stay")):
        for path in model.glob("policy_*"):
            path.unlink()
        weights = model / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-3])
        if said.get("standin.stay") == str(step):
            time.sleep(600)
        print('Traceback (most recent call last):\n  File "x.py", line 1, in save\n    write()')
        print("OSError: [Errno 28] No space left on device")
        sys.exit(1)
    data = {"repo_id": said["dataset.repo_id"], "root": said["dataset.root"]}
    kept = {name: value for name, value in said.items() if not name.startswith("standin.")}
    (model / "train_config.json").write_text(json.dumps({**kept, "dataset": data, "scheduler": None}))
    state = folder / "training_state"
    state.mkdir(exist_ok=True)
    (state / "training_step.json").write_text(json.dumps({"step": step}))
    write_safetensors(state / "rng_state.safetensors", torch=[1.0])
    write_safetensors(state / "optimizer_state.safetensors", exp_avg=[1.0, 2.0])
    (state / "optimizer_param_groups.json").write_text("[{}]")
    (state / "environment.json").write_text(json.dumps(dict(os.environ)))
    last = folder.parent / "last"
    last.unlink(missing_ok=True)
    last.symlink_to(folder.name)


if __name__ == "__main__":
    sys.exit(main(sys.argv[3:]))
