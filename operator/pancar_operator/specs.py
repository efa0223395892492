"""The Kubernetes objects that a RelayPool's relays are made of; pure builders, called by `fleet`.

One StatefulSet with its headless Service, its PodDisruptionBudget and the ConfigMap of the authorities that relays
trust, all named after the pool and owned by it; where viewers come by NodePort or LoadBalancer, one Service a pod too.
Values that the API server would fill in or rewrite are written as it keeps them wherever whole blocks are compared
(`applied`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from pancar_operator.model import API_VERSION, Exposure, Pod, RelayPool
from pancar_operator.podtemplate import PodSpec, Resources, Toleration

Body = dict[str, Any]
PullPolicy = Literal["Always", "IfNotPresent", "Never"]

POOL_LABEL: Final = "pancar.dev/pool"
NAME_LABEL: Final = "app.kubernetes.io/name"
MANAGED_LABEL: Final = "app.kubernetes.io/managed-by"
RELAY: Final = "pancar-relay"
OPERATOR: Final = "pancar-operator"
# What `fleet` watches: everything that is built here.
MANAGED: Final = f"{MANAGED_LABEL}={OPERATOR},{POOL_LABEL}"
# Set by the StatefulSet's controller.
POD_NAME_LABEL: Final = "statefulset.kubernetes.io/pod-name"

HTTPS_PORT: Final = 8443
MEDIA_PORT: Final = 8801
# Names of the media port in containers and Services, as UDP has it and as TCP does.
MEDIA: Final = "media"
MEDIA_TCP: Final = "media-tcp"
AUTHORITIES_KEY: Final = "ca.crt"
TOKEN_AUDIENCE: Final = "pancar-operator"  # noqa: S105 (who it is for)

_CONTROL_FOLDER: Final = "/etc/pancar/control"
_STATE_FOLDER: Final = "/run/pancar"
_TURN_FOLDER: Final = "/etc/pancar/turn"
_TURN_KEY: Final = "secret"
_NOBODY: Final = 65532
_DRAIN_SECONDS: Final = 30
# Beyond the drain: the relay says good-bye to its viewers and the operator.
_GRACE_SECONDS: Final = 45
_START_SECONDS: Final = 60
_TOKEN_SECONDS: Final = 3600
_ON_NODE: Final = frozenset({Exposure.HOST_PORT, Exposure.HOST_NETWORK})
# Where the cluster has both; elsewhere it means the one there is.
_BOTH_FAMILIES: Final[Body] = {"ipFamilyPolicy": "PreferDualStack"}
_FAMILIES: Final = ("IPv4", "IPv6")
_BY_SERVICE: Final = frozenset({Exposure.NODE_PORT, Exposure.LOAD_BALANCER})


@dataclass(frozen=True, slots=True)
class Deployment:
    """What every relay's pod is told and made of, beyond what its pool says."""

    image: str
    pull_policy: PullPolicy
    # Where relays dial the operator, "host:port".
    control: str
    enrol: str
    # STUN and TURN servers that viewers are told of, comma-separated, and the Secret beside each pool whose key
    # "secret" is shared with the latter; none where that is empty.
    turn_urls: str = ""
    turn_secret: str = ""
    # Origins whose pages may play by WHEP, comma-separated, or "*".
    cors_origins: str = ""


def selector(pool: str) -> dict[str, str]:
    """The labels that tell the pods of the pool with this name from all others in its namespace."""
    return {NAME_LABEL: RELAY, POOL_LABEL: pool}


def has_pod_services(pool: RelayPool) -> bool:
    """Whether each pod has a Service of its own."""
    return pool.spec.media.exposure in _BY_SERVICE


def pod_name(pool: str, ordinal: int) -> str:
    return f"{pool}-{ordinal}"


def authorities(pool: RelayPool, uid: str, pem: bytes) -> Body:
    """The ConfigMap with the certificates of those that the operator's certificate may be signed by."""
    metadata = _metadata(pool, uid, f"{pool.metadata.name}-authorities")
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {AUTHORITIES_KEY: pem.decode()}}


def headless_service(pool: RelayPool, uid: str) -> Body:
    """Gives each pod its name in DNS."""
    name = pool.metadata.name
    spec = {"clusterIP": "None", "selector": selector(name), **_BOTH_FAMILIES, "ports": _service_ports()}
    return {"apiVersion": "v1", "kind": "Service", "metadata": _metadata(pool, uid, name), "spec": spec}


def pod_service(pool: RelayPool, uid: str, ordinal: int) -> Body:
    """The Service by which viewers outside the cluster reach one pod."""
    name = pod_name(pool.metadata.name, ordinal)
    spec = {
        "type": pool.spec.media.exposure.value,
        "selector": {**selector(pool.metadata.name), POD_NAME_LABEL: name},
        # To the node that the pod runs on and no further: viewers' addresses are kept, and there is no second hop.
        "externalTrafficPolicy": "Local",
        # A relay that drains is not ready, and serves its viewers to the end.
        "publishNotReadyAddresses": True,
        **_BOTH_FAMILIES,
        "ports": _service_ports(),
    }
    return {"apiVersion": "v1", "kind": "Service", "metadata": _metadata(pool, uid, name), "spec": spec}


def disruption_budget(pool: RelayPool, uid: str) -> Body:
    """One relay at a time may be evicted; one that is not ready, always."""
    name = pool.metadata.name
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": _metadata(pool, uid, name),
        "spec": {
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": selector(name)},
        },
    }


def stateful_set(pool: RelayPool, uid: str, replicas: int, deployment: Deployment) -> Body:
    """The relays. Ordinals come and go together, and pods are replaced by the operator alone."""
    name = pool.metadata.name
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": _metadata(pool, uid, name),
        "spec": {
            "replicas": replicas,
            "serviceName": name,
            "podManagementPolicy": "Parallel",
            "updateStrategy": {"type": "OnDelete"},
            "selector": {"matchLabels": selector(name)},
            "template": pod_template(pool, deployment),
        },
    }


def pod_template(pool: RelayPool, deployment: Deployment) -> Body:
    name, extra = pool.metadata.name, pool.spec.template
    metadata: Body = {"labels": {**extra.metadata.labels, **_labels(name)}}
    if extra.metadata.annotations:
        metadata["annotations"] = dict(extra.metadata.annotations)
    return {"metadata": metadata, "spec": _pod(pool, deployment)}


def media_addresses(
    service: Mapping[str, Any], pod: Pod, port: str = MEDIA, found: Callable[[str], tuple[str, ...]] = lambda _: ()
) -> tuple[str, ...]:
    """Where viewers send media to a pod that has this Service, "ip:port", by its port of that name; none while that is
    not known.

    `found` knows the addresses of load balancers that have a name only (`balancer_names`).
    """
    spec = service["spec"]
    if spec["type"] == Exposure.LOAD_BALANCER:
        named = (ip for name in balancer_names(service) for ip in found(name))
        ips = [*(entry["ip"] for entry in _ingress(service) if entry.get("ip")), *named]
        return tuple(_address(ip, MEDIA_PORT) for ip in ips)
    number = next((each.get("nodePort", 0) for each in spec["ports"] if each["name"] == port), 0)
    families = spec.get("ipFamilies", _FAMILIES)
    ips = [ip for ip in pod.host_ips if _FAMILIES[":" in ip] in families]
    return tuple(_address(ip, number) for ip in ips) if number else ()


def balancer_names(service: Mapping[str, Any]) -> tuple[str, ...]:
    """DNS names of the load balancer, where it has no address of its own."""
    if service["spec"]["type"] != Exposure.LOAD_BALANCER:
        return ()
    return tuple(entry["hostname"] for entry in _ingress(service) if entry.get("hostname") and not entry.get("ip"))


def _ingress(service: Mapping[str, Any]) -> list[Body]:
    found: list[Body] = service.get("status", {}).get("loadBalancer", {}).get("ingress") or []
    return found


def _address(ip: str, port: int) -> str:
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


def _labels(pool: str) -> dict[str, str]:
    return {**selector(pool), MANAGED_LABEL: OPERATOR}


def _metadata(pool: RelayPool, uid: str, name: str) -> Body:
    owner = {
        "apiVersion": API_VERSION,
        "kind": "RelayPool",
        "name": pool.metadata.name,
        "uid": uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }
    return {
        "name": name,
        "namespace": pool.metadata.namespace,
        "labels": _labels(pool.metadata.name),
        "ownerReferences": [owner],
    }


def _service_ports() -> list[Body]:
    return [
        {"name": "https", "port": HTTPS_PORT, "protocol": "TCP", "targetPort": "https"},
        {"name": MEDIA, "port": MEDIA_PORT, "protocol": "UDP", "targetPort": MEDIA},
        {"name": MEDIA_TCP, "port": MEDIA_PORT, "protocol": "TCP", "targetPort": MEDIA_TCP},
    ]


def _pod(pool: RelayPool, deployment: Deployment) -> Body:
    network = pool.spec.media.exposure is Exposure.HOST_NETWORK
    return {
        **({"hostNetwork": True, "dnsPolicy": "ClusterFirstWithHostNet"} if network else {}),
        "automountServiceAccountToken": False,
        # Or a Service called "pancar" would set variables like ours.
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": _GRACE_SECONDS,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _NOBODY,
            "runAsGroup": _NOBODY,
            "fsGroup": _NOBODY,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(pool, deployment)],
        "volumes": _volumes(pool.metadata.name, deployment),
        **_scheduling(pool.metadata.name, pool.spec.template.spec),
    }


def _container(pool: RelayPool, deployment: Deployment) -> Body:
    resources = _resources(pool.spec.template.spec.resources)
    return {
        "name": "relay",
        "image": deployment.image,
        "imagePullPolicy": deployment.pull_policy,
        "env": _environment(pool, deployment),
        "ports": _container_ports(pool.spec.media.exposure),
        **({"resources": resources} if resources else {}),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "state", "mountPath": _STATE_FOLDER},
            {"name": "control", "mountPath": _CONTROL_FOLDER, "readOnly": True},
            *([{"name": "turn", "mountPath": _TURN_FOLDER, "readOnly": True}] if deployment.turn_secret else []),
        ],
        "startupProbe": _probe("/healthz", period=1, timeout=2, failures=_START_SECONDS),
        "livenessProbe": _probe("/healthz", period=10, timeout=5, failures=3),
        "readinessProbe": _probe("/readyz", period=2, timeout=2, failures=2),
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def _probe(path: str, *, period: int, timeout: int, failures: int) -> Body:
    return {
        "httpGet": {"path": path, "port": "https", "scheme": "HTTPS"},
        "periodSeconds": period,
        "timeoutSeconds": timeout,
        "failureThreshold": failures,
    }


def _environment(pool: RelayPool, deployment: Deployment) -> list[Body]:
    capacity = pool.spec.capacity
    # Behind a Service the relay is reached from within the cluster by this, and told of the rest by the operator.
    own_addresses = "status.hostIPs" if pool.spec.media.exposure in _ON_NODE else "status.podIPs"
    told = {
        "PANCAR_POOL": str(pool.key),
        "PANCAR_CONTROL": deployment.control,
        "PANCAR_ENROL": deployment.enrol,
        "PANCAR_CONTROL_AUTHORITIES": f"{_CONTROL_FOLDER}/{AUTHORITIES_KEY}",
        "PANCAR_TOKEN": f"{_CONTROL_FOLDER}/token",
        "PANCAR_STATE_DIR": _STATE_FOLDER,
        "PANCAR_HTTP_LISTEN": f"[::]:{HTTPS_PORT}",
        "PANCAR_MEDIA_LISTEN": f"[::]:{MEDIA_PORT}",
        "PANCAR_DRAIN_SECONDS": str(_DRAIN_SECONDS),
        "PANCAR_CAPACITY_CAMERAS": str(capacity.cameras),
        "PANCAR_CAPACITY_VIEWERS": str(capacity.viewers),
        "PANCAR_CAPACITY_EGRESS_MBPS": str(capacity.egress_mbps),
        "PANCAR_LOG_FORMAT": "json",
        # Only where they are set, so that what is not used changes no pod.
        **({"PANCAR_TURN_URLS": deployment.turn_urls} if deployment.turn_urls else {}),
        **({"PANCAR_TURN_SECRET": f"{_TURN_FOLDER}/{_TURN_KEY}"} if deployment.turn_secret else {}),
        **({"PANCAR_CORS_ORIGINS": deployment.cors_origins} if deployment.cors_origins else {}),
    }
    fields = {
        "PANCAR_RELAY_UID": "metadata.uid",
        "PANCAR_RELAY_NAME": "metadata.name",
        "PANCAR_MEDIA_ADDRESSES": own_addresses,
    }
    return [
        *(
            {"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}}
            for name, path in fields.items()
        ),
        *({"name": name, "value": value} for name, value in told.items()),
    ]


def _container_ports(exposure: Exposure) -> list[Body]:
    ports = (("https", HTTPS_PORT, "TCP"), (MEDIA, MEDIA_PORT, "UDP"), (MEDIA_TCP, MEDIA_PORT, "TCP"))
    return [
        {
            "name": name,
            "containerPort": port,
            "protocol": protocol,
            # With the host's network too, so that the scheduler puts no two relays on one node.
            **({"hostPort": port} if exposure in _ON_NODE else {}),
        }
        for name, port, protocol in ports
    ]


def _volumes(pool: str, deployment: Deployment) -> list[Body]:
    token = {"audience": TOKEN_AUDIENCE, "expirationSeconds": _TOKEN_SECONDS, "path": "token"}
    trusted = {
        "name": f"{pool}-authorities",
        "items": [{"key": AUTHORITIES_KEY, "path": AUTHORITIES_KEY}],
    }
    return [
        # In memory, because it holds cameras' passwords and the relay's key.
        {"name": "state", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}},
        {
            "name": "control",
            "projected": {"defaultMode": 0o440, "sources": [{"serviceAccountToken": token}, {"configMap": trusted}]},
        },
        *([_turn(deployment.turn_secret)] if deployment.turn_secret else []),
    ]


def _turn(name: str) -> Body:
    items = [{"key": _TURN_KEY, "path": _TURN_KEY}]
    return {"name": "turn", "secret": {"secretName": name, "items": items, "defaultMode": 0o440}}


def _scheduling(pool: str, extra: PodSpec) -> Body:
    spread = [dict(constraint) for constraint in extra.topology_spread_constraints]
    # Whoever says how pods are spread means it.
    affinity = dict(extra.affinity) if spread else {"podAntiAffinity": _apart(pool), **extra.affinity}
    found: Body = {"topologySpreadConstraints": spread or [_spread(pool)]}
    if affinity:
        found["affinity"] = affinity
    if extra.node_selector:
        found["nodeSelector"] = dict(extra.node_selector)
    if extra.tolerations:
        found["tolerations"] = [_toleration(toleration) for toleration in extra.tolerations]
    if extra.priority_class_name:
        found["priorityClassName"] = extra.priority_class_name
    return found


def _spread(pool: str) -> Body:
    """Over nodes. Not over zones in the same way: the scheduler passes over nodes that lack any of the keys."""
    return {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": selector(pool)},
    }


def _apart(pool: str) -> Body:
    """Over zones, where nodes have one."""
    term = {"topologyKey": "topology.kubernetes.io/zone", "labelSelector": {"matchLabels": selector(pool)}}
    return {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "podAffinityTerm": term}]}


def _toleration(toleration: Toleration) -> Body:
    found: Body = {
        "key": toleration.key,
        "operator": toleration.operator.value,
        "value": toleration.value,
        "effect": toleration.effect and toleration.effect.value,
        "tolerationSeconds": toleration.toleration_seconds,
    }
    return {name: value for name, value in found.items() if value is not None}


def _resources(resources: Resources) -> Body:
    found: Body = {"requests": dict(resources.requests), "limits": dict(resources.limits)}
    return {name: amounts for name, amounts in found.items() if amounts}
