"""The resources as a schema: what the CRDs are made of."""

from collections.abc import Iterator
from typing import Any

import pytest
from pancar_operator.model import Camera, RelayPool
from pancar_operator.statusfields import CameraStatus, RelayPoolStatus
from pydantic import TypeAdapter, ValidationError


def properties(schema: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for name, definition in {"": schema, **schema.get("$defs", {})}.items():
        for field, content in definition.get("properties", {}).items():
            yield name, field, content


@pytest.mark.parametrize("kind", [Camera, CameraStatus, RelayPool, RelayPoolStatus])
def test_every_field_is_described_and_in_camel_case(kind: type) -> None:
    found = list(properties(TypeAdapter(kind).json_schema(by_alias=True)))
    assert len(found) > 10
    for owner, field, content in found:
        assert content.get("description", "").endswith("."), f"{owner}.{field} has no description"
        assert field.isalnum(), f"{owner}.{field} is not in camelCase"


@pytest.mark.parametrize("kind", [Camera, CameraStatus, RelayPool, RelayPoolStatus])
def test_unknown_fields_are_forbidden_everywhere(kind: type) -> None:
    schema = TypeAdapter(kind).json_schema(by_alias=True)
    for name, definition in {"": schema, **schema["$defs"]}.items():
        if "properties" in definition:
            assert definition["additionalProperties"] is False, name


def test_resources_do_not_change() -> None:
    manifest = {"metadata": {"name": "gate"}, "spec": {"source": {"main": {"url": "rtsp://192.0.2.1/"}}}}
    camera = TypeAdapter(Camera).validate_python(manifest, by_alias=True, by_name=False)
    with pytest.raises(AttributeError):
        setattr(camera, "spec", camera.spec)  # noqa: B010 - assigning outright is what mypy refuses
    with pytest.raises(ValidationError):
        TypeAdapter(Camera).validate_python({**manifest, "kind": "Camera"}, by_alias=True, by_name=False)
