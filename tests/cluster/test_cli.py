"""`pancar why`, `plan` and `token` against a real API server, without an operator: what it would write is put there."""

import json
import os
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from pancar_operator.access import AUDIENCE, ISSUER, SigningKey
from pancar_operator.model import API_VERSION
from rigs.cluster.kube import Kube
from rigs.definitions import defined
from rigs.up import PANCAR

Object = dict[str, Any]
SINCE = "2026-05-01T00:00:00Z"


@pytest.fixture
def own(kube: Kube, namespace: str) -> Iterator[Kube]:
    with defined(kube, "Camera", "RelayPool"):
        try:
            yield kube.within(namespace)
        finally:
            kube("delete", "relaypools,cameras", "--all", f"--namespace={namespace}")


class Cli:
    """`pancar` as somebody with a kubeconfig runs it, and nothing else."""

    def __init__(self, kubeconfig: Path, home: Path) -> None:
        self.environment = {**os.environ, "KUBECONFIG": str(kubeconfig), "HOME": str(home), "XDG_STATE_HOME": str(home)}

    def __call__(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        command = [PANCAR, *arguments]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture
def cli(kube: Kube, tmp_path: Path) -> Cli:
    return Cli(kube.kubeconfig, tmp_path)


def camera(name: str, **spec: Any) -> Object:
    source = {"main": {"url": "rtsp://192.0.2.10/stream"}}
    return {"apiVersion": API_VERSION, "kind": "Camera", "metadata": {"name": name}, "spec": {"source": source, **spec}}


def pool(namespace: str, name: str = "city", **spec: Any) -> Object:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": API_VERSION, "kind": "RelayPool", "metadata": metadata, "spec": spec}


def write(kube: Kube, what: str, status: Object) -> None:
    kube("patch", what, "--subresource=status", "--type=merge", "--patch", json.dumps({"status": status}))


def told(kube: Kube, name: str, namespace: str, *, relay: str | None, reason: str) -> None:
    """The operator has told of the camera: live on a relay, or on none."""
    truth = "True" if relay else "False"
    conditions = [
        {
            "type": kind,
            "status": "False" if kind == "Paused" else truth,
            "reason": "NotPaused" if kind == "Paused" else reason,
            "message": "" if relay else "All relays are full.",
            "lastTransitionTime": SINCE,
            "observedGeneration": 1,
        }
        for kind in ("Placed", "Connected", "Ready", "Paused")
    ]
    status = {"observedGeneration": 1, "conditions": conditions, "pool": f"{namespace}/city"}
    write(kube, f"camera/{name}", {**status, "relay": relay} if relay else status)


def event(namespace: str, uid: str, reason: str, message: str, name: str = "gate") -> Object:
    about = {"apiVersion": API_VERSION, "kind": "Camera", "namespace": namespace, "name": name, "uid": uid}
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{name}.{uuid.uuid4().hex[:8]}"},
        "involvedObject": about,
        "type": "Normal",
        "reason": reason,
        "message": message,
        "firstTimestamp": SINCE,
        "lastTimestamp": SINCE,
        "count": 2,
    }


def test_why_tells_what_is_written(own: Kube, namespace: str, cli: Cli) -> None:
    own.apply(pool(namespace), camera("gate"), camera("hall"))
    told(own, "gate", namespace, relay=None, reason="NoCapacity")
    uid = own.get("camera/gate")["metadata"]["uid"]
    own.apply(
        event(namespace, uid, "NoCapacity", "All relays are full."),
        event(namespace, "00000000-0000-0000-0000-000000000000", "Live", "An older camera of that name."),
        event(namespace, uid, "Live", "Another camera.", "hall"),
    )
    done = cli("why", f"camera/{namespace}/gate")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"{namespace}/gate  Offline since 20")
    assert lines[0].endswith(": NoCapacity: All relays are full.")
    assert lines[1:3] == ["It is on no relay.", "Events:"]
    assert [line.split("  ")[-1].partition(" (")[0] for line in lines[3:]] == ["NoCapacity: All relays are full."]
    fresh = cli("why", f"camera/{namespace}/hall").stdout.splitlines()
    assert fresh[0] == f"{namespace}/hall  nothing is known yet"


def test_a_name_alone_is_one_of_the_contexts_namespace(own: Kube, namespace: str, cli: Cli, tmp_path: Path) -> None:
    own.apply(camera("gate"))
    wrong = cli("why", "camera/gate")
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert wrong.stderr == f"There is no camera default/gate. Is it camera/{namespace}/gate?\n"
    copy = tmp_path / "kubeconfig"
    copy.write_bytes(own.kubeconfig.read_bytes())
    own.using(copy)("config", "set-context", "--current", f"--namespace={namespace}", f"--kubeconfig={copy}")
    right = cli("why", "camera/gate", "--kubeconfig", copy)
    assert right.stdout.startswith(f"{namespace}/gate  nothing is known yet\n")
    no_context = cli("why", "camera/gate", "--context", "nowhere")
    assert no_context.returncode == 1
    assert "nowhere" in no_context.stderr


def test_the_next_plan(own: Kube, namespace: str, cli: Cli, tmp_path: Path) -> None:
    own.apply(pool(namespace), camera("gate", poolRef={"name": "city", "namespace": namespace}))
    done = cli("plan", "--dry-run", "--namespace", namespace)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "Planned for the cluster as it is now; nothing was changed."
    assert any(
        line.startswith(f"leave out {namespace}/gate  No relay of RelayPool {namespace}/city is") for line in lines
    )
    assert f"RelayPool {namespace}/city: 0 relays, 0 of 0 cameras." in lines
    file = tmp_path / "more.yaml"
    more = [
        pool(namespace, "more", replicas=2),
        camera("hall", poolRef={"name": "more", "namespace": namespace}),
    ]
    more[1]["metadata"]["namespace"] = namespace
    file.write_text("\n---\n".join(map(json.dumps, more)))
    lines = cli("plan", "--dry-run", file, "--kubeconfig", own.kubeconfig).stdout.splitlines()
    assert any(line.startswith(f"place     {namespace}/hall  on {namespace}/more-") for line in lines)
    assert f"RelayPool {namespace}/more: 2 relays, 1 of 400 cameras, 0 to 1 on each." in lines
    assert "hall" not in own("get", "cameras,relaypools", "--output=name")


def test_a_token_is_signed_with_the_installations_key(own: Kube, namespace: str, cli: Cli) -> None:
    missing = cli("token", "--namespace", namespace)
    assert (missing.returncode, missing.stdout) == (1, "")
    assert f"There is no Secret {namespace}/pancar-signing-key" in missing.stderr
    key = SigningKey.new()
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "pancar-signing-key"},
        "stringData": {"signing-key.pem": key.dump().decode()},
    }
    own.apply(secret)
    done = cli("token", "--namespace", namespace, "--camera", "kota/*")
    assert (done.returncode, done.stderr) == (0, "")
    token = done.stdout.strip()
    claims = jwt.decode(token, key.public.pem, algorithms=["ES256"], audience=AUDIENCE, issuer=ISSUER)
    assert claims["cameras"] == ["kota/*"]
    own.apply({**secret, "stringData": {"signing-key.pem": "hunter2"}})
    wrong = cli("token", "--namespace", namespace)
    assert wrong.returncode == 1
    assert f"Secret {namespace}/pancar-signing-key does not sign" in wrong.stderr
    assert "hunter2" not in wrong.stderr
    link = cli("token", "--namespace", namespace, "--link")
    assert (link.returncode, "--link" in link.stderr) == (2, True)


def test_who_may_not_see_all_is_told_what_he_may(own: Kube, namespace: str, cli: Cli, tmp_path: Path) -> None:
    own.apply(pool(namespace), camera("gate"))
    told(own, "gate", namespace, relay="city-0", reason="Live")
    own("create", "serviceaccount", "guard")
    own("create", "role", "guard", "--verb=get", "--resource=cameras.pancar.dev")
    own("create", "rolebinding", "guard", "--role=guard", f"--serviceaccount={namespace}:guard")
    guard = tmp_path / "guard"
    guard.write_bytes(own.kubeconfig.read_bytes())
    token = own.token(namespace, "guard")
    config = own.using(guard)
    user = "guard-of-the-test"
    config("config", "set-credentials", user, f"--token={token}", f"--kubeconfig={guard}")
    config("config", "set-context", "--current", f"--user={user}", f"--kubeconfig={guard}")
    done = cli("why", f"camera/{namespace}/gate", "--kubeconfig", guard)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{namespace}/gate  Live since ")
    assert f'pods "city-0" is forbidden: User "system:serviceaccount:{namespace}:guard"' in done.stdout
    refused = cli("plan", "--dry-run", "--kubeconfig", guard)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("The cluster does not let you: ")
    assert token not in done.stdout + done.stderr + refused.stderr


def test_a_cluster_that_does_not_answer(cli: Cli, tmp_path: Path) -> None:
    nobody = tmp_path / "nobody"
    cluster = {"name": "c", "cluster": {"server": "https://127.0.0.1:9"}}
    context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
    nobody.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [cluster],
                "contexts": [context],
                "users": [{"name": "u", "user": {}}],
                "current-context": "c",
            }
        )
    )
    for command in (("why", "camera/gate"), ("plan", "--dry-run"), ("token",)):
        done = cli(*command, "--kubeconfig", nobody)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("The cluster cannot be asked: ")
        assert "Traceback" not in done.stderr


def test_both_at_once_are_refused(cli: Cli, tmp_path: Path) -> None:
    for command in (("why", "camera/gate"), ("plan", "--dry-run"), ("token",)):
        done = cli(*command, "--context", "x", "--state-dir", tmp_path)
        assert (done.returncode, "name one" in done.stderr) == (2, True)
