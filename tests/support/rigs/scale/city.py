"""The city that the bench declares: cameras of four providers in ten districts and 177 sub-districts. Pure."""

from collections.abc import Iterator
from typing import Any, Final

API_VERSION: Final = "pancar.dev/v1alpha1"
DISTRICTS: Final = tuple(f"district-{number:02}" for number in range(10))
SUBDISTRICTS: Final = 177
PROVIDERS: Final = ("Diskominfo", "Dishub", "Telkom", "Astinet")
POOL: Final = "city"


def cameras(count: int) -> Iterator[dict[str, Any]]:
    """Manifests, spread evenly over all districts; the first `cameras(n)` of any city are the same."""
    for number in range(count):
        subdistrict, provider = number % SUBDISTRICTS, PROVIDERS[number % len(PROVIDERS)]
        name = f"camera-{number:05}"
        yield {
            "apiVersion": API_VERSION,
            "kind": "Camera",
            "metadata": {
                "name": name,
                "namespace": DISTRICTS[subdistrict % len(DISTRICTS)],
                "labels": {"city.example/subdistrict": f"s{subdistrict:03}", "city.example/provider": provider},
            },
            "spec": {
                "title": f"Camera {number}",
                "source": {"main": {"url": f"rtsp://192.0.2.{number % 250 + 1}:554/{name}/main"}},
                "owner": {"organisation": "City of Example", "type": "Government"},
                "provider": {"name": provider, "contact": f"noc@{provider.lower()}.example"},
                "location": {
                    "district": f"District {subdistrict % len(DISTRICTS)}",
                    "subdistrict": f"Sub-district {subdistrict}",
                    "coordinates": {"latitude": -7.25 + number / 1e5, "longitude": 112.75},
                },
            },
        }


def pool(namespace: str, node: str, *, relays: int, cameras: int) -> dict[str, Any]:
    """`relays` that take `cameras` each, with pods on one node alone."""
    return {
        "apiVersion": API_VERSION,
        "kind": "RelayPool",
        "metadata": {"name": POOL, "namespace": namespace},
        "spec": {
            "replicas": relays,
            "capacity": {"cameras": cameras},
            "template": {"spec": {"nodeSelector": {"kubernetes.io/hostname": node}}},
        },
    }
