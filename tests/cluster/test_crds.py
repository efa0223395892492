"""The CRDs on a real API server: it takes them, explains them, refuses what `pancar up` refuses, and shows the rest."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pancar_operator.model import API_VERSION
from pancar_operator.statusfields import CameraStatus, RelayPoolStatus, StatusCondition, Truth, VideoStatus
from pydantic import TypeAdapter
from rigs import chart
from rigs.apiserver import refusals
from rigs.chart import GOOD, WRONG
from rigs.cluster.kube import Kube, KubectlError
from rigs.cluster.machine import wait_for
from rigs.definitions import defined

SCHEMAS = chart.schemas()
ASKED = [path for path in WRONG if chart.verdict(path).fields]
SERVERS = ("uid", "resourceVersion", "creationTimestamp", "namespace")


@pytest.fixture(scope="module")
def installed(kube: Kube) -> Iterator[Kube]:
    with defined(kube, "Camera", "RelayPool"):
        yield kube


@pytest.fixture
def own(installed: Kube, namespace: str) -> Kube:
    return installed.within(namespace)


def camera(name: str, **spec: Any) -> dict[str, Any]:
    source = {"main": {"url": "rtsp://192.0.2.10/stream"}}
    return {"apiVersion": API_VERSION, "kind": "Camera", "metadata": {"name": name}, "spec": {"source": source, **spec}}


def pool(name: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": API_VERSION, "kind": "RelayPool", "metadata": {"name": name}, "spec": spec}


def condition(kind: str, status: Truth, reason: str) -> StatusCondition:
    return StatusCondition(
        type=kind,
        status=status,
        reason=reason,
        message="",
        last_transition_time=datetime(2026, 1, 1, tzinfo=UTC),
        observed_generation=1,
    )


def write_status(kube: Kube, what: str, status: object) -> None:
    written = TypeAdapter(type(status)).dump_python(status, mode="json", by_alias=True, exclude_none=True)
    kube("patch", what, "--subresource=status", "--type=merge", "--patch", json.dumps({"status": written}))


@pytest.mark.parametrize("field", ["camera.spec.source", "cam.spec.maintenance", "relaypool.spec.template.spec"])
def test_fields_are_explained(installed: Kube, field: str) -> None:
    # What a kind looks like is published a moment after the kind itself.
    wait_for(f"{field} can be explained", 60, lambda: installed("explain", field))
    told = re.sub(r"\s+", " ", installed("explain", field))
    kind, *path = field.split(".")
    block = SCHEMAS["RelayPool" if kind == "relaypool" else "Camera"]
    for name in path:
        block = block["properties"][name]
    for name, below in block.get("items", block)["properties"].items():
        assert f"{name} <" in told
        assert below["description"] in told


def asked(path: Path) -> str:
    """What kubectl is to read: the file, but what is in a List it would judge itself, in words of its own."""
    text = path.read_text()
    return "\n---\n".join(map(json.dumps, chart.objects(path))) if "\nkind: List\n" in text else text


@pytest.mark.parametrize("path", ASKED, ids=lambda path: path.stem)
def test_a_wrong_manifest_is_refused_and_its_fields_are_named(own: Kube, path: Path) -> None:
    with pytest.raises(KubectlError) as caught:
        own("create", "--dry-run=server", "--filename=-", stdin=asked(path))
    told = str(caught.value)
    for field in chart.verdict(path).fields:
        assert re.search(rf"(?<![\w.]){re.escape(field)}(?![\w.\[])", told), told
    for body in chart.objects(path):
        for refusal in refusals(SCHEMAS[body["kind"]], body):
            assert not refusal.by_rule or refusal.why in told, told
    assert "hunter2" not in told


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_a_good_manifest_is_taken(own: Kube, path: Path) -> None:
    for body in chart.objects(path):
        if body["kind"] in SCHEMAS:
            metadata = {name: value for name, value in body["metadata"].items() if name not in SERVERS}
            stdin = json.dumps({**body, "metadata": metadata})
            own("create", "--dry-run=server", "--filename=-", stdin=stdin)


def test_defaults_are_those_of_the_model(own: Kube) -> None:
    own.apply(camera("gate"), pool("city"), {key: value for key, value in pool("bare").items() if key != "spec"})
    assert own.get("camera/gate")["spec"] == {
        "source": {
            "main": {"url": "rtsp://192.0.2.10/stream", "transport": "Auto"},
            "audio": False,
        },
        "pull": "Always",
        "transcode": "Auto",
    }
    for name in ("city", "bare"):
        assert own.get(f"relaypool/{name}")["spec"] == {
            "namespaces": ["*"],
            "capacity": {"cameras": 200, "viewers": 1000, "egressMbps": 4000, "transcodes": 4},
            "media": {"exposure": "PodIP"},
        }


def test_cameras_are_listed_with_what_matters(own: Kube) -> None:
    place = {"location": {"district": "Gubeng"}, "provider": {"name": "Diskominfo"}}
    own.apply(camera("gate", **place), camera("square"), pool("city"))
    write_status(
        own,
        "camera/gate",
        CameraStatus(
            observed_generation=1,
            conditions=(condition("Placed", Truth.TRUE, "New"), condition("Ready", Truth.TRUE, "Live")),
            pool="pancar/city",
            relay="city-0",
            video=VideoStatus(codec="H264", profile="42e01f", width=1280, height=720, fps=25.0),
        ),
    )
    head, *rows = own("get", "cameras").splitlines()
    assert head.split() == ["NAME", "POOL", "RELAY", "READY", "REASON", "AGE"]
    assert rows[0].split()[:-1] == ["gate", "pancar/city", "city-0", "True", "Live"]
    assert rows[1].split()[0] == "square"
    head, *rows = own("get", "cam", "--output=wide").splitlines()
    assert head.split()[-3:] == ["CODEC", "DISTRICT", "PROVIDER"]
    assert rows[0].split()[-3:] == ["H264", "Gubeng", "Diskominfo"]
    for selector in ("status.relay=city-0", "status.pool=pancar/city"):
        assert own("get", "cameras", "--output=name", f"--field-selector={selector}").split() == [
            "camera.pancar.dev/gate"
        ]
    assert sorted(own("get", "pancar", "--output=name").split()) == [
        "camera.pancar.dev/gate",
        "camera.pancar.dev/square",
        "relaypool.pancar.dev/city",
    ]
    own.until("condition=Ready", "camera/gate")


def test_a_condition_without_a_reason_is_refused(own: Kube) -> None:
    own.apply(camera("gate"))
    for reason in ("", "not in one word"):
        unfounded = {
            "type": "Ready",
            "status": "True",
            "reason": reason,
            "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
        patch = json.dumps({"status": {"conditions": [unfounded]}})
        with pytest.raises(KubectlError, match=r"status\.conditions\[0\]\.reason"):
            own("patch", "camera/gate", "--subresource=status", "--type=merge", "--patch", patch)


def test_a_pool_scales_where_it_does_not_scale_itself(own: Kube) -> None:
    own.apply(pool("city", replicas=1), pool("town", autoscaling={"min": 1, "max": 3}))
    write_status(own, "relaypool/city", RelayPoolStatus(replicas=1, ready_replicas=1, selector="pancar.dev/pool=city"))
    own("scale", "relaypool/city", "--replicas=3")
    scale = own.get("relaypool/city", "--subresource=scale")
    assert scale["spec"]["replicas"] == 3
    assert scale["status"] == {"replicas": 1, "selector": "pancar.dev/pool=city"}
    with pytest.raises(KubectlError, match="must not have both replicas and autoscaling"):
        own("scale", "relaypool/town", "--replicas=2")
