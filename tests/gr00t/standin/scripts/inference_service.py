"""N1.5's server without a model."""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from standin import Policy, Serializer, Server

#: Name → the key of the instruction. The other keys of a real one are its own; here they are the checkpoint's.
DATA_CONFIGS = {
    "so100_dualcam": "annotation.human.task_description",
    "fourier_gr1_arms_only": "annotation.human.action.task_description",
    "examples.arm:Arm": "annotation.language.language_instruction",
}
TAGS = ("gr1", "oxe_droid", "agibot_genie1", "new_embodiment")


class N15Policy(Policy):
    def __init__(self, folder, tag, data_config):
        if data_config not in DATA_CONFIGS:
            raise ValueError(f"Invalid data_config '{data_config}'. Available options: {list(DATA_CONFIGS)}")
        found = json.loads((Path(folder) / "experiment_cfg" / "metadata.json").read_text()).get(tag)
        if found is None:
            raise ValueError(
                f"No metadata found for embodiment tag: {tag}", "make sure the metadata.json file is present"
            )
        modalities = found["modalities"]
        taken = json.loads(said.read_text()).get("takes") if (said := Path(folder) / "standin.json").is_file() else None
        if taken is not None:  # as a data config may
            modalities["state"] = {name: modalities["state"][name] for name in taken}
        keys = {kind: [f"{kind}.{name}" for name in modalities[kind]] for kind in ("video", "state", "action")}
        keys["language"] = [DATA_CONFIGS[data_config]]
        super().__init__(
            folder,
            {
                kind: {"delta_indices": [*range(16)] if kind == "action" else [0], "modality_keys": names}
                for kind, names in keys.items()
            },
        )
        self.sizes = {f"video.{name}": tuple(camera["resolution"]) for name, camera in modalities["video"].items()}
        for kind in ("state", "action"):
            for name, group in modalities[kind].items():
                self.widths[kind, name] = group["shape"][0]

    def get_action(self, observation):
        batched = all(value.ndim >= 3 for name, value in observation.items() if "state" in name)
        if not batched:
            observation = {
                name: value[None] if isinstance(value, np.ndarray) else value for name, value in observation.items()
            }
        try:
            for name in (*self.configs["video"].modality_keys, *self.configs["state"].modality_keys):
                observation[name]
            for name, (width, height) in self.sizes.items():
                if observation[name].shape[2:4] != (height, width):
                    raise ValueError(f"Video {name} has invalid resolution {observation[name].shape[2:4]}")
            names = self.configs["state"].modality_keys
            states = {name.removeprefix("state."): observation[name][0] for name in names}
            self.joined(states)
        except Exception as error:
            raise ValueError(f"Error applying transform 0 to data: {error}") from error
        [key] = self.configs["language"].modality_keys
        prompt = np.array(observation[key], ndmin=0)[0]  # an index error for a text that is in no list
        answers = {f"action.{name}": value[None] for name, value in self.answer(states, str(prompt)).items()}
        if batched:
            return answers
        return {name: value[0] if self.says.get("keeps_axes") else np.squeeze(value) for name, value in answers.items()}

    def get_modality_config(self):
        return self.configs


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model-path", default="nvidia/GR00T-N1.5-3B")
    parser.add_argument("--embodiment-tag", default="gr1", choices=TAGS)
    parser.add_argument("--data-config", default="fourier_gr1_arms_waist")
    parser.add_argument("--port", type=int, default=5555)
    parser.add_argument("--host", default="localhost")
    parser.add_argument("--server", action="store_true")
    parser.add_argument("--client", action="store_true")
    parser.add_argument("--denoising-steps", type=int, default=4)
    parser.add_argument("--api-token", default=None)
    parser.add_argument("--inference-mode", default="pytorch")
    parser.add_argument("--trt-engine-path", default="gr00t_engine")
    args = parser.parse_args()
    if not args.server:
        raise ValueError("Please specify either --server or --client")
    policy = N15Policy(args.model_path, args.embodiment_tag, args.data_config)
    print(f"Set action denoising steps to {args.denoising_steps}")
    endpoints = {"get_action": (policy.get_action, True), "get_modality_config": (policy.get_modality_config, False)}
    # Wherever --host says.
    Server(f"tcp://*:{args.port}", Serializer("npy", as_text=True), endpoints, args.api_token, spread=False).run()


if __name__ == "__main__":
    main()
