"""What a path does to packets: nothing that it was not told to do, and that in the measure it was told."""

import dataclasses
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pancar_cli.bench.wire.impairment import Direction, Impairment

shares = st.floats(0, 1)
seconds = st.floats(0, 2)
impairments = st.builds(
    Impairment,
    loss=shares,
    burst=st.integers(1, 30),
    delay=seconds,
    jitter=seconds,
    reorder=shares,
    reorder_by=seconds,
    duplicate=shares,
    rate=st.none() | st.floats(1e3, 1e9),
    queue=st.integers(0, 100_000),
)
# Packets as (seconds since the one before, size).
arrivals = st.lists(st.tuples(st.floats(0, 0.5), st.integers(20, 1500)), max_size=60)


def carry(direction: Direction, packets: list[tuple[float, bytes]]) -> list[tuple[float, bytes]]:
    """Each packet at its time; what comes out, with its time."""
    out: list[tuple[float, bytes]] = []

    def until(now: float) -> None:
        while direction.due is not None and direction.due <= now:
            at = direction.due
            out.extend((at, packet) for packet in direction.release(at))

    for now, packet in packets:
        until(now)
        direction.take(packet, now)
    until(float("inf"))
    return out


def timed(packets: list[tuple[float, int]]) -> list[tuple[float, bytes]]:
    """Each has its number in it."""
    now, made = 0.0, []
    for number, (wait, size) in enumerate(packets):
        now += wait
        made.append((now, number.to_bytes(4, "big") + bytes(size - 4)))
    return made


def evenly(count: int, *, size: int = 1000, apart: float = 0.001) -> list[tuple[float, bytes]]:
    return timed([(apart, size)] * count)


def numbers(packets: list[tuple[float, bytes]]) -> list[int]:
    return [int.from_bytes(packet[:4], "big") for _, packet in packets]


@given(st.integers(0, 9), impairments, arrivals)
def test_every_packet_is_accounted_for_and_none_is_early(
    seed: int, impairment: Impairment, packets: list[tuple[float, int]]
) -> None:
    direction = Direction(seed, impairment)
    sent = timed(packets)
    came = carry(direction, sent)
    counts = direction.counts
    assert counts.taken == len(sent)
    assert counts.released == len(came) == counts.taken - counts.lost - counts.overflowed + counts.duplicated
    for (at, packet), number in zip(came, numbers(came), strict=True):
        assert packet == sent[number][1]
        link = 0 if impairment.rate is None else len(packet) * 8 / impairment.rate
        assert at >= sent[number][0] + impairment.delay + link - 1e-9


@given(st.integers(0, 9), impairments, impairments, arrivals)
def test_which_packets_are_lost_follows_from_seed_loss_and_order(
    seed: int, one: Impairment, other: Impairment, packets: list[tuple[float, int]]
) -> None:
    sent = timed(packets)
    other = dataclasses.replace(other, loss=one.loss, burst=one.burst, rate=None)
    ways = [carry(Direction(seed, way), sent) for way in (dataclasses.replace(one, rate=None), other)]
    assert set(numbers(ways[0])) == set(numbers(ways[1]))


@given(st.integers(0, 9), impairments, arrivals)
def test_without_reordering_nothing_overtakes(
    seed: int, impairment: Impairment, packets: list[tuple[float, int]]
) -> None:
    came = numbers(carry(Direction(seed, dataclasses.replace(impairment, reorder=0.0)), timed(packets)))
    assert came == sorted(came)


@given(arrivals)
def test_a_perfect_path_hands_on_at_once(packets: list[tuple[float, int]]) -> None:
    sent = timed(packets)
    assert carry(Direction(1), sent) == sent


@pytest.mark.parametrize(("loss", "burst"), [(0.02, 1), (0.1, 1), (0.02, 20), (0.5, 5)])
def test_the_wanted_share_is_lost_in_runs_of_the_wanted_length(loss: float, burst: int) -> None:
    direction = Direction(7, Impairment(loss=loss, burst=burst))
    came = numbers(carry(direction, evenly(60_000)))
    assert direction.counts.lost / direction.counts.taken == pytest.approx(loss, rel=0.2)
    gaps = [later - earlier - 1 for earlier, later in pairwise(came) if later - earlier > 1]
    assert min(gaps) == burst
    # Bursts that follow each other at once are rare.
    assert sum(gap % burst for gap in gaps) == 0


def test_all_or_nothing() -> None:
    direction = Direction(1, Impairment(loss=1.0))
    assert carry(direction, evenly(100)) == []
    direction.impairment = Impairment()
    assert numbers(carry(direction, evenly(3))) == [0, 1, 2]


def test_a_burst_ends_with_the_loss() -> None:
    direction = Direction(1, Impairment(loss=1.0, burst=50))
    direction.take(b"lost", 0.0)
    direction.impairment = Impairment(delay=0.1)
    direction.take(b"whole", 0.0)
    assert direction.due == pytest.approx(0.1)


def test_a_thin_link_keeps_its_rate_and_its_queue() -> None:
    rate = 1e6
    direction = Direction(1, Impairment(rate=rate, queue=10_000))
    came = carry(direction, evenly(1000, size=1000, apart=0.004))
    # 2 Mbit/s into 1 Mbit/s: half of it goes on, after the queue has filled, no more than the queue late.
    assert direction.counts.overflowed == pytest.approx(500, abs=20)
    assert all(later[0] - earlier[0] >= 0.008 - 1e-9 for earlier, later in pairwise(came))
    lateness = [at - 0.004 * (number + 1) for (at, _), number in zip(came, numbers(came), strict=True)]
    assert 0.07 < max(lateness) <= 0.08 + 1e-9


def test_a_link_without_a_queue_takes_what_comes_while_it_is_idle() -> None:
    direction = Direction(1, Impairment(rate=1e6, queue=0))
    # A packet takes 8 ms, and one comes every 5 ms.
    assert numbers(carry(direction, evenly(10, size=1000, apart=0.005))) == [0, 2, 4, 6, 8]


def test_some_are_held_back_and_some_come_twice() -> None:
    direction = Direction(3, Impairment(delay=0.02, reorder=0.1, reorder_by=0.005, duplicate=0.1))
    came = numbers(carry(direction, evenly(10_000)))
    overtaken = sum(later < earlier for earlier, later in pairwise(came))
    assert overtaken == pytest.approx(1000, rel=0.2)
    assert direction.counts.duplicated == pytest.approx(1000, rel=0.2)
    assert len(came) == 10_000 + direction.counts.duplicated


@pytest.mark.parametrize("wrong", [{"loss": 1.1}, {"delay": -1}, {"burst": 0}, {"rate": 0}, {"jitter": float("nan")}])
def test_what_no_path_can_do_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Impairment(**wrong)  # type: ignore[arg-type] # burst too is a number
