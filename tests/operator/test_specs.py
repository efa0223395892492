"""The objects that a pool's relays are made of; what the API server makes of them is seen in tests/cluster."""

from dataclasses import replace
from typing import Any

import pytest
from pancar_operator import specs
from pancar_operator.model import Exposure, Key, Media, Metadata, Pod, RelayCapacity, RelayPool, RelayPoolSpec
from pancar_operator.podtemplate import PodMetadata, PodSpec, PodTemplate, Resources, Toleration, TolerationOperator

DEPLOYMENT = specs.Deployment("relay:1", "IfNotPresent", "pancar.pancar.svc:8443", "pancar.pancar.svc:8444")
UID = "3c1f"
PER_POD = (Exposure.NODE_PORT, Exposure.LOAD_BALANCER)


def pool(exposure: Exposure = Exposure.POD_IP, template: PodTemplate | None = None) -> RelayPool:
    spec = RelayPoolSpec(
        media=Media(exposure=exposure),
        template=template or PodTemplate(),
        capacity=RelayCapacity(cameras=50, viewers=400, egress_mbps=900),
    )
    return RelayPool(metadata=Metadata(name="city", namespace="kota"), spec=spec)


def pod(**values: Any) -> Pod:
    return Pod(uid="u", namespace="kota", name="city-0", pool=Key("kota", "city"), ordinal=0, **values)


def objects(pool: RelayPool) -> list[specs.Body]:
    found = [
        specs.authorities(pool, UID, b"PEM"),
        specs.headless_service(pool, UID),
        specs.disruption_budget(pool, UID),
        specs.stateful_set(pool, UID, 3, DEPLOYMENT),
    ]
    return [*found, specs.pod_service(pool, UID, 0)] if specs.has_pod_services(pool) else found


def environment(pool: RelayPool) -> dict[str, str]:
    [container] = specs.pod_template(pool, DEPLOYMENT)["spec"]["containers"]
    return {
        entry["name"]: entry["value"] if "value" in entry else entry["valueFrom"]["fieldRef"]["fieldPath"]
        for entry in container["env"]
    }


@pytest.mark.parametrize("exposure", Exposure)
def test_everything_belongs_to_the_pool_and_is_found_by_its_labels(exposure: Exposure) -> None:
    for body in objects(pool(exposure)):
        metadata = body["metadata"]
        assert metadata["namespace"] == "kota"
        [owner] = metadata["ownerReferences"]
        assert (owner["kind"], owner["name"], owner["uid"], owner["controller"]) == ("RelayPool", "city", UID, True)
        assert not owner["blockOwnerDeletion"]
        assert metadata["labels"] == {
            "app.kubernetes.io/name": "pancar-relay",
            "app.kubernetes.io/managed-by": "pancar-operator",
            "pancar.dev/pool": "city",
        }


def test_a_relay_is_told_who_it_is_whom_to_dial_and_what_it_may_carry() -> None:
    told = environment(pool())
    assert told["PANCAR_POOL"] == "kota/city"
    assert (told["PANCAR_RELAY_UID"], told["PANCAR_RELAY_NAME"]) == ("metadata.uid", "metadata.name")
    assert (told["PANCAR_CONTROL"], told["PANCAR_ENROL"]) == (DEPLOYMENT.control, DEPLOYMENT.enrol)
    assert [told[f"PANCAR_CAPACITY_{what}"] for what in ("CAMERAS", "VIEWERS", "EGRESS_MBPS")] == ["50", "400", "900"]


def test_a_pod_outlives_the_drain_it_asks_for() -> None:
    grace = specs.pod_template(pool(), DEPLOYMENT)["spec"]["terminationGracePeriodSeconds"]
    assert grace > int(environment(pool())["PANCAR_DRAIN_SECONDS"])


@pytest.mark.parametrize("exposure", Exposure)
def test_who_listens_on_the_node_says_the_nodes_address(exposure: Exposure) -> None:
    on_node = exposure in (Exposure.HOST_PORT, Exposure.HOST_NETWORK)
    assert environment(pool(exposure))["PANCAR_MEDIA_ADDRESSES"] == ("status.hostIPs" if on_node else "status.podIPs")
    [container] = specs.pod_template(pool(exposure), DEPLOYMENT)["spec"]["containers"]
    for port in container["ports"]:
        assert port.get("hostPort") == (port["containerPort"] if on_node else None)


def test_turn_servers_and_other_origins_are_handed_on() -> None:
    assert not [name for name in environment(pool()) if "TURN" in name or "CORS" in name]
    told = replace(DEPLOYMENT, turn_urls="turn:a,stun:b", turn_secret="turn", cors_origins="https://portal.example")
    spec = specs.pod_template(pool(), told)["spec"]
    [container] = spec["containers"]
    variables = {entry["name"]: entry.get("value") for entry in container["env"]}
    assert (variables["PANCAR_TURN_URLS"], variables["PANCAR_CORS_ORIGINS"]) == (told.turn_urls, told.cors_origins)
    [volume] = [volume for volume in spec["volumes"] if volume["name"] == "turn"]
    [mount] = [mount for mount in container["volumeMounts"] if mount["name"] == "turn"]
    assert volume["secret"]["secretName"] == "turn"
    [item] = volume["secret"]["items"]
    assert variables["PANCAR_TURN_SECRET"] == f"{mount['mountPath']}/{item['path']}"


@pytest.mark.parametrize("exposure", Exposure)
def test_pods_do_not_differ_by_what_only_services_differ_in(exposure: Exposure) -> None:
    """So that a change among them replaces no pod."""
    same = specs.pod_template(pool(exposure), DEPLOYMENT) == specs.pod_template(pool(), DEPLOYMENT)
    assert same is (exposure in (Exposure.POD_IP, *PER_POD))


def test_state_and_keys_stay_in_memory() -> None:
    spec = specs.pod_template(pool(), DEPLOYMENT)["spec"]
    [mount] = [mount for mount in spec["containers"][0]["volumeMounts"] if not mount.get("readOnly")]
    [volume] = [volume for volume in spec["volumes"] if volume["name"] == mount["name"]]
    assert mount["mountPath"] == environment(pool())["PANCAR_STATE_DIR"]
    assert volume["emptyDir"]["medium"] == "Memory"


def test_readiness_and_liveness_ask_the_relay_itself() -> None:
    [container] = specs.pod_template(pool(), DEPLOYMENT)["spec"]["containers"]
    for probe, path in {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"}.items():
        assert container[probe]["httpGet"] == {"path": path, "port": "https", "scheme": "HTTPS"}


def test_the_pools_template_adds_and_takes_nothing_away() -> None:
    template = PodTemplate(
        metadata=PodMetadata(
            labels={"team": "cctv", specs.POOL_LABEL: "not-ours"}, annotations={"net/attach": "sriov"}
        ),
        spec=PodSpec(
            node_selector={"cctv": "yes"},
            tolerations=(Toleration(key="cctv", operator=TolerationOperator.EXISTS),),
            priority_class_name="high",
            resources=Resources(requests={"cpu": "500m"}),
            topology_spread_constraints=({"maxSkew": 2},),
        ),
    )
    body = specs.pod_template(pool(template=template), DEPLOYMENT)
    labels = body["metadata"]["labels"]
    assert (labels["team"], labels[specs.POOL_LABEL]) == ("cctv", "city")
    assert body["metadata"]["annotations"] == {"net/attach": "sriov"}
    spec = body["spec"]
    assert spec["nodeSelector"] == {"cctv": "yes"}
    assert spec["tolerations"] == [{"key": "cctv", "operator": "Exists"}]
    assert spec["priorityClassName"] == "high"
    assert spec["containers"][0]["resources"] == {"requests": {"cpu": "500m"}}
    assert spec["topologySpreadConstraints"] == [{"maxSkew": 2}]


def scheduling(**spec: Any) -> tuple[list[str], list[str]]:
    """Topologies that pods are spread over, and those that they keep apart in."""
    body = specs.pod_template(pool(template=PodTemplate(spec=PodSpec(**spec))), DEPLOYMENT)["spec"]
    apart = body.get("affinity", {}).get("podAntiAffinity", {})
    preferred = apart.get("preferredDuringSchedulingIgnoredDuringExecution", [])
    return (
        [entry["topologyKey"] for entry in body["topologySpreadConstraints"]],
        [entry["podAffinityTerm"]["topologyKey"] for entry in preferred],
    )


def test_relays_spread_over_nodes_and_zones_unless_people_say_how() -> None:
    by_default = (["kubernetes.io/hostname"], ["topology.kubernetes.io/zone"])
    assert scheduling() == by_default
    assert scheduling(affinity={"nodeAffinity": {}}) == by_default
    assert scheduling(affinity={"podAntiAffinity": {}}) == (["kubernetes.io/hostname"], [])
    assert scheduling(topology_spread_constraints=({"topologyKey": "rack"},)) == (["rack"], [])


def test_a_node_port_is_reached_at_the_pods_node() -> None:
    service = specs.pod_service(pool(Exposure.NODE_PORT), UID, 0)
    assert specs.media_addresses(service, pod(host_ips=("192.0.2.7",))) == ()
    for port, number in zip(service["spec"]["ports"], (30001, 30002, 30003), strict=True):
        port["nodePort"] = number
    assert specs.media_addresses(service, pod(host_ips=("192.0.2.7",))) == ("192.0.2.7:30002",)
    assert specs.media_addresses(service, pod(host_ips=("192.0.2.7",)), specs.MEDIA_TCP) == ("192.0.2.7:30003",)
    both = pod(host_ips=("192.0.2.7", "2001:db8::7"))
    assert specs.media_addresses(service, both) == ("192.0.2.7:30002", "[2001:db8::7]:30002")
    service["spec"]["ipFamilies"] = ["IPv6"]
    assert specs.media_addresses(service, both) == ("[2001:db8::7]:30002",)
    assert specs.media_addresses(service, pod()) == ()


def test_a_load_balancer_is_reached_at_its_addresses() -> None:
    service = specs.pod_service(pool(Exposure.LOAD_BALANCER), UID, 0)
    assert specs.media_addresses(service, pod(host_ips=("192.0.2.7",))) == ()
    service["status"] = {"loadBalancer": {"ingress": [{"ip": "198.51.100.1"}, {"hostname": "lb.example"}]}}
    assert specs.media_addresses(service, pod(host_ips=("192.0.2.7",))) == ("198.51.100.1:8801",)
    assert specs.balancer_names(service) == ("lb.example",)
    named = {"lb.example": ("2001:db8::1",)}
    assert specs.media_addresses(service, pod(), specs.MEDIA_TCP, named.__getitem__) == (
        "198.51.100.1:8801",
        "[2001:db8::1]:8801",
    )


def test_nothing_holds_a_value_that_is_not_said() -> None:
    """A null would be applied as one."""

    def walk(value: object) -> None:
        assert value is not None
        for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            walk(inner)

    for exposure in Exposure:
        for body in objects(pool(exposure)):
            walk(body)


def test_pods_are_reached_and_listen_by_both_families() -> None:
    told = environment(pool())
    assert (told["PANCAR_HTTP_LISTEN"], told["PANCAR_MEDIA_LISTEN"]) == ("[::]:8443", "[::]:8801")
    services = [specs.headless_service(pool(), UID), specs.pod_service(pool(Exposure.NODE_PORT), UID, 0)]
    assert [service["spec"]["ipFamilyPolicy"] for service in services] == ["PreferDualStack"] * 2
