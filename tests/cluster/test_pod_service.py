"""The Service of one pod: media comes to that pod alone, from the sender's own address, also while it drains."""

import asyncio
import contextlib
import socket
import sys
from collections.abc import Iterator
from functools import partial
from typing import Any

from pancar_operator import specs
from pancar_operator.model import Exposure, Media, Metadata, RelayPool, RelayPoolSpec
from rigs.cluster.kube import Kube
from rigs.cluster.running import Cluster
from rigs.waiting import eventually

# Says who it is and whom it hears, on the media port.
ECHO = f"""
import os, socket
media = socket.socket(type=socket.SOCK_DGRAM)
media.bind(("", {specs.MEDIA_PORT}))
while True:
    sender = media.recvfrom(64)[1]
    media.sendto(f"{{os.environ['NAME']}} heard {{sender[0]}}".encode(), sender)
"""


def pool(namespace: str) -> RelayPool:
    spec = RelayPoolSpec(media=Media(exposure=Exposure.NODE_PORT))
    return RelayPool(metadata=Metadata(name="city", namespace=namespace), spec=spec)


def echo(namespace: str, ordinal: int, image: str) -> dict[str, Any]:
    """A relay's pod as the StatefulSet would make it, with another program; it is never ready."""
    name = specs.pod_name("city", ordinal)
    template = specs.pod_template(pool(namespace), specs.Deployment(image, "Never", "none:1", "none:2"))
    [relay] = template["spec"]["containers"]
    kept = {key: relay[key] for key in ("name", "image", "imagePullPolicy", "ports", "securityContext")}
    never = {"exec": {"command": [sys.executable, "-c", "raise SystemExit(1)"]}}
    container = {
        **kept,
        "command": [sys.executable, "-c", ECHO],
        "env": [{"name": "NAME", "value": name}],
        "readinessProbe": never,
    }
    spec = {**template["spec"], "containers": [container], "volumes": [], "terminationGracePeriodSeconds": 60}
    labels = {**template["metadata"]["labels"], specs.POD_NAME_LABEL: name}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": spec}


def service(namespace: str, ordinal: int) -> dict[str, Any]:
    body = specs.pod_service(pool(namespace), "", ordinal)
    # There is no such pool.
    del body["metadata"]["ownerReferences"]
    return body


@contextlib.contextmanager
def sender(target: tuple[str, int]) -> Iterator[socket.socket]:
    with socket.socket(type=socket.SOCK_DGRAM) as made:
        made.setblocking(False)
        made.connect(target)
        yield made


async def heard(by: socket.socket) -> str:
    """The answer to a datagram; empty where none comes soon."""
    by.send(b"?")
    with contextlib.suppress(TimeoutError, ConnectionError):
        return (await asyncio.wait_for(asyncio.get_running_loop().sock_recv(by, 200), 3.0)).decode()
    return ""


async def test_media_comes_to_the_pod_that_it_is_for(cluster: Cluster, namespace: str, relay_image: str) -> None:
    own = cluster.kube.within(namespace)
    own("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    for ordinal in (0, 1):
        own.apply(echo(namespace, ordinal, relay_image), service(namespace, ordinal))
    own.until("jsonpath={.status.containerStatuses[0].state.running}", "pod/city-0", "pod/city-1")
    for ordinal in (0, 1):
        with sender(address(own, ordinal)) as sending:
            own_address = sending.getsockname()[0]
            expected = f"city-{ordinal} heard {own_address}"
            assert await eventually(partial(heard, sending), "an answer") == expected
            # A pod that is to end is heard to its end.
            own("delete", f"pod/city-{ordinal}", "--wait=false")
            for _ in range(10):
                assert await heard(sending) == expected
                await asyncio.sleep(0.1)


def address(kube: Kube, ordinal: int) -> tuple[str, int]:
    """As viewers are told it."""
    host = kube.get(f"pod/city-{ordinal}")["status"]["hostIP"]
    ports = kube.get(f"service/city-{ordinal}")["spec"]["ports"]
    return host, next(port["nodePort"] for port in ports if port["name"] == "media")
