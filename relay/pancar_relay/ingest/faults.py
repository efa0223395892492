"""The one home of what can be wrong with a camera: a sentence for a person, who mends it, how soon to try again.

Names are the engine's (`PullEnded.fault`) and Camera status's reasons. `ingest.pulls` paces its retries by them, the
wall and the operator show their sentences.
"""

from dataclasses import dataclass
from enum import StrEnum


class Fault(StrEnum):
    UNREACHABLE = "Unreachable"
    REFUSED = "Refused"
    TIMEOUT = "Timeout"
    UNAUTHORIZED = "Unauthorized"
    NOT_FOUND = "NotFound"
    SESSION_LIMIT = "SessionLimit"
    NO_VIDEO = "NoVideo"
    UNSUPPORTED_CODEC = "UnsupportedCodec"
    UNSUPPORTED_TRANSPORT = "UnsupportedTransport"
    B_FRAMES = "BFrames"
    NO_MEDIA = "NoMedia"
    NO_KEY_FRAME = "NoKeyFrame"
    NO_PARAMETER_SETS = "NoParameterSets"
    PACKET_LOSS = "PacketLoss"
    STALLED = "Stalled"
    DISCONNECTED = "Disconnected"
    PROTOCOL_ERROR = "ProtocolError"


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds between attempts: the first wait, doubled at each fault up to the cap, then jittered downwards."""

    first: float
    cap: float


# What may pass by itself.
STEADY = Pace(1.0, 15.0)
# What somebody must change at the camera: trying often gains nothing.
PATIENT = Pace(15.0, 30.0)
# Cameras lock an account out after a few wrong passwords, often for half an hour.
WARY = Pace(60.0, 300.0)


@dataclass(frozen=True, slots=True)
class Description:
    message: str
    pace: Pace


_DESCRIPTIONS = {
    Fault.UNREACHABLE: Description(
        "The camera's address cannot be reached. The network's keeper mends this: check the camera's power, cable and "
        "route, and the host in source.main.url.",
        STEADY,
    ),
    Fault.REFUSED: Description(
        "The camera's host is up but refuses the connection. The camera's keeper mends this: check that RTSP is "
        "switched on and that the port in source.main.url is right.",
        STEADY,
    ),
    Fault.TIMEOUT: Description(
        "The camera does not answer in time. The network's keeper mends this: check for a firewall between relay and "
        "camera, an overloaded link or a hung camera.",
        STEADY,
    ),
    Fault.UNAUTHORIZED: Description(
        "The camera refuses the user name or password. Whoever keeps the camera's Secret mends this: correct the "
        "credentials that source.credentialsRef names. The relay tries seldom, so that the account is not locked out.",
        WARY,
    ),
    Fault.NOT_FOUND: Description(
        "The camera has no stream at this path. The manifest's author mends this: correct the path in source.main.url.",
        STEADY,
    ),
    Fault.SESSION_LIMIT: Description(
        "The camera serves no further session. The camera's keeper mends this: close other clients that pull from it, "
        "or raise its session limit.",
        STEADY,
    ),
    Fault.NO_VIDEO: Description(
        "The stream carries no video. The camera's keeper mends this: enable video in the profile that source.main.url "
        "names.",
        PATIENT,
    ),
    Fault.UNSUPPORTED_CODEC: Description(
        "The video is not H.264. The camera's keeper mends this: set the profile's codec to H.264.",
        PATIENT,
    ),
    Fault.B_FRAMES: Description(
        "The video holds B-frames, which WebRTC cannot show. The camera's keeper mends this: switch B-frames off, or "
        "choose a Baseline profile.",
        PATIENT,
    ),
    Fault.UNSUPPORTED_TRANSPORT: Description(
        "The camera does not send by the transport that source.main.transport asks for. The manifest's author mends "
        "this: set it to Auto, which takes TCP or UDP, as the camera likes.",
        PATIENT,
    ),
    Fault.NO_MEDIA: Description(
        "The camera agreed to play, but nothing arrives from it. The network's keeper mends this: over UDP, check for "
        "a firewall between camera and relay, or set source.main.transport to TCP; else restart the camera.",
        STEADY,
    ),
    Fault.NO_KEY_FRAME: Description(
        "The video came without a key frame (IDR) for ten seconds, and no player can start without one. The camera's "
        "keeper mends this: set an I-frame interval of one to four seconds, and switch smart codecs (H.264+) off.",
        STEADY,
    ),
    Fault.NO_PARAMETER_SETS: Description(
        "The video comes without the parameter sets (SPS, PPS) that tell how to read it, or with broken ones. The "
        "camera's keeper mends this: restart the camera, update its firmware, and report the model if it lasts.",
        STEADY,
    ),
    Fault.PACKET_LOSS: Description(
        "So many packets are lost on the way from the camera that no picture comes whole. The network's keeper mends "
        "this: check cable, radio link and load, or set source.main.transport to TCP.",
        STEADY,
    ),
    Fault.STALLED: Description(
        "The camera stays connected but sends no more pictures. The relay reconnects by itself; if this lasts, the "
        "camera's keeper must restart it.",
        STEADY,
    ),
    Fault.DISCONNECTED: Description(
        "The connection to the camera broke off. The relay reconnects by itself; if this lasts, the network's keeper "
        "must check the camera's power and link.",
        STEADY,
    ),
    Fault.PROTOCOL_ERROR: Description(
        "The camera answers with something that is not sound RTSP or H.264. The camera's keeper mends this: update its "
        "firmware, and report the model if it lasts.",
        STEADY,
    ),
}

# A stream that ran and broke is tried again within a second: most such breaks are over by then.
PROMPT = frozenset({Fault.DISCONNECTED, Fault.STALLED})


def describe(fault: Fault) -> Description:
    return _DESCRIPTIONS[fault]


def message(fault: Fault) -> str:
    return _DESCRIPTIONS[fault].message
