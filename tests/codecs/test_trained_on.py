"""What a codec says that its training rows are made of, for the codecs of every vendor that is installed."""

import numpy as np
import pytest
from golden_codecs import observation
from offboard_client.errors import BadObservation
from offboard_core.codecs import ActionSplit, LetterboxImage, Rename, StateVector, TrainingColumns, timed
from offboard_core.plugins import CODEC, Plugins
from offboard_core.types import Checkpoint

FRAME = observation() | {"target_pose": np.array([0.5, 0, 0.2, 0, 1, 0, 0]), "target_grip": 0.6}
VENDORS = ("gr00t", "lerobot", "openpi")
OFFERS = {
    offer.name: offer
    for offer in Plugins.discover().offers(CODEC)
    if offer.provider.name in VENDORS and offer.name != "lerobot.motors"  # of a checkpoint alone
}
MADE = {name: offer.make(offer.options()(), Checkpoint(id="training")) for name, offer in OFFERS.items()}
TRAINED = [name for name, codec in MADE.items() if codec.features]


def test_there_are_codecs_with_and_without_a_training_half():
    assert len(TRAINED) == 4 + 5 + 9
    assert all(not codec.trained_on for name, codec in MADE.items() if name not in TRAINED)


@pytest.mark.parametrize("name", TRAINED)
def test_a_row_is_made_of_these_names_and_of_none_less(name):
    codec = MADE[name]
    commanded = {"target_pose", "target_grip"}
    assert codec.trained_on & commanded == (set() if name.endswith("_traj") else commanded)
    exactly = {each: FRAME[each] for each in (*codec.trained_on, "task")}
    assert codec.label(exactly).keys() - {"task"} == codec.features.keys()
    for absent in codec.trained_on:
        with pytest.raises(BadObservation, match=absent):
            codec.label({each: value for each, value in exactly.items() if each != absent})


def test_names_are_the_robots_through_what_stands_in_front():
    inner = StateVector(name="state", parts={"grip": 1}) & LetterboxImage(name="x", source="image.a", size=(2, 2))
    codec = timed(Rename({"image.front": "image.a"}) | inner, 10.0)
    assert codec.trained_on == {"grip", "image.front"}
    split = ActionSplit(parts={"target_grip": 1}, labels={"target_grip": "grip"})
    assert (StateVector(name="state", parts={"q": 2}) | split).trained_on == {"q"}  # whatever the second made of it
    assert TrainingColumns(inner=inner, columns={}).trained_on == frozenset()
