"""Episodes as MCAP files, which Foxglove and Rerun open: written while a robot is driven, and read again."""

from __future__ import annotations

from importlib.util import find_spec

from ..errors import ConfigurationError

if missing := [name for name in ("av", "foxglove_schemas_protobuf", "mcap") if find_spec(name) is None]:
    raise ConfigurationError(
        f"recordings need what is not installed here ({', '.join(missing)}): pip install 'offboard-client[record]'"
    )

from .asked import Frame, Question, Shadowed, read_questions, read_shadow, stamp, without_sent
from .blocks import Block
from .described import KILLED
from .file import EPISODE, OUTCOME, VERSION, RecordingFile
from .glance import Glance, glance
from .intact import check_intact
from .pictures import VideoDecoder, VideoEncoder, decode_frame, decode_image, encode_jpeg, encode_png, starts
from .reader import Episode, Said, read_observation, read_rows
from .recorder import Recorded, Recorder, as_json
from .rescue import finish, finish_all, is_finished
from .schemas import own
from .to_csv import write_csv
from .to_mp4 import SteadyVideo, write_mp4
from .topics import Topics, camera_of, is_picture, plain_observation, topic_of

__all__ = [
    "EPISODE",
    "KILLED",
    "OUTCOME",
    "VERSION",
    "Block",
    "Episode",
    "Frame",
    "Glance",
    "Question",
    "Recorded",
    "Recorder",
    "RecordingFile",
    "Said",
    "SteadyVideo",
    "Shadowed",
    "Topics",
    "VideoDecoder",
    "VideoEncoder",
    "as_json",
    "camera_of",
    "check_intact",
    "decode_frame",
    "decode_image",
    "encode_jpeg",
    "encode_png",
    "finish",
    "finish_all",
    "glance",
    "is_finished",
    "is_picture",
    "own",
    "plain_observation",
    "read_observation",
    "read_questions",
    "read_rows",
    "read_shadow",
    "stamp",
    "starts",
    "topic_of",
    "without_sent",
    "write_csv",
    "write_mp4",
]
