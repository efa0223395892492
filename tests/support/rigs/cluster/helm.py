"""Helm as the tests run it: the one that was built with the test cluster, with nothing of the user's."""

import os
import subprocess
from collections.abc import Iterable
from pathlib import Path

from rigs.cluster import build
from rigs.cluster.machine import ClusterError

# For `template`: the oldest that the chart takes. Without a cluster Helm would assume its own.
OLDEST = "--kube-version=1.31.0"


class HelmError(ClusterError):
    """Helm refused, or failed; the message is what it said."""


class Helm:
    def __init__(self, scratch: Path, kubeconfig: Path | None = None) -> None:
        """What it caches goes to `scratch`. Without a kubeconfig it can render charts, and no more."""
        own = ("HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME", "KUBECACHEDIR")
        self._environment = {**os.environ, **dict.fromkeys(own, str(scratch)), "KUBECONFIG": str(kubeconfig or "")}

    def __call__(self, verb: str, *arguments: str | Path, seconds: float = 180.0) -> str:
        """Runs `helm VERB ARGUMENTS`; what it printed."""
        done = subprocess.run(
            [str(build.binary("helm")), verb, *map(str, arguments)],
            check=False,
            capture_output=True,
            text=True,
            timeout=seconds,
            env=self._environment,
        )
        if done.returncode != 0:
            raise HelmError(f"helm {verb}: {done.stdout}{done.stderr}")
        return done.stdout


def values(settings: Iterable[str]) -> list[str]:
    """What `--set` takes, each as one argument."""
    return [f"--set={setting}" for setting in settings]
