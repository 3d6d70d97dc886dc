"""The plugin ``echo``: answers the pose it was sent, so that the arm stays where it is."""

from offboard_core import CheckpointLoader, Chunk, CodecEntry, LoaderEntry, Policy, Session, hookimpl
from offboard_core.codecs import ActionSplit, StateVector


class EchoSession(Session):
    def infer(self, inputs, context):
        return Chunk(inputs["state"][None])  # one step, shape (1, 8)


class EchoPolicy(Policy):
    def new_session(self, params):
        return EchoSession()


class EchoLoader(CheckpointLoader):
    def __init__(self, options):
        """This vendor has no options."""

    def load(self, checkpoint, report, place):
        return EchoPolicy()


def pose_codec(options, checkpoint):
    state = StateVector(name="state", parts={"robot_state.ee_pose": 7, "grip": 1})
    return state & ActionSplit(parts={"target_pose": 7, "target_grip": 1})


@hookimpl
def offboard_codecs():
    yield CodecEntry(name="pose", summary="The pose and the grip as one vector.", factory=pose_codec)


@hookimpl
def offboard_checkpoint_loaders():
    yield LoaderEntry(name="echo", summary="Stays where it is.", factory=EchoLoader, default_codec="pose")
