"""Whatever a client calls a model: the answer is a checkpoint or a sentence, and cheap."""

import pytest
from offboard_client.errors import ModelNotFound
from offboard_core import Checkpoint, ModelRegistry


class Many(ModelRegistry):
    def checkpoints(self):
        return [Checkpoint(id=f"{number:08d}") for number in range(10_000)]


@pytest.mark.rule("S-4")
@pytest.mark.parametrize("asked", ["0" * 8000 + "42", "42", "00000042"], ids=len)
def test_leading_zeros_do_not_count_however_many(asked):
    assert Many().resolve(asked).id == "00000042"


@pytest.mark.rule("S-4")
@pytest.mark.parametrize("asked", ["9" * 8000, "9" * 4000, "1" + "0" * 5000, "²", "١", "-1", ""], ids=lambda a: a[:8])
def test_any_other_number_is_not_found(asked):
    with pytest.raises(ModelNotFound):
        Many().resolve(asked)
