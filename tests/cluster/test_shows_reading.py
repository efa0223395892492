"""What people read: kubectl get, describe and explain of cameras that run, and a refusal that names the field."""

import re
from datetime import UTC, datetime

import pytest
from rigs import manifests
from rigs.camera import Cameras
from rigs.cluster.kube import KubectlError
from rigs.pancar_cluster import Installation, condition, pool


async def test_cameras_tell_how_they_are(pancar: Installation, namespace: str, cameras: Cameras) -> None:
    live = cameras(address=pancar.camera_address())
    locked = cameras(auth="basic", password="s3cret", address=pancar.camera_address())
    own = pancar.cluster.kube.within(namespace)
    await pancar.apply(pool(replicas=1))
    await pancar.apply(
        manifests.camera("gate", live, location={"district": "Gubeng"}, provider={"name": "Diskominfo"}),
        manifests.camera("square", locked),
        manifests.camera("court", "rtsp://192.0.2.1/live", paused={"reason": "A trial is held"}),
        kube=own,
    )
    await pancar.until_ready(namespace, "gate")
    await pancar.kubectl(
        *("wait", "--for=jsonpath={.status.conditions[?(@.type=='Ready')].reason}=Unauthorized", "camera/square"),
        *("--timeout=30s", f"--namespace={namespace}"),
    )
    head, *rows = (await pancar.kubectl("get", "cameras", f"--namespace={namespace}")).splitlines()
    assert head.split() == ["NAME", "POOL", "RELAY", "READY", "REASON", "AGE"]
    read = {row.split()[0]: row.split()[1:-1] for row in rows}
    taken = f"{pancar.namespace}/default"
    assert read["gate"] == [taken, "default-0", "True", "Live"]
    assert read["square"] == [taken, "default-0", "False", "Unauthorized"]
    assert read["court"][-2:] == ["False", "Paused"]
    head, *rows = (await pancar.kubectl("get", "cam", "-o", "wide", f"--namespace={namespace}")).splitlines()
    assert rows[1].split()[-3:] == ["H264", "Gubeng", "Diskominfo"]

    described = await pancar.kubectl("describe", "camera", "square", f"--namespace={namespace}")
    assert re.search(r"Type:\s+Connected", described)
    assert "password" in described
    assert "s3cret" not in described
    for body in (await pancar.get("cameras", f"--namespace={namespace}"))["items"]:
        for one in body["status"]["conditions"]:
            assert one["reason"], one
            assert one["observedGeneration"] == body["metadata"]["generation"]
            assert datetime.fromisoformat(one["lastTransitionTime"]) < datetime.now(UTC)
        assert {one["type"] for one in body["status"]["conditions"]} == {"Placed", "Connected", "Ready", "Paused"}
        assert not body["metadata"].get("finalizers")
        assert set(body["metadata"].get("annotations", {})) <= {"kubectl.kubernetes.io/last-applied-configuration"}
    await pancar.kubectl("wait", "--for=condition=Ready", "relaypool/default", "--timeout=30s")
    ready = await pancar.get("relaypool", "default")
    assert condition(ready, "Ready")["status"] == "True"
    assert (ready["status"]["replicas"], ready["status"]["readyReplicas"]) == (1, 1)

    wrong = manifests.camera("wrong", "http://192.0.2.1/")
    with pytest.raises(KubectlError, match=r"spec\.source\.main\.url.*rtsp"):
        await pancar.apply(wrong, kube=own)
    assert "RTSP URL" in await pancar.kubectl("explain", "camera.spec.source.main")
