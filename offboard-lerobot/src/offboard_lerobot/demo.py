"""From nothing to a small ACT for the simulated arm: what ``offboard demo --vendor lerobot`` offers.

Demonstrations by the scripted policy, which knows where the cubes are; the student sees the wrist's camera and the
arm's own state. ``examples/sim_stack/run.sh`` has the same commands, to be read and changed, and says why.
"""

from __future__ import annotations

from offboard_core import DemoRecipe

_STEPS = "1500"
_RECORD = (
    "run", "sim", "--policy", "local:scripted?speed=0.2&rest=0.8", "--horizon-sec", "0.8",
    "--episodes", "180", "--seconds", "40", "--seed", "10000", "--spread", "0.15", "--image-size", "64",
    "--pushes", "0.03", "--no-record-sent", "--output-dir", "{folder}/recordings",
)  # fmt: skip
_CONVERT = (
    "convert", "{folder}/recordings", "--codec", "lerobot.ee", "--codec.image-size", "64",
    "--codec.cameras", "image.wrist", "--outcome", "success", "--output-dir", "{folder}/data",
)  # fmt: skip
_TRAIN = (
    "train", "--vendor", "lerobot", "--policy", "act", "--dataset", "{folder}/data", "--output-dir", "{folder}/run",
    "--num-train-steps", _STEPS, "--save_freq", _STEPS, "--batch_size", "32", "--num_workers", "1",
    "--dataset.video_backend", "pyav",
    "--policy.device", "cpu", "--policy.pretrained_backbone_weights", "null",
    "--policy.dim_model", "128", "--policy.n_heads", "4", "--policy.dim_feedforward", "512",
    "--policy.n_encoder_layers", "2", "--policy.use_vae", "false", "--policy.dropout", "0",
    "--policy.chunk_size", "15", "--policy.n_action_steps", "15",
    "--policy.optimizer_lr_backbone", "5e-4", "--use_policy_training_preset", "false",
    "--optimizer.type", "adamw", "--optimizer.lr", "5e-4", "--optimizer.grad_clip_norm", "10",
    "--scheduler.type", "cosine_decay_with_warmup", "--scheduler.peak_lr", "5e-4", "--scheduler.decay_lr", "2.5e-5",
    "--scheduler.num_warmup_steps", "50", "--scheduler.num_decay_steps", _STEPS,
)  # fmt: skip

RECIPE = DemoRecipe(
    takes="about half an hour on 2 cores, 200 MB and no download",
    commands=(_RECORD, _CONVERT, _TRAIN),
    checkpoints="run",
    serve=("--device", "cpu"),
    options={"seconds": 30.0, "image_size": 64, "spread": 0.15},
)
