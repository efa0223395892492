"""The planner's properties, over snapshots that Hypothesis makes up."""

import collections
from collections.abc import Iterable, Mapping
from dataclasses import replace
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from pancar_operator.model import (
    Assignment,
    Autoscaling,
    Key,
    Relay,
    Snapshot,
    Why,
)
from pancar_operator.plan import Move, Unplaced, WhyNot, plan, pool_of
from pancar_operator.room import capacity
from rigs.plans import OTHER, POOL, camera, pool, snapshot, where

names = st.text("abcdefgh0123", min_size=1, max_size=4)
relays = st.lists(
    st.builds(
        Relay,
        uid=names,
        pool=st.sampled_from([POOL, OTHER, Key("pancar", "unknown")]),
        cameras=st.integers(0, 12),
        draining=st.booleans(),
        away=st.booleans(),
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
    before = st.builds(Assignment, st.sampled_from(uids), st.sampled_from(Why))
    placed = draw(st.dictionaries(st.sampled_from([camera.key for camera in known]), before)) if known else {}
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
        wanted = pool_of(given.cameras[key], given.default_pool, given.pools)
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


@given(snapshots())
def test_who_comes_to_a_relay_that_is_away_found_no_other(given: Snapshot) -> None:
    planned = plan(given)
    relays = {relay.uid: relay for relay in given.relays}
    load = collections.Counter(where(planned).values())
    for key, (uid, _) in planned.assignments.items():
        before = given.placed.get(key)
        if relays[uid].away and (before is None or before.relay != uid):
            pool = relays[uid].pool
            others = [relay for relay in given.relays if relay.pool == pool and not (relay.away or relay.draining)]
            assert all(load[relay.uid] == capacity(given.pools[pool], relay) for relay in others)


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
    again = plan(replace(given, placed=first.assignments))
    assert (again.assignments, again.unplaced, again.moves) == (first.assignments, first.unplaced, ())
    for key, assignment in again.assignments.items():
        assert assignment is first.assignments[key], "who stays keeps the reason he came for"


@given(snapshots())
def test_only_those_move_who_may_not_stay(given: Snapshot) -> None:
    """Who is on a relay that may keep him moves only if others fill it; moves and their reasons are told."""
    planned = plan(given)
    relays = {relay.uid: relay for relay in given.relays}
    told = {move.camera: move for move in planned.moves}
    for key, (target, why) in planned.assignments.items():
        before = given.placed.get(key)
        source = before.relay if before is not None else None
        if source is None or source == target:
            assert key not in told
            assert why is (before.why if before is not None else Why.NEW)
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
                kept = [each for each in planned.assignments.items() if given.placed.get(each[0]) is each[1]]
                stayed = [key for key, (uid, _) in kept if uid == source]
                assert len(stayed) == capacity(given.pools[relays[source].pool], relays[source])
            case _:
                raise AssertionError(f"moved for no reason: {why}")


FLEET = [Relay(f"relay-{number}", POOL) for number in range(12)]
CITY = [camera(f"camera-{number}", namespace=f"district-{number % 5}") for number in range(600)]


@settings(max_examples=20)
@given(st.sampled_from(FLEET))
def test_a_relay_that_goes_moves_its_own_cameras_alone(gone: Relay) -> None:
    before = plan(snapshot(CITY, FLEET))
    left = [relay for relay in FLEET if relay is not gone]
    sticky = plan(snapshot(CITY, left, placed=before.assignments))
    lost = {key for key, uid in where(before).items() if uid == gone.uid}
    assert {move.camera for move in sticky.moves} == lost
    assert len({where(sticky)[key] for key in lost}) > 5, "they spread over the others"


def test_a_relay_that_comes_moves_nothing_but_takes_what_is_new() -> None:
    before = plan(snapshot(CITY, FLEET))
    more = [*FLEET, Relay("relay-new", POOL)]
    assert plan(snapshot(CITY, more, placed=before.assignments)).moves == ()
    batch = [camera(f"fresh-{number}") for number in range(30)]
    then = plan(snapshot([*CITY, *batch], more, placed=before.assignments))
    assert then.moves == ()
    assert collections.Counter(where(then)[each.key] for each in batch)["relay-new"] > 20


def test_a_plan_from_nothing_puts_most_where_the_last_one_did() -> None:
    """As after a restart with nothing left to go by."""
    before = where(plan(snapshot(CITY, FLEET)))
    for fleet in (FLEET[1:], [*FLEET, Relay("relay-new", POOL)]):
        cold = where(plan(snapshot(CITY, fleet)))
        assert sum(cold[key] != uid for key, uid in before.items()) < len(CITY) / 3


def test_load_follows_capacity() -> None:
    fleet = [Relay(f"relay-{number}", POOL, cameras=50 * (1 + number % 4)) for number in range(40)]
    many = [camera(f"camera-{number}") for number in range(2500)]
    load = collections.Counter(where(plan(snapshot(many, fleet))).values())
    # 2500 cameras on a capacity of 5000: half of each.
    assert all(abs(load[relay.uid] - relay.cameras / 2) <= 1 for relay in fleet), load


ANY = camera("any")


def crowd(count: int, relays: Iterable[Relay], placed: Mapping[Key, Assignment] | None = None) -> Snapshot:
    """A snapshot with so many cameras, in ten namespaces."""
    keys = [Key(f"district-{number % 10}", f"cctv-{number:05}") for number in range(count)]
    return replace(snapshot([], relays, placed=placed), cameras=dict.fromkeys(keys, ANY))


@given(
    st.lists(st.integers(20, 60), min_size=1, max_size=8),
    st.lists(st.integers(0, 40), max_size=6),
)
def test_load_is_by_weight_however_the_cameras_come(sizes: list[int], batches: list[int]) -> None:
    fleet = [Relay(f"relay-{number}", POOL, cameras=size) for number, size in enumerate(sizes)]
    count = 0
    placed: Mapping[Key, Assignment] = {}
    for batch in [*batches, sum(sizes)]:
        count = min(count + batch, sum(sizes))
        placed = plan(crowd(count, fleet, placed)).assignments
        load = collections.Counter(uid for uid, _ in placed.values())
        shares = {relay.uid: relay.cameras * count / sum(sizes) for relay in fleet}
        assert all(abs(load[uid] - share) < 2 for uid, share in shares.items()), (load, shares)


def test_a_city_is_spread_evenly_and_stays_so_when_relays_are_lost() -> None:
    """Each relay's load within 10 % of the mean; the cameras of those that are lost move, and no others."""
    fleet = [Relay(f"relay-{number}", POOL) for number in range(120)]
    known = plan(crowd(10_417, fleet))
    for _ in range(5):
        load = collections.Counter(uid for uid, _ in known.assignments.values())
        mean = 10_417 / len(fleet)
        assert set(load) == {relay.uid for relay in fleet}
        assert all(abs(count - mean) <= 0.1 * mean for count in load.values())
        lost = fleet.pop(len(fleet) // 2).uid
        moved = {key for key, (uid, _) in known.assignments.items() if uid == lost}
        known = plan(crowd(10_417, fleet, known.assignments))
        assert {move.camera for move in known.moves} == moved
        assert {move.why for move in known.moves} == {Why.RELAY_GONE}


def test_a_draining_relay_is_emptied_but_keeps_whom_nobody_takes() -> None:
    draining = Relay("a", POOL, draining=True)
    other = Relay("b", POOL, cameras=1)
    was = Assignment("a", Why.NEW)
    placed = {Key("kota", "first"): was, Key("kota", "second"): was}
    planned = plan(snapshot([camera("first"), camera("second")], [draining, other], placed=placed))
    assert planned.assignments == {
        Key("kota", "first"): Assignment("b", Why.RELAY_DRAINING),
        Key("kota", "second"): was,
    }
    fresh = plan(snapshot([camera("third")], [draining]))
    assert fresh.unplaced == {Key("kota", "third"): Unplaced(WhyNot.NO_RELAY, POOL)}


def test_a_paused_camera_keeps_its_place() -> None:
    before = plan(snapshot(CITY, FLEET)).assignments
    paused = [camera(each.key.name, namespace=each.key.namespace, paused=True) for each in CITY]
    assert plan(snapshot(paused, FLEET, placed=before)).assignments == before
    assert plan(snapshot(paused, FLEET)).assignments == before


def test_the_relays_a_pool_asks_for() -> None:
    def asked(cameras: int, *, replicas: int | None = None, autoscaling: Autoscaling | None = None) -> int:
        pools = {POOL: pool(cameras=100, replicas=replicas, autoscaling=autoscaling)}
        return plan(replace(crowd(cameras, []), pools=pools, sizes={POOL: 0})).replicas[POOL]

    assert asked(1000) == 1
    assert asked(1000, replicas=3) == 3
    bounds = Autoscaling(min=2, max=20, headroom=20)
    assert [asked(cameras, autoscaling=bounds) for cameras in (0, 160, 161, 800, 801, 9999)] == [2, 2, 3, 10, 11, 20]
    assert asked(1, autoscaling=Autoscaling(min=0, max=5, headroom=100)) == 5
    assert asked(0, autoscaling=Autoscaling(min=0, max=5)) == 0
