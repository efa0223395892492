"""A Kubernetes as a test sees it: kubectl with a kubeconfig, the rig's own or a user's."""

import contextlib
import json
import os
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rigs.cluster.machine import ClusterError

Manifest = Mapping[str, Any]


class KubectlError(ClusterError):
    """kubectl was refused, or failed; the message is what it said."""


class Kube:
    def __init__(self, kubectl: tuple[str, ...], kubeconfig: Path, scratch: Path) -> None:
        """`kubectl` is the command; what it caches goes to `scratch`."""
        self.kubeconfig = kubeconfig
        self._kubectl = kubectl
        self._scratch = scratch
        self._environment = {**os.environ, "KUBECONFIG": str(kubeconfig), "KUBECACHEDIR": str(scratch)}

    def within(self, namespace: str) -> "Kube":
        """The same, where `namespace` is meant unless another is named."""
        return Kube((*self._kubectl, f"--namespace={namespace}"), self.kubeconfig, self._scratch)

    def using(self, kubeconfig: Path) -> "Kube":
        """The same cluster as another user."""
        return Kube(self._kubectl, kubeconfig, self._scratch)

    def __call__(self, *arguments: str, stdin: str | None = None, seconds: float = 180.0) -> str:
        """Runs `kubectl ARGUMENTS`; its standard output."""
        done = subprocess.run(
            [*self._kubectl, *arguments],
            input=stdin,
            check=False,
            capture_output=True,
            text=True,
            timeout=seconds,
            env=self._environment,
        )
        if done.returncode != 0:
            raise KubectlError(f"kubectl {' '.join(arguments)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def get(self, *arguments: str) -> dict[str, Any]:
        """One object, or a list with its `items`, as the API server holds it."""
        read: dict[str, Any] = json.loads(self("get", *arguments, "--output=json"))
        return read

    def apply(self, *manifests: Manifest) -> None:
        self("apply", "--filename=-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests}))

    def until(self, condition: str, *what: str, seconds: float = 60.0) -> None:
        """`kubectl wait --for`, which needs `what` to exist already."""
        self("wait", f"--for={condition}", f"--timeout={seconds:.0f}s", *what, seconds=seconds + 10)

    def token(self, namespace: str, account: str) -> str:
        """A bearer token of a service account, good for an hour."""
        return self("create", "token", account, f"--namespace={namespace}").strip()

    @contextlib.contextmanager
    def namespace(self, prefix: str = "test") -> Iterator[str]:
        """A fresh one, with the service account that its pods need; deleted afterwards, in the background."""
        name = f"{prefix}-{uuid.uuid4().hex[:8]}"
        self("create", "namespace", name)
        try:
            self.until("create", "serviceaccount/default", f"--namespace={name}")
            yield name
        finally:
            self("delete", "namespace", name, "--wait=false")
