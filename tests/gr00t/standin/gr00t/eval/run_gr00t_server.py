"""The server of N1.6 and N1.7 without a model."""

import argparse
import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
from standin import Policy, Serializer, Server

#: Name → value; those of N1.6 are asked for by name alone.
TAGS = {
    "Gr00tN1d6": {
        name: name.lower()
        for name in ("LIBERO_PANDA", "OXE_DROID", "UNITREE_G1", "ROBOCASA_PANDA_OMRON", "GR1", "NEW_EMBODIMENT")
    },
    "Gr00tN1d7": {"LIBERO_PANDA": "libero_sim", "UNITREE_G1": "unitree_g1", "NEW_EMBODIMENT": "new_embodiment",
                  "OXE_DROID_RELATIVE_EEF_RELATIVE_JOINT": "oxe_droid_relative_eef_relative_joint"},
}  # fmt: skip


def resolved(tag, model_type):
    tags = TAGS.get(model_type, TAGS["Gr00tN1d7"])  # a fork, whose names are its own
    if model_type == "Gr00tN1d6":
        if tag not in tags:
            print(f"error: argument --embodiment-tag: invalid choice: '{tag}' (choose from {', '.join(tags)})")
            raise SystemExit(2)
        return tags[tag]
    for name, value in tags.items():
        if tag.lower() in (name.lower(), value):
            return value
    raise ValueError(f"Unknown embodiment tag: {tag}")


class N16Policy(Policy):
    def __init__(self, folder, tag, strict=True):
        place = Path(folder)
        if not (place / "processor_config.json").exists():
            place /= "processor"
        kwargs = json.loads((place / "processor_config.json").read_text())["processor_kwargs"]
        super().__init__(folder, kwargs["modality_configs"][tag])
        statistics = json.loads((place / "statistics.json").read_text())[tag]
        self.widths = {
            (kind, name): len(found["mean"]) for kind in ("state", "action") for name, found in statistics[kind].items()
        }
        self.strict = strict

    def check(self, observation):
        for modality in ("video", "state", "language"):
            assert modality in observation, f"Observation must contain a '{modality}' key"
        for modality, dtype, axes in (("video", np.uint8, 5), ("state", np.float32, 3)):
            config = self.configs[modality]
            for key in config.modality_keys:
                value = observation[modality][key]
                what = f"{modality.capitalize()} key '{key}'"
                assert isinstance(value, np.ndarray), f"{what} must be a numpy array. Got {type(value)}"
                assert value.dtype == dtype, f"{what} must be a numpy array of type {dtype}. Got {value.dtype}"
                assert value.ndim == axes, f"{what} must be a numpy array with {axes} axes, got {value.shape}"
                horizon = len(config.delta_indices)
                assert value.shape[1] == horizon, f"{what}'s horizon must be {horizon}. Got {value.shape[1]}"
        batch = len(observation["video"][self.configs["video"].modality_keys[0]])
        for key in self.configs["language"].modality_keys:
            texts = observation["language"][key]
            assert len(texts) == batch, f"Language key '{key}' must have batch size {batch}. Got {len(texts)}"
            assert isinstance(texts, list), f"Language key '{key}' must be a list. Got {type(texts)}"
            for item in texts:
                assert isinstance(item, list), f"Language batch item must be a list. Got {type(item)}"
                assert len(item) == 1, f"Language batch item must have exactly one item. Got {len(item)}"

    def get_action(self, observation, options=None):
        if self.strict:
            self.check(observation)
        prompts = [texts[0] for texts in observation["language"][self.configs["language"].modality_keys[0]]]
        batch = []
        for i, prompt in enumerate(prompts):
            states = {name: observation["state"][name][i] for name in self.configs["state"].modality_keys}
            self.joined(states)
            answers = self.answer(states, prompt)
            if prompt == "frames":
                frames = observation["video"][self.configs["video"].modality_keys[0]][i]
                next(iter(answers.values()))[:, : len(frames)] = frames.mean(axis=(1, 2, 3))
            batch.append(answers)
        info = {"denoised": np.float32(1)} if "scalar" in prompts else {}
        return {name: np.stack([answers[name] for answers in batch]) for name in batch[0]}, info

    def reset(self, options=None):
        return {}

    def get_modality_config(self):
        return self.configs


class SimWrapper:
    """Gr00tSimPolicyWrapper: flat names in and out."""

    def __init__(self, policy):
        self.policy, self.reset, self.get_modality_config = policy, policy.reset, policy.get_modality_config

    def get_action(self, observation, options=None):
        nested = {"video": {}, "state": {}, "language": {}}
        for kind, parts in nested.items():
            for key in self.policy.configs[kind].modality_keys:
                name = key if kind == "language" else f"{kind}.{key}"
                assert name in observation, f"{kind.capitalize()} key '{name}' must be in observation"
                value = observation[name]
                if kind == "language":
                    assert isinstance(value, (tuple, list)), f"Language key '{key}' must be a tuple or list"
                    value = [[str(item)] for item in value]
                parts[key] = value
        answers, info = self.policy.get_action(nested, options)
        return {f"action.{name}": value for name, value in answers.items()}, info


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model-path")
    parser.add_argument("--embodiment-tag", default="NEW_EMBODIMENT")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dataset-path")
    parser.add_argument("--modality-config-path")
    parser.add_argument("--execution-horizon", type=int)
    parser.add_argument("--host", default="0.0.0.0")
    parser.add_argument("--port", type=int, default=5555)
    parser.add_argument("--strict", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--use-sim-policy-wrapper", action="store_true")
    args = parser.parse_args()
    print("Starting GR00T inference server...")
    print(f"  Model path: {args.model_path}", flush=True)
    if args.model_path.startswith("/") and not os.path.exists(args.model_path):
        raise FileNotFoundError(f"Model path {args.model_path} does not exist")
    model_type = json.loads((Path(args.model_path) / "config.json").read_text()).get("model_type")
    policy = N16Policy(args.model_path, resolved(args.embodiment_tag, model_type), args.strict)
    says = policy.says
    if args.use_sim_policy_wrapper:
        policy = SimWrapper(policy)
    endpoints = {
        "get_action": (policy.get_action, True),
        "reset": (policy.reset, True),
        "get_modality_config": (policy.get_modality_config, False),
    }
    serializer = Serializer(says.get("form", "npy"))
    Server(f"tcp://{args.host}:{args.port}", serializer, endpoints, says.get("token"), spread=True).run()


if __name__ == "__main__":
    main()
