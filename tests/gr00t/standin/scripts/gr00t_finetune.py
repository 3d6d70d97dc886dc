"""The training of N1.5 without a model. It goes on from a checkpoint only if it is told to."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from finetuning import argparse, flags, newest, read, run, write_checkpoint


def main():
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--dataset-path", nargs="+", required=True)
    parser.add_argument("--output-dir", default="/tmp/gr00t")
    parser.add_argument("--data-config", default="fourier_gr1_arms_only")
    parser.add_argument("--embodiment-tag", default="new_embodiment", choices=["new_embodiment", "gr1", "oxe_droid"])
    parser.add_argument("--base-model-path", default="nvidia/GR00T-N1.5-3B")
    parser.add_argument("--report-to", default="wandb", choices=["wandb", "tensorboard", "azure_ml"])
    for name, value in {"max-steps": 10000, "save-steps": 1000, "num-gpus": 1, "batch-size": 32,
                        "dataloader-num-workers": 12}.items():  # fmt: skip
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--resume", action="store_true")
    args = flags(parser)
    if args.data_config != "examples.arm:Arm":
        raise ValueError(f"Invalid data_config '{args.data_config}'")
    data = read(args.dataset_path[0])

    def save(folder):
        write_checkpoint(folder, "n1.5", video=data["video"], state=data["state"], action=data["action"])

    start = newest(args.output_dir) if args.resume else 0
    run(args.output_dir, args.max_steps, args.save_steps, 8, start, save)


if __name__ == "__main__":
    main()
