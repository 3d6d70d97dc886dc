"""What a robot sent stays what it sent: a codec reads it again when it decodes the action."""

import json

import numpy as np
import pytest

SENT = {
    "list": {"x": [1.0, 2.0]},
    "whole numbers": {"x": [1, 2]},
    "image": {"image.x": [[[1, 2, 3]]]},
    "nested": {"x": [[1.0], [2.0]]},
}


@pytest.mark.rule("O-12")
@pytest.mark.parametrize("form", ["text", "binary"])
@pytest.mark.parametrize("sent", SENT.values(), ids=SENT)
def test_a_policy_cannot_write_into_what_came(world, sent, form):
    seen, reply = world(json.dumps(sent) if form == "text" else sent)
    assert "result" in reply
    (array,) = seen.values()
    assert isinstance(array, np.ndarray)
    assert not array.flags.writeable
