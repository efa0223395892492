"""Two operators, and the one that leads is killed: the other leads within its lease time, and nothing happens twice."""

import time

from pancar_operator.leader import LEASE_SECONDS, RETRY_SECONDS
from rigs import manifests
from rigs.camera import Cameras
from rigs.pancar_cluster import SLOW, Installation, condition, numbered, pool
from rigs.waiting import eventually

NAMES = numbered("gate", 4)
# What the API server and a machine with other things to do take.
SLACK_SECONDS = 20.0


async def test_another_leads_and_nobody_notices(pancar: Installation, namespace: str, cameras: Cameras) -> None:
    sources = [cameras(**SLOW, number=n, address=pancar.camera_address()) for n in range(1, 5)]
    own = pancar.cluster.kube.within(namespace)
    await pancar.apply(pool(replicas=2))
    await pancar.until_relays(2)
    await pancar.apply(
        *(manifests.camera(name, source) for name, source in zip(NAMES[:3], sources[:3], strict=True)), kube=own
    )
    await pancar.until_ready(namespace)
    # Or what the first leader had still to say of the pool, the next one says.
    await pancar.kubectl("wait", "--for=condition=Ready", "relaypool/default", "--timeout=30s")
    before = {body["metadata"]["name"]: body for body in (await pancar.get("cameras", "-n", namespace))["items"]}
    first = await pancar.leader()
    term = (await pancar.get("lease", "pancar-operator"))["spec"]["leaseTransitions"]

    writes = len(pancar.cluster.writes())
    viewer = await pancar.viewer(namespace, NAMES[0])
    async with viewer:
        began = time.monotonic()
        # No signal: its process is gone from one moment to the next, and its Lease stands.
        await pancar.kubectl("delete", "pod", first, "--force", "--grace-period=0")

        async def other() -> bool:
            return await pancar.leader() not in ("", first)

        await eventually(other, "another leads", seconds=60)
        assert time.monotonic() - began < LEASE_SECONDS + 2 * RETRY_SECONDS + SLACK_SECONDS
        # It does what a leader does.
        await pancar.apply(manifests.camera(NAMES[3], sources[3]), kube=own)
        await pancar.until_ready(namespace, NAMES[3])
        await viewer.watch(15)
    assert (await pancar.get("lease", "pancar-operator"))["spec"]["leaseTransitions"] == term + 1
    for source in sources:
        assert source.stats().sessions_most == 1
    after = {body["metadata"]["name"]: body for body in (await pancar.get("cameras", "-n", namespace))["items"]}
    for name, body in before.items():
        assert after[name]["status"]["relay"] == body["status"]["relay"]
        assert condition(after[name], "Placed") == condition(body, "Placed")
    account = f"system:serviceaccount:{pancar.namespace}:pancar-operator"
    written = [event for event in pancar.cluster.writes()[writes:] if event["user"]["username"] == account]
    assert {event["objectRef"]["resource"] for event in written} <= {"leases", "cameras", "events", "tokenreviews"}
