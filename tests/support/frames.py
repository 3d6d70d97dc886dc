"""Pictures and arrays as they lie in a frame."""

import io

import numpy as np
from PIL import Image

PIXELS = np.tile(np.arange(0, 96, 2, dtype=np.uint8)[None, :, None], (32, 1, 3))


def picture(form="PNG"):
    out = io.BytesIO()
    Image.fromarray(PIXELS).save(out, form, quality=95)
    return out.getvalue()


def binary(array, **changes):
    """The marker map as openpi and Positronic write it, changed."""
    marker = {
        b"__ndarray__": True, b"data": array.tobytes(), b"dtype": array.dtype.str, b"shape": list(array.shape),
    }  # fmt: skip
    return {**marker, **{name.encode(): value for name, value in changes.items()}}


def refused(world, frame):
    found, reply = world(frame)
    assert found is None
    assert reply["code"] == "bad_message", reply
    return reply["error"]
