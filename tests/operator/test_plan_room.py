"""Where the planner finds room: sites, zones, megabits a second."""

import collections

from hypothesis import given
from hypothesis import strategies as st
from pancar_operator.model import Assignment, Key, Relay, Snapshot, Why
from pancar_operator.plan import Unplaced, WhyNot, plan, pool_of
from pancar_operator.room import BITRATE, egress
from rigs.plans import OTHER, POOL, camera, pool, snapshot, where


def key(name: str) -> Key:
    return Key("kota", name)


def test_a_camera_without_a_pool_goes_to_one_at_its_site_that_takes_it() -> None:
    harbour, market, closed = Key("pancar", "harbour"), Key("pancar", "market"), Key("pancar", "aaa")
    pools = {
        each.key: each
        for each in (
            pool(),
            pool(harbour, site="Harbour"),
            pool(market, site="Harbour"),
            pool(closed, site="Harbour", namespaces=("desa",)),
        )
    }
    assert pool_of(camera("a"), POOL, pools) == POOL
    assert pool_of(camera("a", site="Harbour"), POOL, pools) == harbour
    assert pool_of(camera("a", site="Harbour", namespace="desa"), POOL, pools) == closed
    assert pool_of(camera("a", site="Harbour"), market, pools) == market, "the default goes first if it is there too"
    assert pool_of(camera("a", site="Elsewhere"), POOL, pools) == POOL
    assert pool_of(camera("a", site="Harbour", pool=POOL), POOL, pools) == POOL
    planned = plan(
        snapshot(
            [camera("a", site="Harbour"), camera("b"), camera("c", site="Elsewhere")],
            [Relay("city", POOL), Relay("sea", harbour)],
            *pools.values(),
        )
    )
    assert where(planned) == {key("a"): "sea", key("b"): "city", key("c"): "city"}


EAST, WEST = Relay("east", POOL, cameras=2, zone="east"), Relay("west", POOL, cameras=2, zone="west")


def test_a_camera_prefers_its_zone_and_falls_back() -> None:
    cameras = [camera(f"e{number}", zone="east") for number in range(3)]
    assert where(plan(snapshot(cameras, [EAST, WEST]))) == {key("e0"): "east", key("e1"): "east", key("e2"): "west"}
    nowhere = plan(snapshot([camera("n", zone="north")], [EAST, WEST]))
    assert len(nowhere.assignments) == 1
    # With too little room names count before zones.
    crowd = [camera(f"w{number}", zone="west") for number in range(2)]
    planned = plan(snapshot([*cameras, *crowd], [EAST, WEST]))
    assert planned.unplaced == {key("w1"): Unplaced(WhyNot.NO_CAPACITY, POOL)}


def test_no_camera_is_moved_for_its_zone() -> None:
    placed = {key("e"): Assignment("west", Why.NEW)}
    assert plan(snapshot([camera("e", zone="east")], [EAST, WEST], placed=placed)).moves == ()
    back = plan(snapshot([camera("e", zone="east")], [EAST, Relay("south", POOL, zone="south")], placed=placed))
    assert where(back) == {key("e"): "east"}


def narrow(*cameras: str, megabits: dict[str, int], placed: dict[str, str] | None = None, **relays: int) -> Snapshot:
    """Relays that may send so many Mbit/s, cameras that send so many."""
    there = [Relay(uid, POOL, egress_mbps=most) for uid, most in relays.items()]
    before = {key(name): Assignment(uid, Why.NEW) for name, uid in (placed or {}).items()}
    given = snapshot([camera(name) for name in cameras], there, pool(egress_mbps=100), placed=before)
    return Snapshot(
        given.cameras,
        given.pools,
        given.relays,
        POOL,
        before,
        bitrates={key(name): each for name, each in megabits.items()},
    )


def test_megabits_close_a_relay_for_what_is_new() -> None:
    given = narrow("a", "b", "c", megabits={"a": 9, "b": 2}, placed={"a": "r", "b": "r"}, r=10)
    planned = plan(given)
    assert where(planned) == {key("a"): "r", key("b"): "r"}, "nobody is turned out for megabits"
    assert planned.unplaced == {key("c"): Unplaced(WhyNot.NO_BANDWIDTH, POOL)}
    wider = plan(narrow("a", "b", "c", megabits={"a": 9, "b": 2}, placed={"a": "r", "b": "r"}, r=13))
    assert where(wider)[key("c")] == "r", f"a camera that was not measured is thought to send {BITRATE} Mbit/s"


def test_a_large_camera_does_not_keep_small_ones_out() -> None:
    planned = plan(narrow("a", "b", "c", megabits={"a": 6, "b": 50, "c": 4}, placed={"a": "r"}, r=10))
    assert where(planned) == {key("a"): "r", key("c"): "r"}
    assert planned.unplaced == {key("b"): Unplaced(WhyNot.NO_BANDWIDTH, POOL)}
    alone = plan(narrow("b", megabits={"b": 50}, r=10))
    assert where(alone) == {key("b"): "r"}, "or it would never be seen"


def test_the_relay_and_its_pool_bound_what_is_sent() -> None:
    bounded = pool(egress_mbps=100)
    assert [egress(bounded, Relay("r", POOL, egress_mbps=most)) for most in (0, 50, 500)] == [100, 50, 100]


zones = st.sampled_from(["", "east", "west"])
relays = st.lists(
    st.builds(
        Relay,
        uid=st.text("abcdef", min_size=1, max_size=3),
        pool=st.just(POOL),
        cameras=st.integers(1, 12),
        zone=zones,
        egress_mbps=st.integers(1, 40),
    ),
    unique_by=lambda relay: relay.uid,
    max_size=6,
)


@st.composite
def cities(draw: st.DrawFn) -> Snapshot:
    there = draw(relays)
    names = [f"{number:02}" for number in range(draw(st.integers(0, 40)))]
    cameras = [camera(name, zone=draw(zones)) for name in names]
    uids = [relay.uid for relay in there]
    placed = draw(st.dictionaries(st.sampled_from(names), st.sampled_from(uids))) if names and uids else {}
    given = snapshot(
        cameras,
        there,
        pool(cameras=10),
        pool(OTHER),
        placed={key(name): Assignment(uid, Why.NEW) for name, uid in placed.items()},
    )
    rates = draw(st.lists(st.integers(1, 20), min_size=len(names), max_size=len(names)))
    return Snapshot(
        given.cameras, given.pools, given.relays, POOL, given.placed, dict(zip(given.cameras, rates, strict=True))
    )


@given(cities())
def test_nobody_new_is_put_where_there_is_no_room_and_nobody_left_out_where_there_is(city: Snapshot) -> None:
    planned = plan(city)
    limits = {relay.uid: egress(city.pools[POOL], relay) for relay in city.relays}
    rooms = {relay.uid: min(10, relay.cameras) for relay in city.relays}
    sent: collections.Counter[str] = collections.Counter()
    load = collections.Counter(where(planned).values())
    new = collections.Counter(
        assignment.relay for at, assignment in planned.assignments.items() if city.placed.get(at) is not assignment
    )
    for at, uid in where(planned).items():
        sent[uid] += city.bitrates[at]
    for uid, count in load.items():
        assert count <= rooms[uid]
        assert sent[uid] <= limits[uid] or not new[uid] or count == 1
    for at, (why, _) in planned.unplaced.items():
        open_relays = [uid for uid, room in rooms.items() if load[uid] < room]
        assert all(load[uid] and sent[uid] + city.bitrates[at] > limits[uid] for uid in open_relays)
        assert why is (WhyNot.NO_BANDWIDTH if open_relays else WhyNot.NO_CAPACITY if city.relays else WhyNot.NO_RELAY)


@given(cities())
def test_a_camera_is_outside_its_zone_only_if_that_was_full_or_it_was_there_before(city: Snapshot) -> None:
    planned = plan(city)
    relays = {relay.uid: relay for relay in city.relays}
    load = collections.Counter(where(planned).values())
    sent: collections.Counter[str] = collections.Counter()
    for at, uid in where(planned).items():
        sent[uid] += city.bitrates[at]
    for at, assignment in planned.assignments.items():
        zone = next(iter(city.cameras[at].metadata.labels.values()), "")
        if not zone or relays[assignment.relay].zone == zone or city.placed.get(at) is assignment:
            continue
        for uid, relay in relays.items():
            if relay.zone == zone:
                full = load[uid] >= min(10, relay.cameras)
                assert full or sent[uid] + city.bitrates[at] > egress(city.pools[POOL], relay)
