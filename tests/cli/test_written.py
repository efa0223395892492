"""What is read of a camera, and of everything for a plan, in the API server's objects."""

import re
from typing import Any

from pancar_cli.plan import changes, completed, loads
from pancar_cli.why import explain
from pancar_cli.written import About, Inventory, facts, snapshot
from pancar_operator.manifests import parse
from pancar_operator.model import Key, Manifests, Why
from pancar_operator.plan import plan

Body = dict[str, Any]
MOMENT = r"\d{4}-\d\d-\d\d \d\d:(\d\d:\d\d)"
GATE = Key("kota", "gate")


def at(second: int) -> str:
    return f"2026-05-01T00:00:{second:02}Z"


def condition(kind: str, status: str, reason: str, *, message: str = "", second: int = 1, generation: int = 1) -> Body:
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": at(second),
        "observedGeneration": generation,
    }


def camera(name: str = "gate", *conditions: Body, relay: str = "city-0", generation: int = 1, **spec: Any) -> Body:
    body: Body = {
        "metadata": {"name": name, "namespace": "kota", "uid": f"uid of {name}", "generation": generation},
        "spec": {"source": {"main": {"url": "rtsp://192.0.2.1/"}}, **spec},
    }
    if conditions:
        status = {"observedGeneration": 1, "conditions": list(conditions), "pool": "pancar/city"}
        body["status"] = {**status, "relay": relay} if relay else status
    return body


def live(why: str = "New", second: int = 1) -> list[Body]:
    return [
        condition("Placed", "True", why),
        condition("Connected", "True", "Live", second=second),
        condition("Ready", "True", "Live", second=second),
        condition("Paused", "False", "NotPaused"),
    ]


def out(kind: str, reason: str, message: str) -> list[Body]:
    placed = condition("Placed", "True", "New") if kind == "Connected" else condition("Placed", "False", reason)
    ready = condition("Ready", "False", reason, message=message, second=9)
    return [placed, condition("Connected", "False", reason, message=message), ready, condition("Paused", "False", "No")]


def pool(name: str = "city", *conditions: Body, **spec: Any) -> Body:
    metadata = {"name": name, "namespace": "pancar", "uid": f"uid of {name}", "generation": 1}
    return {"metadata": metadata, "spec": spec, "status": {"conditions": list(conditions)}}


def pod(name: str = "city-0", *, revision: str = "new", ready: bool = True, created: int = 0, **metadata: Any) -> Body:
    labels = {"pancar.dev/pool": name.rpartition("-")[0], "controller-revision-hash": revision}
    return {
        "metadata": {
            "name": name,
            "namespace": "pancar",
            "uid": f"uid of {name}",
            "labels": labels,
            "creationTimestamp": at(created),
            "ownerReferences": [{"kind": "StatefulSet", "name": labels["pancar.dev/pool"], "controller": True}],
            **metadata,
        },
        "spec": {"nodeName": "node-1"},
        "status": {
            "podIP": "10.0.0.5",
            "hostIP": "192.0.2.50",
            "hostIPs": [{"ip": "192.0.2.50"}],
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
            "containerStatuses": [{"name": "relay", "state": {"running": {}}}],
        },
    }


def event(reason: str, message: str, second: int, *, uid: str = "uid of gate", count: int = 1) -> Body:
    return {
        "metadata": {"creationTimestamp": at(0)},
        "involvedObject": {"kind": "Camera", "uid": uid},
        "reason": reason,
        "message": message,
        "count": count,
        "firstTimestamp": at(0),
        "lastTimestamp": at(second),
    }


def told(about: About) -> list[str]:
    return [re.sub(MOMENT, r"\1", line) for line in explain(GATE, *facts(about))]


def test_a_camera_that_is_live() -> None:
    assert told(About(camera("gate", *live(second=4)), pool=pool(), pod=pod())) == [
        "kota/gate  Live since 00:04",
        "On relay city-0 at https://10.0.0.5:8443, of RelayPool pancar/city, on node node-1, since 00:01: it was on no "
        "relay (New).",
    ]


def test_events_tell_what_befell_it_and_when_it_moved() -> None:
    moved = event("Moved", "Moved from relay city-1 to relay city-0: the relay it was on is gone (RelayGone).", 30)
    lost = event("Unreachable", "No answer from its address.", 40, count=3)
    older = event("Placed", "Placed on relay city-0 of RelayPool pancar/city.", 50, uid="another of that name")
    of_pool = [event("Serving", f"{number} relays serve.", 20 + number) for number in range(7)]
    about = About(camera("gate", *live("RelayGone")), (lost, moved, older), pool(), tuple(of_pool), pod())
    lines = told(about)
    assert "since 00:30: the relay it was on is gone (RelayGone)." in lines[1]
    assert lines[2:] == [
        "Events:",
        *(f"  00:2{number}  Serving: RelayPool pancar/city: {number} relays serve." for number in range(2, 7)),
        "  00:30  Moved: Moved from relay city-1 to relay city-0: the relay it was on is gone (RelayGone).",
        "  00:40  Unreachable: No answer from its address. (3 times since 00:00)",
    ]


def test_without_its_event_a_move_may_have_been_later_than_what_is_written() -> None:
    """Placed stays True while the camera moves, so its time is that of the first relay."""
    moved = camera("gate", *live("RelayGone"))
    assert "since 00:01 or later: " in told(About(moved, pool=pool(), pod=pod()))[1]
    assert "since 00:20 or later: " in told(About(moved, pool=pool(), pod=pod(created=20)))[1]
    other = event("Moved", "Moved from relay city-0 to relay city-01: x.", 30)
    assert "or later" in told(About(moved, (other,), pool(), (), pod()))[1]


def test_a_camera_that_is_not_live_tells_of_its_pool_and_pod() -> None:
    down = condition("Ready", "False", "NotScheduled", message="No node takes city-1.")
    stuck = camera("gate", *out("Placed", "NoCapacity", "All relays are full."), relay="")
    assert told(About(stuck, pool=pool("city", down, condition("Scaled", "True", "AsWanted")))) == [
        "kota/gate  Offline since 00:09: NoCapacity: All relays are full.",
        "It is on no relay.",
        "RelayPool pancar/city is not ready: NotScheduled: No node takes city-1.",
    ]
    silent = camera("gate", *out("Connected", "Stalled", "No pictures come."))
    lines = told(About(silent, pool=pool(), pod=pod(ready=False)))
    assert lines[2] == "The pod city-0 is not ready; `kubectl describe pod --namespace pancar city-0` tells more."
    ending = told(About(silent, pool=pool(), pod=pod(deletionTimestamp=at(5))))
    assert ending[2].startswith("The pod city-0 is ending; ")
    gone = told(About(silent, pool=pool()))
    assert gone[1].startswith("On relay city-0, of RelayPool pancar/city, since ")
    assert gone[2].startswith("The pod city-0 is gone. ")


def test_what_the_operator_has_not_seen_yet_and_what_may_not_be_read() -> None:
    assert told(About(camera())) == [
        "kota/gate  nothing is known yet",
        "No operator has looked at it yet. Is one running, and does it run well? Its logs tell.",
    ]
    edited = told(About(camera("gate", *live(), generation=4), pool=pool(), pod=pod()))
    assert edited[2].startswith("The operator has not looked at its latest change yet (generation 4): ")
    refused = told(About(camera("gate", *live()), unread=("The cluster does not let you: pods is forbidden.",)))
    assert refused[2:] == ["The cluster does not let you: pods is forbidden."]


def test_where_viewers_find_the_relay() -> None:
    def url(exposure: str, service: Body | None = None) -> str:
        exposed = pool(media={"exposure": exposure})
        relay = facts(About(camera("gate", *live()), pool=exposed, pod=pod(), service=service))[1]
        assert relay is not None
        return relay.url

    assert url("PodIP") == "https://10.0.0.5:8443"
    assert url("HostPort") == url("HostNetwork") == "https://192.0.2.50:8443"
    ports = {"spec": {"ports": [{"name": "media", "nodePort": 1}, {"name": "https", "nodePort": 31_000}]}}
    assert url("NodePort", ports) == "https://192.0.2.50:31000"
    assert url("NodePort") == ""
    balanced = {"spec": {"ports": []}, "status": {"loadBalancer": {"ingress": [{"ip": "2001:db8::1"}]}}}
    assert url("LoadBalancer", balanced) == "https://[2001:db8::1]:8443"
    assert url("LoadBalancer", {"spec": {"ports": []}, "status": {"loadBalancer": {}}}) == ""


def stateful_set(replicas: int, name: str = "city") -> Body:
    return {
        "metadata": {"name": name, "namespace": "pancar"},
        "spec": {"replicas": replicas},
        "status": {"updateRevision": "new"},
    }


NODE = {"metadata": {"name": "node-1"}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}


def planned(inventory: Inventory, *documents: str) -> list[str]:
    given, refused = snapshot(
        inventory, parse([("given.yaml", "\n---\n".join(documents))]) if documents else Manifests()
    )
    given = completed(given)
    made = plan(given)
    return [*changes(given, made, refused), *loads(given, made)]


def inventory(
    cameras: list[Body], pods: list[Body], *, size: int, pools: list[Body] | None = None, node: Body = NODE
) -> Inventory:
    return Inventory(Key("pancar", "city"), cameras, pools or [pool()], pods, [stateful_set(size)], [node])


def test_at_rest_nothing_is_planned() -> None:
    there = inventory([camera("gate", *live())], [pod()], size=1)
    given, _ = snapshot(there, Manifests())
    (assignment,) = given.placed.values()
    assert assignment == ("uid of city-0", Why.NEW)
    assert planned(there) == [
        "To place: 0, to move: 0, to release: 0, left out: 0, to stay: 1.",
        "RelayPool pancar/city: 1 relay, 1 of 200 cameras.",
    ]


def test_the_next_plan_names_relays_by_their_pods() -> None:
    cameras = [camera("gate", *live()), camera("hall", *live(), relay="city-7"), camera("new")]
    assert planned(inventory(cameras, [pod()], size=1)) == [
        "move      kota/hall  from city-7 to city-0: the relay it was on is gone (RelayGone)",
        "place     kota/new  on city-0: it was on no relay (New)",
        "To place: 1, to move: 1, to release: 0, left out: 0, to stay: 1.",
        "RelayPool pancar/city: 1 relay, 3 of 200 cameras.",
    ]


def test_what_the_operator_makes_nothing_of_is_left_out_with_its_reason() -> None:
    invalid = condition("Placed", "False", "Invalid", message="Its Secret is missing.")
    cameras = [camera("gate", invalid, relay=""), camera("hall", invalid, relay="", generation=2)]
    lines = planned(inventory(cameras, [pod()], size=1))
    assert lines[0] == "leave out kota/gate  Its Secret is missing."
    assert lines[1].startswith("place     kota/hall  on city-0"), "it was changed since"


def test_files_are_what_would_be_applied() -> None:
    cameras = [camera("gate", *live()), camera("hall", *live())]
    smaller = (
        "{apiVersion: pancar.dev/v1alpha1, kind: RelayPool, metadata: {name: city, namespace: pancar}, spec: {%s}}"
    )
    moved = """{apiVersion: pancar.dev/v1alpha1, kind: Camera, metadata: {name: gate, namespace: kota},
        spec: {source: {main: {url: "rtsp://192.0.2.1/"}}, poolRef: {name: police, namespace: pancar}}}"""
    police = smaller.replace("city", "police") % "replicas: 2"
    there = inventory(cameras, [pod(), pod("city-1")], size=2, pools=[pool(replicas=2)])
    lines = planned(there, moved, police)
    assert re.match(r"move      kota/gate  from city-0 to pancar/police-[01]: .* \(PoolChanged\)", lines[0])
    assert lines[1:] == [
        "To place: 0, to move: 1, to release: 0, left out: 0, to stay: 1.",
        "RelayPool pancar/city: 2 relays, 1 of 400 cameras, 0 to 1 on each.",
        "RelayPool pancar/police: 2 relays, 1 of 400 cameras, 0 to 1 on each.",
    ]
    two = inventory([camera("gate", *live(), relay="city-1")], [pod(), pod("city-1")], size=2, pools=[pool(replicas=2)])
    assert planned(two, smaller % "replicas: 1") == [
        "move      kota/gate  from city-1 to city-0: its pool needs fewer relays (ScaleIn)",
        "To place: 0, to move: 1, to release: 0, left out: 0, to stay: 0.",
        "RelayPool pancar/city: 2 relays, 1 of 400 cameras, 0 to 1 on each; it shall have 1.",
        "  city-1 is being emptied since the pool needs fewer relays (ScaleIn); 0 of its cameras are left.",
    ]


def test_outdated_relays_and_those_on_lost_nodes() -> None:
    cameras = [camera("gate", *live(), relay="city-1")]
    pods = [pod(), pod("city-1", revision="old")]
    lines = planned(inventory(cameras, pods, size=2, pools=[pool(replicas=2)]))
    because = "the relay it was on is being replaced by an up-to-date one (Rolled)"
    assert lines[0] == f"move      kota/gate  from city-1 to city-0: {because}"
    assert lines[-1].startswith("  city-1 is being emptied to be replaced by one of the present template (Roll)")
    lost = {"metadata": {"name": "node-1"}, "status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}}
    lines = planned(inventory(cameras, pods, size=2, pools=[pool(replicas=2)], node=lost))
    assert lines[0].startswith("leave out kota/gate  from city-1: No relay of RelayPool pancar/city is attached")
