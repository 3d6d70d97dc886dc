import subprocess
import sys

import numpy as np
import PIL
import pytest
from golden_codecs import GOLDEN, picture, sha16
from offboard_client.errors import BadObservation
from offboard_core.codecs import LetterboxImage, letterbox


def bilinear(array: np.ndarray, size: int, axis: int) -> np.ndarray:
    """Resampling along one axis with the triangle filter, which widens when it shrinks; as a matrix, in floats."""
    length = array.shape[axis]
    scale = length / size
    support = max(scale, 1.0)
    centres = (np.arange(size) + 0.5) * scale
    weights = np.maximum(0, 1 - np.abs(np.arange(length) + 0.5 - centres[:, None]) / support)
    weights /= weights.sum(axis=1, keepdims=True)
    return np.moveaxis(np.tensordot(weights, array, axes=(1, axis)), 0, axis)


@pytest.mark.parametrize("case", GOLDEN["letterbox"], ids=lambda case: "x".join(map(str, case["in_hw"])))
def test_the_golden_letterbox(case):
    width, height = case["out_wh"]
    source = picture(*case["in_hw"], 7)
    made = letterbox(source, width, height)
    assert list(made.shape) == case["out_shape"]
    assert made.dtype == np.uint8
    (top, bottom), (left, right) = case["content_rows"], case["content_cols"]
    inside = made[top : bottom + 1, left : right + 1]
    assert made.astype(int).sum() == inside.astype(int).sum(), "the bars are black"
    expected = bilinear(bilinear(source.astype(float), right - left + 1, 1), bottom - top + 1, 0)
    assert np.abs(inside - expected).max() <= 1.0
    if PIL.__version__ == "13.0.0":
        assert sha16(made) == case["sha256_16"]


def test_an_image_of_the_right_size_is_untouched():
    source = picture(224, 224, 3)
    assert letterbox(source, 224, 224) is source


def test_width_and_height_are_not_mixed_up():
    made = letterbox(np.full((10, 20, 3), 255, np.uint8), 40, 30)
    assert made.shape == (30, 40, 3)
    assert (made[5:25] == 255).all()
    assert not made[:5].any()
    assert not made[25:].any()


def test_a_sliver_of_an_image_stays_visible():
    assert letterbox(np.full((1, 1000, 3), 255, np.uint8), 32, 32).any()


def test_a_read_only_image_is_read():
    source = picture(100, 50, 1)
    source.flags.writeable = False
    assert letterbox(source, 20, 20).shape == (20, 20, 3)


codec = LetterboxImage(name="observation.images.left", source="image.wrist", size=(32, 24))


@pytest.mark.parametrize(
    "value",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((3, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
        "image",
        None,
    ],
)
def test_what_is_no_image_is_refused_by_name(value):
    with pytest.raises(BadObservation, match=r"image\.wrist"):
        codec.encode({"image.wrist": value})


def test_a_missing_image_names_what_there_is():
    with pytest.raises(BadObservation, match=r"lacks 'image\.wrist'.*image\.wrists, task.*is image\.wrists"):
        codec.encode({"image.wrists": picture(4, 4, 0), "task": ""})


def test_listing_codecs_does_not_import_pillow():
    program = "import sys, offboard_core.codecs; assert 'PIL' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=600)


def test_a_client_may_shrink_to_the_size_of_the_model():
    assert codec.meta.image_sizes == (32, 24)
    assert codec.meta.observation["image.wrist"].shape == (-1, -1, 3)
    assert codec.features["observation.images.left"].shape == (24, 32, 3)
