"""Builds the YAML that the scenarios hand to `pancar up`."""

from collections.abc import Sequence
from typing import Any

import yaml
from rigs.camera import Camera

Document = dict[str, Any]


def camera(
    name: str, source: Camera | str, *, sub: Camera | None = None, secret: str | None = None, **spec: Any
) -> Document:
    """A Camera in namespace default; `spec` adds to or replaces its other fields."""
    url = source if isinstance(source, str) else source.url
    pulled: Document = {"main": {"url": url}}
    if sub is not None:
        pulled["sub"] = {"url": sub.url}
    if secret is not None:
        pulled["credentialsRef"] = {"name": secret}
    return {
        "apiVersion": "pancar.dev/v1alpha1",
        "kind": "Camera",
        "metadata": {"name": name},
        "spec": {"source": pulled, **spec},
    }


def secret(name: str, username: str, password: str) -> Document:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": {"name": name, "labels": {"pancar.dev/credentials": "true"}},
        "stringData": {"username": username, "password": password},
    }


def dump(documents: Sequence[Document]) -> str:
    return yaml.safe_dump_all(documents, sort_keys=False)
