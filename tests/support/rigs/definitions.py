"""Pancar's kinds on a cluster for as long as tests need them; those that are there already stay as they are."""

import contextlib
from collections.abc import Iterator

from rigs import chart
from rigs.cluster.kube import Kube


@contextlib.contextmanager
def defined(kube: Kube, *kinds: str) -> Iterator[None]:
    crds = chart.crds()
    names = {kind: f"crd/{crds[kind]['metadata']['name']}" for kind in kinds}
    missing = [kind for kind in kinds if not kube("get", names[kind], "--ignore-not-found", "--output=name")]
    if missing:
        kube.apply(*(crds[kind] for kind in missing))
        kube.until("condition=Established", *names.values())
    try:
        yield
    finally:
        if missing:
            kube("delete", *(names[kind] for kind in missing))
