"""Bodies of objects, as the API server hands them out, and what is read of them."""

import base64
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

from pancar_operator import objects
from pancar_operator.model import Coordinates, Credentials, Key, Node, Pod, Refused, WhyRefused
from pancar_operator.statusfields import CameraStatus, RelayPoolStatus, StatusCondition, Truth, VideoStatus

Body = dict[str, Any]

CAMERA: Body = {
    "apiVersion": "pancar.dev/v1alpha1",
    "kind": "Camera",
    "metadata": {
        "name": "gate",
        "namespace": "kota",
        "uid": "camera-uid",
        "generation": 3,
        "resourceVersion": "77",
        "creationTimestamp": "2026-05-01T00:00:00Z",
        "labels": {"district": "utara"},
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"},
        "managedFields": [{"manager": "kubectl"}],
    },
    "spec": {
        "source": {
            "main": {"url": "rtsp://192.0.2.1/stream1", "transport": "Auto"},
            "credentialsRef": {"name": "key"},
            "maxSessions": 1,
            "audio": False,
        },
        "owner": {"organisation": "Dinas Kominfo", "type": "Government"},
        "provider": {"name": "Contoh Net"},
        "location": {"district": "Utara", "coordinates": {"latitude": -6.2, "longitude": 106.8}},
        "pull": "Always",
    },
    "status": {
        "observedGeneration": 2,
        "conditions": [
            {
                "type": "Ready",
                "status": "True",
                "reason": "Live",
                "message": "",
                "lastTransitionTime": "2026-05-01T00:00:07Z",
                "observedGeneration": 2,
            }
        ],
        "relay": "default-0",
        "video": {"codec": "H264", "profile": "42e01f", "width": 1920, "height": 1080, "fps": 25},
    },
}
POOL: Body = {
    "metadata": {"name": "city", "namespace": "pancar", "uid": "pool-uid", "generation": 1},
    "spec": {"replicas": 2, "capacity": {"cameras": 100}},
    "status": {"replicas": 2, "readyReplicas": 1, "selector": "pancar.dev/pool=city"},
}
POD: Body = {
    "metadata": {
        "name": "city-east-11",
        "namespace": "pancar",
        "uid": "pod-uid",
        "labels": {"pancar.dev/pool": "city-east", "controller-revision-hash": "city-east-5d"},
        "ownerReferences": [{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "city-east", "controller": True}],
    },
    "spec": {"nodeName": "node-a"},
    "status": {
        "podIP": "10.0.0.7",
        "hostIP": "192.0.2.10",
        "hostIPs": [{"ip": "192.0.2.10"}, {"ip": "2001:db8::10"}],
        "conditions": [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "True"}],
        "containerStatuses": [{"name": "relay", "state": {"running": {"startedAt": "2026-05-01T00:00:00Z"}}}],
    },
}


def changed(body: Body, *path: str, to: Any) -> Body:
    """The same with another value at `path`; None removes it."""
    copied = deepcopy(body)
    place = copied
    for step in path[:-1]:
        place = place[step]
    if to is None:
        del place[path[-1]]
    else:
        place[path[-1]] = to
    return copied


def test_a_camera_and_what_was_written_of_it() -> None:
    camera, written = objects.camera(deepcopy(CAMERA))
    assert camera is not None
    assert camera.key == objects.key(CAMERA) == Key("kota", "gate")
    assert camera.metadata.labels == {"district": "utara"}
    assert camera.metadata.annotations == {}, "nobody reads them, and some are large"
    assert camera.spec.source.main.url == "rtsp://192.0.2.1/stream1"
    assert camera.spec.location is not None
    assert camera.spec.location.coordinates == Coordinates(latitude=-6.2, longitude=106.8)
    assert (written.uid, written.generation, written.refused) == ("camera-uid", 3, None)
    ready = StatusCondition(
        type="Ready",
        status=Truth.TRUE,
        reason="Live",
        message="",
        last_transition_time=datetime(2026, 5, 1, 0, 0, 7, tzinfo=UTC),
        observed_generation=2,
    )
    video = VideoStatus(codec="H264", profile="42e01f", width=1920, height=1080, fps=25.0)
    assert written.status == CameraStatus(observed_generation=2, conditions=(ready,), relay="default-0", video=video)


def test_cameras_share_what_they_have_in_common() -> None:
    one, told = objects.camera(deepcopy(CAMERA))
    other, as_well = objects.camera(changed(changed(CAMERA, "metadata", "name", to="harbour"), "spec", "pull", to=None))
    assert one is not None
    assert other is not None
    assert one.spec.owner is other.spec.owner
    assert one.spec.provider is other.spec.provider
    assert one.spec.source.credentials_ref is other.spec.source.credentials_ref
    assert one.metadata.labels is other.metadata.labels
    assert told.status.conditions[0] is as_well.status.conditions[0]
    assert told.status.video is as_well.status.video


def test_the_echo_of_a_status_is_the_camera_that_is_held() -> None:
    camera, written = objects.camera(deepcopy(CAMERA))
    assert camera is not None
    echo = changed(CAMERA, "status", "relay", to="default-1")
    again, told = objects.camera(echo, (camera, written))
    assert again is camera
    assert told.status.relay == "default-1"
    for path, value in {
        ("metadata", "uid"): "other",
        ("metadata", "generation"): 4,
        ("metadata", "labels"): {"district": "selatan"},
    }.items():
        other, _ = objects.camera(changed(echo, *path, to=value), (camera, written))
        assert other is not camera


def test_a_camera_without_labels_or_status() -> None:
    camera, written = objects.camera(changed(changed(CAMERA, "metadata", "labels", to=None), "status", to=None))
    assert camera is not None
    assert camera.metadata.labels == {}
    assert camera.spec.maintenance == ()
    assert written.status == CameraStatus()


def test_what_is_newer_than_the_operator_is_passed_over() -> None:
    body = changed(changed(CAMERA, "spec", "focus", to={"auto": True}), "spec", "source", "rotate", to=90)
    body["status"]["later"] = True
    camera, written = objects.camera(body)
    assert camera == objects.camera(deepcopy(CAMERA))[0]
    assert written.refused is None
    assert written.status == CameraStatus(), "written by a newer operator: it is written anew"


def test_what_means_nothing_is_refused_with_its_field_and_without_its_value() -> None:
    body = changed(CAMERA, "spec", "source", "main", "url", to="rtsp://viewer:hunter2@192.0.2.1/")
    camera, written = objects.camera(body)
    assert camera is None
    assert written.uid == "camera-uid"
    assert written.refused is not None
    assert written.refused.why is WhyRefused.INVALID
    assert written.refused.message.startswith("spec.source.main.url must not contain a user name or password")
    assert "hunter2" not in written.refused.message
    camera, written = objects.camera(changed(CAMERA, "spec", "pull", to="Sometimes"))
    assert (camera, written.refused) == (None, Refused(WhyRefused.INVALID, "spec.pull must be one of Always, OnDemand"))
    camera, written = objects.camera(changed(CAMERA, "spec", to=None))
    assert (camera, written.refused) == (None, Refused(WhyRefused.INVALID, "spec is missing"))


def test_an_empty_pause_shows_no_camera() -> None:
    body = deepcopy(CAMERA)
    body["spec"]["paused"] = None
    camera, written = objects.camera(body)
    assert camera is None
    assert written.refused is not None
    assert written.refused.why is WhyRefused.INVALID
    assert written.refused.message.startswith("spec.paused has no value")


def test_a_pool_and_what_was_written_of_it() -> None:
    pool, written = objects.pool(deepcopy(POOL))
    assert pool is not None
    assert (pool.key, pool.spec.replicas, pool.spec.capacity.cameras) == (Key("pancar", "city"), 2, 100)
    assert (written.uid, written.generation, written.deleting) == ("pool-uid", 1, False)
    assert objects.pool(changed(POOL, "metadata", "deletionTimestamp", to="2030-05-06T07:08:09Z"))[1].deleting
    assert written.status == RelayPoolStatus(replicas=2, ready_replicas=1, selector="pancar.dev/pool=city")
    bare, _ = objects.pool(changed(POOL, "spec", to=None))
    assert bare is not None
    assert objects.pool(changed(POOL, "spec", "replicas", to="two"))[0] is None


def secret(**data: str) -> Body:
    encoded = {name: base64.b64encode(text.encode()).decode() for name, text in data.items()}
    return {"metadata": {"name": "key", "namespace": "kota", "uid": "u"}, "data": encoded}


def test_credentials_of_a_secret() -> None:
    assert objects.credentials(secret(username="viewer", password="hunter2")) == Credentials("viewer", "hunter2")
    assert objects.credentials(secret(username="viewer\n", password="")) == Credentials("viewer", "")
    assert objects.credentials(secret(username="viewer")) is None
    assert objects.credentials(secret(username="", password="hunter2")) is None
    assert objects.credentials(secret(username="viewer", password="a\r\nb")) is None
    assert objects.credentials({**secret(), "data": {"username": "%", "password": "/w=="}}) is None
    assert objects.credentials({"metadata": secret()["metadata"]}) is None


def test_a_relays_pod() -> None:
    assert objects.pod(POD) == Pod(
        uid="pod-uid",
        namespace="pancar",
        name="city-east-11",
        pool=Key("pancar", "city-east"),
        ordinal=11,
        node="node-a",
        ip="10.0.0.7",
        host_ips=("192.0.2.10", "2001:db8::10"),
        running=True,
        ready=True,
        revision="city-east-5d",
    )
    ending = objects.pod(changed(POD, "metadata", "deletionTimestamp", to="2026-05-01T00:00:00Z"))
    assert ending is not None
    assert ending.deleting
    crashed = changed(POD, "status", "containerStatuses", to=[{"name": "relay", "state": {"waiting": {}}}])
    crashed["status"]["conditions"] = [{"type": "Ready", "status": "False"}]
    found = objects.pod(crashed)
    assert found is not None
    assert (found.running, found.ready) == (False, False)
    unscheduled = objects.pod(changed(changed(POD, "spec", to={}), "status", to={"phase": "Pending"}))
    assert unscheduled is not None
    assert (unscheduled.node, unscheduled.ip, unscheduled.running) == ("", "", False)


def test_pods_that_are_no_relays() -> None:
    assert objects.pod(changed(POD, "metadata", "labels", to=None)) is None
    assert objects.pod(changed(POD, "metadata", "ownerReferences", to=None)) is None
    assert objects.pod(changed(POD, "metadata", "name", to="city-east-debug")) is None
    assert objects.pod(changed(POD, "metadata", "name", to="city-east")) is None
    other = changed(POD, "metadata", "ownerReferences", to=[{"kind": "Job", "name": "city-east", "controller": True}])
    assert objects.pod(other) is None


def test_a_node() -> None:
    body: Body = {
        "metadata": {"name": "node-a", "labels": {"topology.kubernetes.io/zone": "utara"}},
        "status": {"conditions": [{"type": "MemoryPressure", "status": "False"}, {"type": "Ready", "status": "True"}]},
    }
    assert objects.node(body) == Node("node-a", ready=True, zone="utara")
    body["status"]["conditions"][1]["status"] = "Unknown"
    assert not objects.node(body).ready
    assert objects.node({"metadata": {"name": "node-b"}}) == Node("node-b", ready=False)
