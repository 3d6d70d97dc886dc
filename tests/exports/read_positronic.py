"""Says as JSON what Positronic's own reader finds in a data set; run in an environment that has it, not a test."""

import json
import sys
from pathlib import Path

import numpy as np
from positronic.dataset.local_dataset import load_dataset
from positronic.dataset.time import Time

episodes = []
for episode in load_dataset(Path(sys.argv[1])):
    bounds = episode.bounds("recorded")
    found = {}
    for seconds in json.loads(sys.argv[2]):
        now = episode.time[Time(recorded=bounds.start + round(seconds * 1e9))]
        found[seconds] = {
            name: [*value.shape, float(value.mean())] if value.ndim == 3 else value.tolist()
            for name, value in ((name, np.asarray(now[name])) for name in episode.signals)
        }  # fmt: skip
    sizes = {name: len(signal) for name, signal in episode.signals.items()}
    seconds = (bounds.finish - bounds.start) / 1e9
    episodes.append({"static": dict(episode.static), "at": found, "sizes": sizes, "seconds": seconds})
print(json.dumps(episodes))
