"""Whether applying would change anything; the API server's own answers are asked in tests/cluster/test_specs."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pancar_operator.applied import covers

ME = "pancar-operator"

WANTED: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "StatefulSet",
    "metadata": {"name": "city", "namespace": "kota", "labels": {"a": "b"}},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"a": "b"}},
        "nodeSelector": {"cctv": "yes"},
        "tolerations": [{"key": "cctv", "operator": "Exists"}],
        "containers": [
            {"name": "relay", "image": "relay:1", "resources": {"requests": {"cpu": "0.5", "memory": "1Gi"}}}
        ],
    },
}
OWNED: dict[str, Any] = {
    "f:metadata": {"f:labels": {"f:a": {}}},
    "f:spec": {
        "f:replicas": {},
        "f:selector": {},
        "f:nodeSelector": {},
        "f:tolerations": {},
        "f:containers": {
            'k:{"name":"relay"}': {
                ".": {},
                "f:name": {},
                "f:image": {},
                "f:resources": {"f:requests": {"f:cpu": {}, "f:memory": {}}},
            }
        },
    },
}


def copy(value: Any) -> Any:
    return json.loads(json.dumps(value))


def held(**metadata: Any) -> dict[str, Any]:
    """What the API server made of it: with its defaults, and its own way to write amounts."""
    live: dict[str, Any] = copy(WANTED)
    live["metadata"] |= {"uid": "1", "generation": 1, "annotations": {"others": "too"}, **metadata}
    live["metadata"].setdefault("managedFields", [{"manager": ME, "operation": "Apply", "fieldsV1": copy(OWNED)}])
    live["spec"] |= {"revisionHistoryLimit": 10}
    live["spec"]["containers"][0] |= {"terminationMessagePath": "/dev/termination-log"}
    live["spec"]["containers"][0]["resources"]["requests"]["cpu"] = "500m"
    live["spec"]["containers"].insert(0, {"name": "injected"})
    live["status"] = {"replicas": 2}
    return live


def test_defaults_and_what_others_added_make_no_difference() -> None:
    assert covers(held(), WANTED, ME)


def test_what_was_never_applied_by_us_differs() -> None:
    by_another = [{"manager": "kubectl", "operation": "Apply", "fieldsV1": OWNED}]
    updated = [{"manager": ME, "operation": "Update", "fieldsV1": OWNED}]
    status = [{"manager": ME, "operation": "Apply", "subresource": "status", "fieldsV1": OWNED}]
    for fields in ([], by_another, updated, status):
        assert not covers(held(managedFields=fields), WANTED, ME)


CHANGES = {
    "value": lambda spec: spec.update(replicas=3),
    "gone": lambda spec: spec.pop("replicas"),
    "value of an entry": lambda spec: spec["containers"][1].update(image="relay:2"),
    "entry gone": lambda spec: spec["containers"].pop(1),
    "amount": lambda spec: spec["containers"][1]["resources"]["requests"].update(cpu="501m"),
    "amount gone": lambda spec: spec["containers"][1]["resources"]["requests"].pop("cpu"),
    "more in a map that is set as a whole": lambda spec: spec["nodeSelector"].update(more="1"),
    "more in a list that is set as a whole": lambda spec: spec["tolerations"].append({"key": "more"}),
    "more in an entry of such a list": lambda spec: spec["tolerations"][0].update(effect="NoSchedule"),
    "of another kind": lambda spec: spec.update(containers={}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_others_changed_differs(change: str) -> None:
    live = held()
    CHANGES[change](live["spec"])
    assert not covers(live, WANTED, ME)


REMOVALS = {
    "label": lambda body: body["metadata"].pop("labels"),
    "field": lambda body: body["spec"].pop("replicas"),
    "block": lambda body: body["spec"].pop("nodeSelector"),
    "field of an entry": lambda body: body["spec"]["containers"][0].pop("image"),
    "amount": lambda body: body["spec"]["containers"][0]["resources"]["requests"].pop("memory"),
    "entry": lambda body: body["spec"].update(containers=[]),
}


@pytest.mark.parametrize("removal", REMOVALS)
def test_what_is_ours_and_not_wanted_any_more_differs(removal: str) -> None:
    wanted = copy(WANTED)
    REMOVALS[removal](wanted)
    assert not covers(held(), wanted, ME)


def test_what_is_wanted_and_not_ours_yet_differs() -> None:
    for path in (["metadata", "annotations"], ["spec", "revisionHistoryLimit"]):
        wanted, live = copy(WANTED), held()
        wanted[path[0]][path[1]] = live[path[0]][path[1]]
        assert not covers(live, wanted, ME)
    wanted = copy(WANTED)
    wanted["spec"]["containers"].append({"name": "injected"})
    assert not covers(held(), wanted, ME)


@pytest.mark.parametrize(
    ("wanted", "rewritten"),
    [("1000m", "1"), ("0.5", "500m"), ("1024Mi", "1Gi"), ("1.5Gi", "1536Mi"), ("1000", "1k"), ("0.1Ki", "102400m")],
)
def test_amounts_are_compared_as_amounts(wanted: str, rewritten: str) -> None:
    body, live = copy(WANTED), held()
    body["spec"]["containers"][0]["resources"]["requests"]["cpu"] = wanted
    live["spec"]["containers"][1]["resources"]["requests"]["cpu"] = rewritten
    assert covers(live, body, ME)


def test_what_only_looks_like_an_amount_is_compared_as_text() -> None:
    body, live = copy(WANTED), held()
    body["metadata"]["labels"]["a"], live["metadata"]["labels"]["a"] = "1000m", "1"
    assert not covers(live, body, ME)


NAMES = st.sampled_from(["a", "b", "c", "name"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["", "x", "1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=12,
)
FIELDS: st.SearchStrategy[dict[str, Any]] = st.recursive(
    st.just({}),
    lambda inner: st.dictionaries(NAMES.map("f:{}".format) | st.just('k:{"name":"x"}') | st.just("."), inner),
    max_leaves=12,
)


@given(VALUES, VALUES, FIELDS)
def test_no_object_of_whatever_shape_stops_it(wanted: object, live: object, fields: dict[str, Any]) -> None:
    managed = [{"manager": ME, "operation": "Apply", "fieldsV1": fields}]
    body = {"metadata": {"managedFields": managed}, "spec": live}
    assert covers(body, {"metadata": {}, "spec": wanted}, ME) in (True, False)
