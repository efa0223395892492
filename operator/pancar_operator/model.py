"""What Pancar's operator reasons about: the resources people write, and the snapshot a plan is made from.

The resources are the one home of their schema: manifests are parsed into them once (`manifests`), everything after that
works on these frozen values, and every field carries the description that `kubectl explain` will show. Passwords live
in `Secret` and `Credentials` alone, which print none.
"""

from collections.abc import Mapping
from dataclasses import dataclass as plain
from dataclasses import field as plain_field
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Annotated, Final, NamedTuple

from pydantic import Field

from pancar_operator.podtemplate import PodTemplate
from pancar_operator.rules import Unique, rule, schema
from pancar_operator.statusfields import CameraStatus, RelayPoolStatus
from pancar_operator.values import (
    POOL_NAME,
    Boolean,
    Clock,
    DnsLabel,
    DnsName,
    HttpUrl,
    Integer,
    LabelKey,
    LabelValue,
    Line,
    NamespaceGlob,
    Number,
    RtspUrl,
    Sentence,
    TimeZone,
)

API_VERSION: Final = "pancar.dev/v1alpha1"
CREDENTIALS_LABEL: Final = "pancar.dev/credentials"
DEFAULT_NAMESPACE: Final = "default"


class Key(NamedTuple):
    """What names an object of one kind."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class Transport(StrEnum):
    AUTO = "Auto"
    TCP = "TCP"
    UDP = "UDP"


class Pull(StrEnum):
    ALWAYS = "Always"
    ON_DEMAND = "OnDemand"


class Transcode(StrEnum):
    AUTO = "Auto"
    NEVER = "Never"


class OwnerType(StrEnum):
    GOVERNMENT = "Government"
    RESIDENT = "Resident"
    PRIVATE = "Private"


class Exposure(StrEnum):
    POD_IP = "PodIP"
    HOST_PORT = "HostPort"
    HOST_NETWORK = "HostNetwork"
    NODE_PORT = "NodePort"
    LOAD_BALANCER = "LoadBalancer"


class Day(StrEnum):
    MONDAY = "Monday"
    TUESDAY = "Tuesday"
    WEDNESDAY = "Wednesday"
    THURSDAY = "Thursday"
    FRIDAY = "Friday"
    SATURDAY = "Saturday"
    SUNDAY = "Sunday"


@schema
class Metadata:
    """What Kubernetes calls the object's metadata, as far as Pancar looks at it."""

    name: Annotated[DnsName, Field(description="Name of the object, unique for its kind within the namespace.")]
    namespace: Annotated[DnsLabel, Field(description="Namespace of the object.")] = DEFAULT_NAMESPACE
    labels: dict[LabelKey, LabelValue] = Field(
        default_factory=dict, description="Labels, by which others select the object."
    )
    annotations: dict[LabelKey, str] = Field(default_factory=dict, description="Notes for tools; Pancar reads none.")

    @property
    def key(self) -> Key:
        return Key(self.namespace, self.name)


@schema
class CredentialsRef:
    """Points to the Secret with a camera's user name and password."""

    name: Annotated[
        DnsName,
        Field(
            description="Name of a Secret in the camera's namespace, labelled pancar.dev/credentials, with the keys "
            "username and password."
        ),
    ]


@schema
class Stream:
    """One RTSP stream of a camera."""

    url: Annotated[
        RtspUrl,
        Field(description="RTSP URL of the stream, without user name and password (see credentialsRef)."),
    ]
    transport: Annotated[
        Transport,
        Field(
            description="How RTP comes from the camera: TCP within the RTSP connection; UDP, or TCP where the camera "
            "refuses it; Auto: TCP, or UDP where the camera refuses it."
        ),
    ] = Transport.AUTO


@schema
class Onvif:
    """The camera's ONVIF service."""

    url: Annotated[
        HttpUrl,
        Field(description="URL of the ONVIF device service; the camera's credentialsRef is used there too."),
    ]


@schema
class Source:
    """Where a camera's pictures come from."""

    main: Annotated[Stream, Field(description="The full-size stream, pulled once and fanned out to every viewer.")]
    sub: Annotated[
        Stream | None, Field(description="A smaller stream of the same camera, for small pictures and thin links.")
    ] = None
    credentials_ref: Annotated[
        CredentialsRef | None,
        Field(description="The Secret with the camera's user name and password; none if it wants none."),
    ] = None
    max_sessions: Annotated[
        Integer | None,
        Field(
            ge=1,
            le=64,
            description="How many RTSP sessions the camera serves at once without failing; one for each of its "
            "streams unless said. With 1 its sub stream is never pulled.",
        ),
    ] = None
    audio: Annotated[Boolean, Field(description="Whether the camera's sound may be passed on; off by default.")] = False
    onvif: Annotated[Onvif | None, Field(description="The camera's ONVIF service, where it has one.")] = None

    @property
    def spare_sub(self) -> Stream | None:
        """The sub stream, where the camera has a session for it beside that of its main stream."""
        return None if self.max_sessions == 1 else self.sub


@schema
class Owner:
    """Whose camera it is."""

    organisation: Annotated[Line, Field(description="The organisation or person the camera belongs to.")]
    type: Annotated[OwnerType, Field(description="Whether the owner is Government, a Resident or Private.")]
    contact: Annotated[Line | None, Field(description="How to reach the owner.")] = None


@schema
class Provider:
    """Who keeps the camera and its line in working order."""

    name: Annotated[Line, Field(description="The organisation that mends the camera when it is down.")]
    contact: Annotated[Line | None, Field(description="How to reach the provider, as shown when the camera fails.")] = (
        None
    )


@schema
class Coordinates:
    """A place on earth, WGS 84."""

    latitude: Annotated[Number, Field(ge=-90, le=90, description="Degrees north.")]
    longitude: Annotated[Number, Field(ge=-180, le=180, description="Degrees east.")]


@schema
class Location:
    """Where the camera stands."""

    site: Annotated[Line | None, Field(description="The place with its own network the camera hangs on.")] = None
    district: Annotated[Line | None, Field(description="District (kecamatan).")] = None
    subdistrict: Annotated[Line | None, Field(description="Sub-district (kelurahan, desa).")] = None
    coordinates: Annotated[Coordinates | None, Field(description="Where on the map.")] = None


@schema
class PoolRef:
    """Points to the RelayPool that shall pull the camera."""

    name: Annotated[DnsName, Field(description="Name of the RelayPool.")]
    namespace: Annotated[
        DnsLabel | None,
        Field(description="Namespace of the RelayPool; by default that of the installation's default pool."),
    ] = None


@schema
class Paused:
    """Present where the camera is paused for privacy: it is not pulled, and nobody sees it."""

    reason: Annotated[Sentence, Field(description="Why it is paused, as viewers read it.")]


@schema
class MaintenanceWindow:
    """A recurring time at which the camera may be down without an alarm."""

    start: Annotated[Clock, Field(description="When it begins, HH:MM in timeZone.")]
    end: Annotated[Clock, Field(description="When it ends, HH:MM; before start where it passes midnight.")]
    days: Annotated[
        tuple[Day, ...],
        Field(max_length=7, description="Days on which it begins; every day where none is given."),
        Unique(),
    ] = ()
    time_zone: Annotated[TimeZone, Field(description="Time zone of start and end.")] = "Asia/Jakarta"
    reason: Annotated[Line | None, Field(description="What is done then.")] = None

    @rule("self.start != self.end", "must not end at the minute it starts")
    def _has_length(self) -> bool:
        return self.start != self.end


@schema
class CameraSpec:
    """What shall hold for a camera."""

    source: Annotated[Source, Field(description="Where the pictures come from.")]
    title: Annotated[Line | None, Field(description="What the wall shows; the camera's name where absent.")] = None
    owner: Annotated[Owner | None, Field(description="Whose camera it is.")] = None
    provider: Annotated[Provider | None, Field(description="Who mends the camera and its line.")] = None
    location: Annotated[Location | None, Field(description="Where the camera stands.")] = None
    pool_ref: Annotated[
        PoolRef | None,
        Field(
            description="The RelayPool that pulls the camera; where absent, one at the camera's site that takes its "
            "namespace, else the installation's default pool."
        ),
    ] = None
    pull: Annotated[
        Pull,
        Field(description="Always keeps the stream pulled; OnDemand pulls it while somebody watches."),
    ] = Pull.ALWAYS
    transcode: Annotated[
        Transcode,
        Field(description="Auto transcodes what browsers cannot play; Never reports such a stream as a fault."),
    ] = Transcode.AUTO
    paused: Annotated[
        Paused | None,
        # Or Kubernetes would drop a `paused:` without a value, and show the camera.
        Field(description="The privacy switch: no pull, no pictures, a reason.", json_schema_extra={"nullable": True}),
    ] = None
    maintenance: Annotated[
        tuple[MaintenanceWindow, ...],
        Field(max_length=16, description="Recurring times at which the camera may be down without an alarm."),
    ] = ()


@schema
class Camera:
    """A camera: where its pictures come from, whose it is, and how it is pulled and watched."""

    metadata: Annotated[Metadata, Field(description="Name, namespace and labels.")]
    spec: Annotated[CameraSpec, Field(description="What shall hold for the camera.")]

    @property
    def key(self) -> Key:
        return self.metadata.key


@schema
class Autoscaling:
    """Bounds within which the number of relays follows the cameras."""

    min: Annotated[Integer, Field(ge=0, le=1000, description="Fewest relays.")]
    max: Annotated[Integer, Field(ge=1, le=1000, description="Most relays.")]
    headroom: Annotated[Integer, Field(ge=0, le=100, description="Per cent of the capacity kept free.")] = 20

    @rule("self.min <= self.max", "must not have a min above its max")
    def _has_room(self) -> bool:
        return self.min <= self.max


@schema
class RelayCapacity:
    """The measure of one relay."""

    cameras: Annotated[Integer, Field(ge=1, le=10_000, description="Cameras pulled.")] = 200
    viewers: Annotated[Integer, Field(ge=1, le=100_000, description="Viewers served.")] = 1000
    egress_mbps: Annotated[Integer, Field(ge=1, le=1_000_000, description="Megabits a second sent to viewers.")] = 4000
    transcodes: Annotated[Integer, Field(ge=0, le=1000, description="Streams transcoded at once.")] = 4


@schema
class Media:
    """The relays' one media port."""

    exposure: Annotated[
        Exposure,
        Field(
            description="What the media port of a relay is exposed by, UDP and TCP: the pod's own address, a port or "
            "the whole network of its node, or a Service for each pod. HostPort and HostNetwork need a namespace whose "
            "pods may be privileged."
        ),
    ] = Exposure.POD_IP


@schema
class RelayPoolSpec:
    """What shall hold for a pool of relays."""

    replicas: Annotated[
        Integer | None,
        Field(ge=0, le=1000, description="Number of relays; one where neither it nor autoscaling is given."),
    ] = None
    autoscaling: Annotated[
        Autoscaling | None,
        Field(description="Lets the number of relays follow the cameras, within bounds; not together with replicas."),
    ] = None
    namespaces: Annotated[
        tuple[NamespaceGlob, ...],
        Field(max_length=256, description="Namespaces whose cameras the pool takes; * stands for any characters."),
        Unique(),
    ] = ("*",)
    capacity: Annotated[RelayCapacity, Field(description="What one relay of the pool may carry.")] = RelayCapacity()
    site: Annotated[Line | None, Field(description="The place with its own network the relays stand in.")] = None
    media: Annotated[Media, Field(description="How viewers reach the relays' media port.")] = Media()
    template: Annotated[
        PodTemplate,
        Field(
            description="What the relays' pods have beyond what the operator gives them; without effect on one machine."
        ),
    ] = PodTemplate()

    @rule("!(has(self.replicas) && has(self.autoscaling))", "must not have both replicas and autoscaling")
    def _one_size(self) -> bool:
        return self.replicas is None or self.autoscaling is None

    def takes(self, namespace: str) -> bool:
        return any(fnmatchcase(namespace, pattern) for pattern in self.namespaces)


@schema
class RelayPool:
    """Relays that are alike and share cameras among themselves."""

    metadata: Annotated[Metadata, Field(description="Name, namespace and labels.")]
    spec: Annotated[RelayPoolSpec, Field(description="What shall hold for the pool.")] = RelayPoolSpec()

    @rule(POOL_NAME.cel("self.metadata.name"), POOL_NAME.says)
    def _can_name_pods(self) -> bool:
        return POOL_NAME.holds(self.metadata.name)

    @property
    def key(self) -> Key:
        return self.metadata.key


@schema
class Secret:
    """A Secret of Kubernetes' own, of which Pancar reads the user name and the password."""

    metadata: Annotated[Metadata, Field(description="Name, namespace and labels.")]
    type: Annotated[str, Field(description="Opaque, or kubernetes.io/basic-auth.")] = Field(
        default="Opaque", repr=False
    )
    data: dict[str, str] = Field(default_factory=dict, repr=False, description="Values in base64.")
    string_data: dict[str, str] = Field(
        default_factory=dict, repr=False, description="Values as they are; they win over data."
    )
    immutable: Annotated[Boolean, Field(description="Whether Kubernetes refuses changes.")] = False


@plain(frozen=True, slots=True)
class Credentials:
    """A camera's user name and password."""

    username: str = plain_field(repr=False)
    password: str = plain_field(repr=False)


@plain(frozen=True, slots=True)
class Manifests:
    """All that was declared: what `manifests` reads from files."""

    cameras: Mapping[Key, Camera] = plain_field(default_factory=dict)
    pools: Mapping[Key, RelayPool] = plain_field(default_factory=dict)
    credentials: Mapping[Key, Credentials] = plain_field(default_factory=dict)


@plain(frozen=True, slots=True)
class Placement:
    """A camera as a relay has to know it."""

    camera: Camera
    # None where the camera wants none.
    credentials: Credentials | None = None
    # The camera's metadata.generation; 0 on one machine.
    generation: int = 0


@plain(frozen=True, slots=True)
class Relay:
    """A relay that is attached, or was a moment ago."""

    uid: str
    pool: Key
    # Cameras it says it can pull; 0 where it does not say.
    cameras: int = 0
    # It is about to end, or has asked to be emptied.
    draining: bool = False
    # Its pod's name, as people know it; its uid where it has none.
    name: str = ""
    # Its pod's number in the pool: the highest go first.
    ordinal: int | None = None
    # Where its node stands (topology.kubernetes.io/zone).
    zone: str = ""
    # Megabits a second it says it can send; 0 where it does not say.
    egress_mbps: int = 0
    # Its pod is of an older template than the pool's.
    outdated: bool = False
    # Nothing can be told to it at the moment.
    away: bool = False


class WhyRefused(StrEnum):
    """Why the operator makes nothing of a camera."""

    # Its manifest means nothing to this operator.
    INVALID = "Invalid"
    # The Secret it names is not there, or lacks the label.
    UNRESOLVED = "SecretNotFound"
    # The Secret it names holds no user name and password.
    UNUSABLE = "SecretInvalid"


class Refused(NamedTuple):
    """Of a camera the operator makes nothing; the message is for a person."""

    why: WhyRefused
    message: str


_CAMERA_UNWRITTEN: Final = CameraStatus()
_POOL_UNWRITTEN: Final = RelayPoolStatus()


@plain(frozen=True, slots=True)
class CameraObject:
    """A Camera as the API server holds it, beyond what it declares."""

    uid: str
    generation: int
    # As last written there; empty where nothing was.
    status: CameraStatus = _CAMERA_UNWRITTEN
    # None where all is well.
    refused: Refused | None = None


@plain(frozen=True, slots=True)
class PoolObject:
    """A RelayPool as the API server holds it, beyond what it declares."""

    uid: str
    generation: int
    status: RelayPoolStatus = _POOL_UNWRITTEN
    # It has a deletionTimestamp.
    deleting: bool = False


@plain(frozen=True, slots=True)
class Pod:
    """A relay's pod."""

    uid: str
    namespace: str
    name: str
    pool: Key
    ordinal: int
    # Empty until it is scheduled.
    node: str = ""
    ip: str = ""
    # Its node's, the preferred one first.
    host_ips: tuple[str, ...] = ()
    # Its container runs.
    running: bool = False
    ready: bool = False
    # It has a deletionTimestamp.
    deleting: bool = False
    # The hash of the template it was made from (controller-revision-hash).
    revision: str = ""

    @property
    def host_ip(self) -> str:
        return next(iter(self.host_ips), "")


@plain(frozen=True, slots=True)
class Node:
    """A node, as far as relays are concerned."""

    name: str
    ready: bool = True
    zone: str = ""


class Why(StrEnum):
    """Why a camera came to its relay."""

    NEW = "New"
    RELAY_GONE = "RelayGone"
    RELAY_DRAINING = "RelayDraining"
    RELAY_FULL = "RelayFull"
    POOL_CHANGED = "PoolChanged"
    # The plan empties relays by itself, to have fewer or to replace outdated ones.
    SCALE_IN = "ScaleIn"
    ROLLED = "Rolled"
    # Another relay came while no picture had come yet.
    BALANCED = "Balanced"


class Assignment(NamedTuple):
    """The relay a camera is on, by its uid."""

    relay: str
    why: Why


@plain(frozen=True, slots=True)
class Snapshot:
    """All that a plan is made from."""

    cameras: Mapping[Key, Camera]
    pools: Mapping[Key, RelayPool]
    relays: tuple[Relay, ...]
    # The pool of cameras that name none.
    default_pool: Key
    # The assignments of the plan before.
    placed: Mapping[Key, Assignment] = plain_field(default_factory=dict)
    # Megabits a second of each camera's stream, where it was measured.
    bitrates: Mapping[Key, int] = plain_field(default_factory=dict)
    # Relays that each pool has pods for now; none known on one machine.
    sizes: Mapping[Key, int] = plain_field(default_factory=dict)
    # Cameras on their way: assigned, and that relay has not got anywhere with them yet.
    unsettled: frozenset[Key] = frozenset()
    # Those of them whose relay is attached and did not bring them along: nobody has seen them there yet.
    fresh: frozenset[Key] = frozenset()
