"""The training of N1.6 and N1.7 without a model. It goes on by itself wherever a checkpoint lies, as that of N1.6.

The newest of N1.7 has a flag for that, which is taken.
"""

import importlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from finetuning import argparse, flags, newest, read, run, write_checkpoint
from gr00t.configs.data.embodiment_configs import MODALITY_CONFIGS
from gr00t.data.embodiment_tags import EmbodimentTag


def load_modality_config(path):
    path = Path(path)
    if not (path.exists() and path.suffix == ".py"):
        raise FileNotFoundError(f"Modality config path does not exist: {path}")
    sys.path.append(str(path.parent))
    importlib.import_module(path.stem)
    print(f"Loaded modality config: {path}")


def main():
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for name in ("base-model-path", "dataset-path", "embodiment-tag"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--modality-config-path")
    parser.add_argument("--output-dir", default="./outputs")
    for name, value in {"max-steps": 10000, "save-steps": 1000, "save-total-limit": 5, "num-gpus": 1,
                        "global-batch-size": 64, "dataloader-num-workers": 2}.items():  # fmt: skip
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    for name in ("use-wandb", "resume-from-checkpoint"):
        parser.add_argument(f"--{name}", action="store_true")
    args = flags(parser)
    tag = EmbodimentTag[args.embodiment_tag].value
    if args.modality_config_path is not None:
        load_modality_config(args.modality_config_path)
    config, data = MODALITY_CONFIGS[tag], read(args.dataset_path)
    for kind in ("state", "action"):
        for group in config[kind].modality_keys:
            if group not in data[kind]:
                print(f"Warning: Joint group '{group}' not found in {kind} modality.")
                raise KeyError(f"{kind}.{group}")
    (language,) = config["language"].modality_keys
    assert language.removeprefix("annotation.") in data["annotation"], f"Key {language} not found in language modality"

    def save(folder):
        write_checkpoint(
            folder,
            "n1.6",
            video=config["video"].modality_keys,
            state={group: data["state"][group] for group in config["state"].modality_keys},
            action={group: data["action"][group] for group in config["action"].modality_keys},
            horizon=len(config["action"].delta_indices),
            language=language,
            action_configs=[each.said() for each in config["action"].action_configs],
        )

    run(args.output_dir, args.max_steps, args.save_steps, args.save_total_limit, newest(args.output_dir), save)


if __name__ == "__main__":
    main()
