"""What people read of a pool: whether it is ready, of its size, up to date, and why not."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from pancar_operator.model import Autoscaling, Key, Metadata, Pod, PoolObject, RelayPool, RelayPoolSpec
from pancar_operator.plan import Emptying, Plan, Unplaced, WhyNot
from pancar_operator.status import Fleet, pool_status
from pancar_operator.statusfields import RelayPoolStatus, Truth

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
KEY = Key("pancar", "city")


def pod(ordinal: int) -> Pod:
    return Pod(
        f"u{ordinal}", "pancar", f"city-{ordinal}", KEY, ordinal, "node-a", running=True, ready=True, revision="b"
    )


def fleet(*pods: Pod, trouble: str = "") -> Fleet:
    return Fleet(pods, {"u0", "u1", "u2"}, "b", trouble)


def told(
    there: Fleet, planned: Plan, *, autoscaling: Autoscaling | None = None
) -> tuple[RelayPoolStatus, dict[str, tuple[Truth, str, str]]]:
    spec = RelayPoolSpec(autoscaling=autoscaling)
    pool = RelayPool(metadata=Metadata(name="city", namespace="pancar"), spec=spec)
    status = pool_status(pool, PoolObject("uid", 4), there, planned, NOW)
    return status, {each.type: (each.status, each.reason, each.message) for each in status.conditions}


def wanted(count: int) -> Plan:
    return Plan(wanted={KEY: count})


def test_a_pool_that_is_as_it_should_be() -> None:
    status, conditions = told(fleet(pod(0), pod(1)), wanted(2))
    assert {kind: (truth, reason) for kind, (truth, reason, _) in conditions.items()} == {
        "Ready": (Truth.TRUE, "Serving"),
        "Scaled": (Truth.TRUE, "AsWanted"),
        "UpToDate": (Truth.TRUE, "AllReplaced"),
    }
    assert (status.replicas, status.ready_replicas, status.selector) == (2, 2, "pancar.dev/pool=city")
    assert {each.observed_generation for each in status.conditions} == {4}


@pytest.mark.parametrize(
    ("there", "reason", "words"),
    [
        (fleet(), "Starting", "0 of 2 relays serve"),
        (fleet(pod(0), replace(pod(1), ready=False)), "Starting", "city-1"),
        (fleet(pod(0), replace(pod(1), ready=False, node="")), "NotScheduled", "kubectl describe pod"),
        (fleet(pod(0), replace(pod(1), uid="stranger")), "NotAttached", "not heard of city-1"),
        (fleet(pod(0), trouble="StatefulSet: quota exceeded"), "Failed", "quota"),
    ],
)
def test_a_pool_that_is_not_ready_says_what_is_missing(there: Fleet, reason: str, words: str) -> None:
    truth, found, message = told(there, wanted(2))[1]["Ready"]
    assert (truth, found) == (Truth.FALSE, reason)
    assert words in message


def test_a_pool_of_none_is_ready() -> None:
    assert told(fleet(), wanted(0))[1]["Ready"][:2] == (Truth.TRUE, "NoneWanted")


def test_nothing_is_known_before_a_plan() -> None:
    conditions = told(Fleet(), Plan())[1]
    assert {truth for truth, _, _ in conditions.values()} == {Truth.UNKNOWN}


def test_a_roll_tells_how_far_it_is_and_takes_no_readiness_away() -> None:
    old = replace(pod(0), revision="a")
    conditions = told(fleet(old, replace(pod(1), ready=False), pod(2)), wanted(3))[1]
    assert conditions["Ready"][:2] == (Truth.TRUE, "Replacing")
    assert conditions["UpToDate"][:2] == (Truth.FALSE, "Rolling")
    assert conditions["UpToDate"][2].startswith("1 of 3 relays")


def test_a_scale_in_names_what_is_emptied() -> None:
    planned = replace(wanted(1), emptying={"u1": Emptying.SCALE_IN, "u2": Emptying.SCALE_IN})
    truth, reason, message = told(fleet(pod(0), pod(1), pod(2)), planned)[1]["Scaled"]
    assert (truth, reason) == (Truth.FALSE, "ScalingIn")
    assert "city-1, city-2" in message


def test_a_scale_out_says_from_how_many_to_how_many() -> None:
    assert told(fleet(pod(0)), wanted(3))[1]["Scaled"] == (Truth.FALSE, "ScalingOut", "From 1 relay to 3.")


@pytest.mark.parametrize(
    ("autoscaling", "reason", "field"),
    [(None, "TooSmall", "spec.replicas"), (Autoscaling(min=1, max=1), "AtMaximum", "spec.autoscaling.max")],
)
def test_a_pool_without_room_says_who_mends_it(autoscaling: Autoscaling | None, reason: str, field: str) -> None:
    full = replace(wanted(1), unplaced={Key("kota", "gate"): Unplaced(WhyNot.NO_CAPACITY, KEY)})
    truth, found, message = told(fleet(pod(0)), full, autoscaling=autoscaling)[1]["Scaled"]
    assert (truth, found) == (Truth.FALSE, reason)
    assert field in message
    elsewhere = replace(wanted(1), unplaced={Key("kota", "gate"): Unplaced(WhyNot.NO_CAPACITY, Key("pancar", "town"))})
    assert told(fleet(pod(0)), elsewhere)[1]["Scaled"][0] is Truth.TRUE


def test_what_hinders_a_change_takes_no_readiness_away() -> None:
    conditions = told(fleet(pod(0), pod(1), trouble="StatefulSet: quota exceeded"), wanted(2))[1]
    assert conditions["Ready"][0] is Truth.TRUE
    assert conditions["UpToDate"] == (Truth.FALSE, "Failed", "StatefulSet: quota exceeded")
