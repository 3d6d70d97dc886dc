"""The one embodiment that trainings of one's own are for."""

import enum


class EmbodimentTag(enum.Enum):
    LIBERO_PANDA = "libero_sim"
    NEW_EMBODIMENT = "new_embodiment"
