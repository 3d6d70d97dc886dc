"""What JPEG costs here, which is how images go over a slow link."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from ..errors import ConfigurationError
from ..wire import from_jpeg, jpeg_library, to_jpeg
from .finding import Finding

_TRIES = 5
_RAW = 480 * 640 * 3


def look_at_jpeg() -> Finding:
    """Whether simplejpeg is there, and how long one image of 480x640 takes with it."""
    try:
        jpeg_library()
    except ConfigurationError:
        return Finding(
            "images as JPEG", "mend", "simplejpeg is not installed", "installed",
            "--images jpeg and --images auto need it: two images of 480x640 took 761 ms raw and 108 as JPEG at "
            "20 Mbit/s, 169 and 52 at 100",
            "pip install 'offboard-client[images]'",
        )  # fmt: skip
    encode_s, decode_s, size = jpeg_costs()
    # What is saved on the way has to be more than what is spent at its ends.
    pays_below = (_RAW - size) * 8 / (encode_s + decode_s) / 1e6
    return Finding(
        "images as JPEG", "fine",
        f"simplejpeg: 480x640 in {encode_s * 1e3:.1f} ms, read in {decode_s * 1e3:.1f}; it pays below about "
        f"{_rounded(pays_below)} Mbit/s",
    )  # fmt: skip


def jpeg_costs(now: Callable[[], float] = time.perf_counter) -> tuple[float, float, int]:
    """Seconds to make and to read a JPEG of 480x640, the quickest of several tries, and its bytes."""
    x, y, z = np.ogrid[0:480, 0:640, 0:3]
    noise = np.random.default_rng(0).normal(0, 3, (480, 640, 3))
    image = (128 + 60 * np.sin(x / 23 + z) + 50 * np.sin(y / 17 - z) + noise).clip(0, 255).astype(np.uint8)
    encode_s, decode_s, file = list[float](), list[float](), b""
    for _ in range(_TRIES):
        began = now()
        file = to_jpeg(image)
        made = now()
        from_jpeg(file)
        encode_s.append(made - began)
        decode_s.append(now() - made)
    return min(encode_s), min(decode_s), len(file)


def _rounded(number: float) -> str:
    return f"{float(f'{number:.1g}'):,.0f}"
