"""The planner's properties, over snapshots that Hypothesis makes up."""

import collections
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import replace
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from pancar_operator.model import (
    Camera,
    CameraSpec,
    Key,
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
from pancar_operator.plan import Assignment, Move, Plan, Unplaced, Why, WhyNot, capacity, plan, pool_of

POOL = Key("pancar", "city")
OTHER = Key("pancar", "police")


def camera(name: str, *, namespace: str = "kota", pool: Key | None = None, paused: bool = False) -> Camera:
    return Camera(
        metadata=Metadata(name=name, namespace=namespace),
        spec=CameraSpec(
            source=Source(main=Stream(url="rtsp://192.0.2.1/")),
            pool_ref=PoolRef(name=pool.name, namespace=pool.namespace) if pool else None,
            paused=Paused(reason="privacy") if paused else None,
        ),
    )


def pool(key: Key = POOL, *, cameras: int = 200, namespaces: tuple[str, ...] = ("*",)) -> RelayPool:
    spec = RelayPoolSpec(capacity=RelayCapacity(cameras=cameras), namespaces=namespaces)
    return RelayPool(metadata=Metadata(name=key.name, namespace=key.namespace), spec=spec)


def snapshot(
    cameras: Iterable[Camera],
    relays: Iterable[Relay],
    *pools: RelayPool,
    placed: Mapping[Key, str] | None = None,
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


names = st.text("abcdefgh0123", min_size=1, max_size=4)
relays = st.lists(
    st.builds(
        Relay,
        uid=names,
        pool=st.sampled_from([POOL, OTHER, Key("pancar", "unknown")]),
        cameras=st.integers(0, 12),
        draining=st.booleans(),
    ),
    unique_by=lambda relay: relay.uid,
    max_size=8,
)
cameras = st.lists(
    st.builds(
        camera,
        names,
        namespace=st.sampled_from(["kota", "desa"]),
        pool=st.sampled_from([None, POOL, OTHER, Key("pancar", "unknown")]),
        paused=st.booleans(),
    ),
    unique_by=lambda camera: camera.key,
    max_size=40,
)


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    known, there = draw(cameras), draw(relays)
    uids = [relay.uid for relay in there] + ["gone"]
    placed = (
        draw(st.dictionaries(st.sampled_from([camera.key for camera in known]), st.sampled_from(uids))) if known else {}
    )
    pools = (pool(cameras=draw(st.integers(1, 12))), pool(OTHER, cameras=5, namespaces=("kota",)))
    return snapshot(known, there, *pools, placed=placed)


@given(snapshots())
def test_every_camera_is_placed_once_or_has_a_reason(given: Snapshot) -> None:
    planned = plan(given)
    assert planned.assignments.keys() | planned.unplaced.keys() == given.cameras.keys()
    assert not planned.assignments.keys() & planned.unplaced.keys()


@given(snapshots())
def test_nobody_is_over_capacity_or_in_the_wrong_pool(given: Snapshot) -> None:
    planned = plan(given)
    relays = {relay.uid: relay for relay in given.relays}
    for key, uid in where(planned).items():
        wanted = pool_of(given.cameras[key], given.default_pool)
        assert relays[uid].pool == wanted
        assert given.pools[wanted].spec.takes(key.namespace)
    for uid, count in collections.Counter(where(planned).values()).items():
        assert count <= capacity(given.pools[relays[uid].pool], relays[uid])


@given(snapshots())
def test_a_camera_is_left_over_only_where_it_must_be(given: Snapshot) -> None:
    planned = plan(given)
    load = collections.Counter(where(planned).values())
    for key, (why, wanted) in planned.unplaced.items():
        open_relays = [relay for relay in given.relays if relay.pool == wanted and not relay.draining]
        match why:
            case WhyNot.POOL_NOT_FOUND:
                assert wanted not in given.pools
            case WhyNot.NAMESPACE_NOT_TAKEN:
                assert not given.pools[wanted].spec.takes(key.namespace)
            case WhyNot.NO_RELAY:
                assert not open_relays
            case WhyNot.NO_CAPACITY:
                assert open_relays
                assert all(load[relay.uid] == capacity(given.pools[wanted], relay) for relay in open_relays)


@given(snapshots(), st.randoms(use_true_random=False))
def test_order_does_not_matter(given: Snapshot, random: Random) -> None:
    shuffled = replace(
        given,
        cameras=dict(random.sample(list(given.cameras.items()), len(given.cameras))),
        pools=dict(random.sample(list(given.pools.items()), len(given.pools))),
        relays=tuple(random.sample(given.relays, len(given.relays))),
    )
    assert plan(shuffled) == plan(given)


@given(snapshots())
def test_a_plan_carried_out_is_kept(given: Snapshot) -> None:
    first = plan(given)
    again = plan(replace(given, placed=where(first)))
    assert where(again) == where(first)
    assert again.moves == ()
    assert {why for _, why in again.assignments.values()} <= {Why.KEPT}


@given(snapshots())
def test_only_those_move_who_may_not_stay(given: Snapshot) -> None:
    """Who is on a relay that may keep him moves only if others fill it; moves and their reasons are told."""
    planned = plan(given)
    relays = {relay.uid: relay for relay in given.relays}
    told = {move.camera: move for move in planned.moves}
    for key, (target, why) in planned.assignments.items():
        source = given.placed.get(key)
        if source is None or source == target:
            assert key not in told
            continue
        assert told[key] == Move(key, source, target, why)
        match why:
            case Why.RELAY_GONE:
                assert source not in relays
            case Why.POOL_CHANGED:
                assert relays[source].pool != relays[target].pool
            case Why.RELAY_DRAINING:
                assert relays[source].draining
            case Why.RELAY_FULL:
                stayed = [other for other, uid in where(planned).items() if given.placed.get(other) == uid == source]
                assert len(stayed) == capacity(given.pools[relays[source].pool], relays[source])
            case _:
                raise AssertionError(f"moved for no reason: {why}")


FLEET = [Relay(f"relay-{number}", POOL) for number in range(12)]
CITY = [camera(f"camera-{number}", namespace=f"district-{number % 5}") for number in range(600)]


@settings(max_examples=20)
@given(st.sampled_from(FLEET))
def test_a_relay_that_goes_moves_its_own_cameras_alone(gone: Relay) -> None:
    before = where(plan(snapshot(CITY, FLEET)))
    left = [relay for relay in FLEET if relay is not gone]
    sticky = plan(snapshot(CITY, left, placed=before))
    lost = {key for key, uid in before.items() if uid == gone.uid}
    assert {move.camera for move in sticky.moves} == lost
    assert len({where(sticky)[key] for key in lost}) > 5, "they spread over the others"
    # Even planned from nothing, the same cameras move and no others.
    cold = where(plan(snapshot(CITY, left)))
    assert {key for key, uid in before.items() if cold[key] != uid} == lost


def test_a_relay_that_comes_moves_nothing_but_takes_its_share_of_what_is_new() -> None:
    before = where(plan(snapshot(CITY, FLEET)))
    more = [*FLEET, Relay("relay-new", POOL)]
    assert plan(snapshot(CITY, more, placed=before)).moves == ()
    cold = where(plan(snapshot(CITY, more)))
    changed = {key for key in before if cold[key] != before[key]}
    assert {cold[key] for key in changed} == {"relay-new"}


def test_load_follows_capacity() -> None:
    fleet = [Relay(f"relay-{number}", POOL, cameras=50 * (1 + number % 4)) for number in range(40)]
    many = [camera(f"camera-{number}") for number in range(2500)]
    load = collections.Counter(where(plan(snapshot(many, fleet))).values())
    share = {
        size: statistics.mean(load[relay.uid] for relay in fleet if relay.cameras == size)
        for size in (50, 100, 150, 200)
    }
    for size, mean in share.items():
        # 2500 cameras on a capacity of 5000: half of each, if by weight.
        assert abs(mean / size - 0.5) < 0.08, share


def test_the_hashes_are_as_even_as_chance() -> None:
    """One relay's load is binomial if the pair hash is good; a lattice would show as a much wider spread."""
    fleet = [Relay(f"relay-{number}", POOL, cameras=1000) for number in range(50)]
    many = [camera(f"cctv-{number:05}", namespace=f"district-{number % 30}") for number in range(5000)]
    load = collections.Counter(where(plan(snapshot(many, fleet))).values())
    assert statistics.pstdev(load[relay.uid] for relay in fleet) < 1.5 * (5000 / 50) ** 0.5


def test_a_draining_relay_is_emptied_but_keeps_whom_nobody_takes() -> None:
    draining = Relay("a", POOL, draining=True)
    other = Relay("b", POOL, cameras=1)
    placed = {Key("kota", "first"): "a", Key("kota", "second"): "a"}
    planned = plan(snapshot([camera("first"), camera("second")], [draining, other], placed=placed))
    assert planned.assignments == {
        Key("kota", "first"): Assignment("b", Why.RELAY_DRAINING),
        Key("kota", "second"): Assignment("a", Why.KEPT),
    }
    fresh = plan(snapshot([camera("third")], [draining]))
    assert fresh.unplaced == {Key("kota", "third"): Unplaced(WhyNot.NO_RELAY, POOL)}


def test_a_paused_camera_keeps_its_place() -> None:
    before = where(plan(snapshot(CITY, FLEET)))
    paused = [camera(each.key.name, namespace=each.key.namespace, paused=True) for each in CITY]
    assert where(plan(snapshot(paused, FLEET, placed=before))) == before
    assert where(plan(snapshot(paused, FLEET))) == before
