"""What relays report of their cameras. `control` reads it off the wire, `observe` keeps it, `status` tells it."""

from dataclasses import dataclass
from enum import StrEnum


class CameraState(StrEnum):
    """How a relay gets on with a camera."""

    WAITING = "Waiting"
    LIVE = "Live"
    OFFLINE = "Offline"


@dataclass(frozen=True, slots=True)
class Video:
    """What a stream carries, as its parameter sets say."""

    codec: str
    profile_level_id: str
    width: int
    height: int
    # Frames a second; None where the stream does not declare them.
    fps: float | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What a relay last said about a camera it pulls."""

    relay: str
    state: CameraState
    # The fault by cause ("Unauthorized"), empty where there is none.
    reason: str = ""
    # For a person: the cause and who mends it.
    message: str = ""
    video: Video | None = None
    # Kilobits a second of its stream as measured; 0 until they are.
    bitrate_kbps: int = 0
    # metadata.generation of the camera that it speaks of; 0 on one machine.
    generation: int = 0
