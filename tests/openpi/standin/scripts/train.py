"""openpi's training without a model: its folders, its refusals, its progress."""

# ruff: noqa: E402

import argparse
import json
import os
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src" / "openpi" / "training"))

import config as _config


def save(place, step, config, stats):
    saving = place / f"{step}.orbax-checkpoint-tmp-0"
    (saving / "params" / "d").mkdir(parents=True)
    (saving / "params" / "_METADATA").write_text("{}")
    (saving / "params" / "d" / "0").write_bytes(os.urandom(4096))
    (saving / "train_state").mkdir()
    (saving / "assets" / config.asset_id).mkdir(parents=True)
    shutil.copy(stats, saving / "assets" / config.asset_id / "norm_stats.json")
    saving.rename(place / str(step))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("config")
    parser.add_argument("--exp-name", required=True)
    parser.add_argument("--assets-base-dir", default="./assets")
    parser.add_argument("--checkpoint-base-dir", default="./checkpoints")
    parser.add_argument("--num-train-steps", type=int, default=30_000)
    parser.add_argument("--save-interval", type=int, default=1000)
    parser.add_argument("--overwrite", action="store_true")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--no-wandb-enabled", action="store_true")
    args = parser.parse_args()
    config = _config.get_config(args.config)
    place = (Path(args.checkpoint_base_dir) / config.name / args.exp_name).resolve()
    resuming = False
    if place.exists():
        if args.overwrite:
            shutil.rmtree(place)
        elif args.resume:
            resuming = True
        else:
            raise FileExistsError(f"Checkpoint directory {place} already exists. Use --overwrite or --resume")
    place.mkdir(parents=True, exist_ok=True)
    data = Path(os.environ["HF_LEROBOT_HOME"]) / config.asset_id / "meta" / "info.json"
    if not data.exists():
        raise FileNotFoundError(f"no data set at {data}")
    stats = (Path(args.assets_base_dir) / config.name).resolve() / config.asset_id / "norm_stats.json"
    if not stats.exists():
        raise ValueError("Normalization stats not found. Make sure to run `scripts/compute_norm_stats.py`.")
    (place / "seen.json").write_text(
        json.dumps({"wandb": not args.no_wandb_enabled, "memory": os.environ.get("XLA_PYTHON_CLIENT_MEM_FRACTION")})
    )
    done = [int(step.name) for step in place.iterdir() if step.name.isdigit()]
    start = max(done, default=-1) + 1 if resuming else 0
    for step in range(start, args.num_train_steps):
        print(f"\r{100 * (step + 1) // args.num_train_steps}%| {step + 1}/{args.num_train_steps}", end="", flush=True)
        if (step % args.save_interval == 0 and step > start) or step == args.num_train_steps - 1:
            print(f"\nStep {step}: loss=0.0123", file=sys.stderr)
            save(place, step, config, stats)


if __name__ == "__main__":
    main()
