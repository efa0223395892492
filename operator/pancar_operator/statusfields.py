"""What the operator writes into the status of its resources; part of `model`, like it the one home of its schema."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from pancar_operator.rules import KEYED_BY_TYPE, schema
from pancar_operator.values import ConditionType, Integer, Number, Reason


class Truth(StrEnum):
    """The status of a condition."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


@schema
class StatusCondition:
    """One aspect of an object's state, as Kubernetes' tools read it."""

    type: Annotated[ConditionType, Field(description="What the condition is about.")]
    status: Annotated[Truth, Field(description="Whether it holds; Unknown until something is known.")]
    reason: Annotated[Reason, Field(description="Why, in one CamelCase word for programs.")]
    message: Annotated[
        str, Field(max_length=4096, description="Why, for a person: the cause and who mends it; may be empty.")
    ]
    last_transition_time: Annotated[datetime, Field(description="When status last changed.")]
    observed_generation: Annotated[
        Integer | None,
        Field(ge=0, description="The metadata.generation that the condition speaks of."),
    ] = None


@schema
class VideoStatus:
    """What the main stream carries, as its parameter sets say."""

    codec: Annotated[str, Field(max_length=32, description="The codec, as H264.")]
    profile: Annotated[
        str, Field(max_length=32, description="Profile of the codec; for H.264 its profile-level-id (RFC 6184, 8.1).")
    ]
    width: Annotated[Integer, Field(ge=0, le=65_535, description="Width in pixels.")]
    height: Annotated[Integer, Field(ge=0, le=65_535, description="Height in pixels.")]
    fps: Annotated[Number | None, Field(ge=0, description="Frames a second, where the stream declares them.")] = None


@schema
class CameraStatus:
    """What the operator last saw of the camera; it is written when something changes, and only then."""

    observed_generation: Annotated[
        Integer | None,
        Field(ge=0, description="The metadata.generation that the status speaks of."),
    ] = None
    conditions: Annotated[
        tuple[StatusCondition, ...],
        Field(
            max_length=16,
            description="Placed (on a relay), Connected (its stream is pulled), Ready (can be watched) and Paused.",
            json_schema_extra=KEYED_BY_TYPE,
        ),
    ] = ()
    pool: Annotated[
        str | None, Field(max_length=317, description="Namespace and name of the RelayPool that takes the camera.")
    ] = None
    relay: Annotated[str | None, Field(max_length=253, description="The relay that pulls the camera.")] = None
    video: Annotated[VideoStatus | None, Field(description="What the main stream carries.")] = None


@schema
class RelayPoolStatus:
    """What the operator last saw of the pool."""

    observed_generation: Annotated[
        Integer | None,
        Field(ge=0, description="The metadata.generation that the status speaks of."),
    ] = None
    conditions: Annotated[
        tuple[StatusCondition, ...],
        Field(
            max_length=16,
            description="Ready (its relays serve), Scaled (as many as it shall have) and UpToDate (no roll goes on).",
            json_schema_extra=KEYED_BY_TYPE,
        ),
    ] = ()
    replicas: Annotated[Integer | None, Field(ge=0, le=1000, description="Relays that there are.")] = None
    ready_replicas: Annotated[Integer | None, Field(ge=0, le=1000, description="Relays that serve.")] = None
    selector: Annotated[
        str | None, Field(max_length=1024, description="Label selector of the relays' pods, for the scale subresource.")
    ] = None
