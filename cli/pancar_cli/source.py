"""Whom a command asks: the `pancar up` of a state folder, or a cluster. The options by which people say so."""

import os
from pathlib import Path
from typing import Annotated, Final

import typer

Kubeconfig = Annotated[
    Path | None, typer.Option(help="The kubeconfig of the cluster to ask; by default as kubectl finds it.")
]
Context = Annotated[str | None, typer.Option(help="The context of the kubeconfig; by default the present one.")]
Namespace = Annotated[
    str | None, typer.Option(help="In a cluster: where Pancar is installed; needed where that is in several places.")
]

_SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")


def is_cluster(state_dir: Path | None, *said: object) -> bool:
    """Whether a cluster is meant for certain: something about it is said. Raises typer.BadParameter if both are."""
    cluster = any(value is not None for value in said)
    if cluster and state_dir is not None:
        raise typer.BadParameter("--state-dir is about one machine, the options about a cluster are not: name one")
    return cluster


def has_cluster() -> bool:
    """Whether there is a cluster to ask without saying which."""
    named = os.environ.get("KUBECONFIG")
    files = [Path(file) for file in named.split(os.pathsep) if file] if named else [Path.home() / ".kube" / "config"]
    return _SERVICE_ACCOUNT.exists() or any(file.is_file() for file in files)
