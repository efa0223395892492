"""The demo's cameras as the manifests that a city would write for its own. Called by `command`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from pancar_cli.demo.cameras import USERNAME

SECRET = "demo-cameras"  # noqa: S105 - the name of a Secret


@dataclass(frozen=True, slots=True)
class Running:
    """A camera as its process announced it."""

    name: str
    title: str
    site: str
    url: str
    locked: bool
    flaky: bool

    @classmethod
    def parse(cls, line: Mapping[str, Any]) -> Running:
        """Raises KeyError where the announcement is not one of ours."""
        return cls(**{name: line[name] for name in ("name", "title", "site", "url", "locked", "flaky")})


def manifests(cameras: Iterable[Running], password: str) -> str:
    """One YAML document for each camera, and the Secret for those that want a password."""
    cameras = list(cameras)
    documents = [_camera(camera) for camera in cameras]
    if any(camera.locked for camera in cameras):
        documents.append(_secret(password))
    text: str = yaml.safe_dump_all(documents, sort_keys=False, allow_unicode=True)
    return text


def _camera(camera: Running) -> dict[str, Any]:
    source: dict[str, Any] = {"main": {"url": camera.url}}
    if camera.locked:
        source["credentialsRef"] = {"name": SECRET}
    return {
        "apiVersion": "pancar.dev/v1alpha1",
        "kind": "Camera",
        "metadata": {"name": camera.name},
        "spec": {"title": camera.title, "source": source, "location": {"site": camera.site}},
    }


def _secret(password: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": SECRET, "labels": {"pancar.dev/credentials": "true"}},
        "type": "Opaque",
        "stringData": {"username": USERNAME, "password": password},
    }
