"""What plans are made from, for the planner's tests: cameras, pools and relays in a few words."""

from collections.abc import Iterable, Mapping

from pancar_operator.model import (
    Assignment,
    Autoscaling,
    Camera,
    CameraSpec,
    Key,
    Location,
    Metadata,
    Paused,
    PoolRef,
    Relay,
    RelayCapacity,
    RelayPool,
    RelayPoolSpec,
    Snapshot,
    Source,
    Stream,
)
from pancar_operator.plan import ZONE_LABEL, Plan

POOL = Key("pancar", "city")
OTHER = Key("pancar", "police")


def camera(
    name: str,
    *,
    namespace: str = "kota",
    pool: Key | None = None,
    paused: bool = False,
    site: str | None = None,
    zone: str = "",
) -> Camera:
    return Camera(
        metadata=Metadata(name=name, namespace=namespace, labels={ZONE_LABEL: zone} if zone else {}),
        spec=CameraSpec(
            source=Source(main=Stream(url="rtsp://192.0.2.1/")),
            pool_ref=PoolRef(name=pool.name, namespace=pool.namespace) if pool else None,
            paused=Paused(reason="privacy") if paused else None,
            location=Location(site=site) if site else None,
        ),
    )


def pool(
    key: Key = POOL,
    *,
    cameras: int = 200,
    egress_mbps: int = 4000,
    namespaces: tuple[str, ...] = ("*",),
    site: str | None = None,
    replicas: int | None = None,
    autoscaling: Autoscaling | None = None,
) -> RelayPool:
    spec = RelayPoolSpec(
        capacity=RelayCapacity(cameras=cameras, egress_mbps=egress_mbps),
        namespaces=namespaces,
        site=site,
        replicas=replicas,
        autoscaling=autoscaling,
    )
    return RelayPool(metadata=Metadata(name=key.name, namespace=key.namespace), spec=spec)


def snapshot(
    cameras: Iterable[Camera],
    relays: Iterable[Relay],
    *pools: RelayPool,
    placed: Mapping[Key, Assignment] | None = None,
) -> Snapshot:
    return Snapshot(
        cameras={camera.key: camera for camera in cameras},
        pools={pool.key: pool for pool in pools or (pool(),)},
        relays=tuple(relays),
        default_pool=POOL,
        placed=placed or {},
    )


def where(planned: Plan) -> dict[Key, str]:
    return {key: assignment.relay for key, assignment in planned.assignments.items()}
