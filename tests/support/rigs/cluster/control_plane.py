"""What runs on the machine of the control plane: a pure builder of commands and files; called by `running`."""

import json

from rigs.cluster.layout import API_PORT, DOMAIN, GRACE_SECONDS, Layout
from rigs.cluster.part import Part

# Reads are not worth the room; who wrote what, and when, is.
AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "None", "verbs": ["get", "list", "watch"]}, {"level": "Metadata"}],
}


def etcd(layout: Layout) -> Part:
    client, peer = "http://127.0.0.1:2379", "http://127.0.0.1:2380"
    return Part(
        "etcd",
        (
            *(str(layout.kubernetes), "etcd", f"--data-dir={layout.folder / 'etcd'}", "--log-level=warn"),
            *(f"--listen-client-urls={client}", f"--advertise-client-urls={client}"),
            *(f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}"),
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",  # what it holds ends with the tests
            "--quota-backend-bytes=4294967296",
            *("--auto-compaction-mode=periodic", "--auto-compaction-retention=5m"),
        ),
    )


def kube_apiserver(layout: Layout) -> Part:
    pki, policy = layout.pki, layout.folder / "audit-policy.json"
    return Part(
        "kube-apiserver",
        (
            *("env", "GOGC=300"),  # it shares two cores with all others, and there is memory
            *(str(layout.kubernetes), "kube-apiserver", "--etcd-servers=http://127.0.0.1:2379"),
            *(f"--advertise-address={layout.api_address}", f"--secure-port={API_PORT}"),
            *(f"--tls-cert-file={pki}/kube-apiserver.crt", f"--tls-private-key-file={pki}/kube-apiserver.key"),
            *(f"--client-ca-file={pki}/ca.crt", "--authorization-mode=Node,RBAC"),
            *("--enable-admission-plugins=NodeRestriction", "--allow-privileged=true"),
            f"--service-cluster-ip-range={layout.services}",
            f"--service-account-issuer=https://kubernetes.default.svc.{DOMAIN}",
            f"--service-account-key-file={pki}/service-accounts.pub",
            f"--service-account-signing-key-file={pki}/service-accounts.key",
            "--kubelet-preferred-address-types=InternalIP",
            f"--kubelet-client-certificate={pki}/apiserver-kubelet.crt",
            f"--kubelet-client-key={pki}/apiserver-kubelet.key",
            *(f"--requestheader-client-ca-file={pki}/ca.crt", "--requestheader-allowed-names=front-proxy"),
            *("--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group"),
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            f"--proxy-client-cert-file={pki}/front-proxy.crt",
            f"--proxy-client-key-file={pki}/front-proxy.key",
            *(f"--audit-policy-file={policy}", f"--audit-log-path={layout.audit}", "--audit-log-maxsize=4096"),
            "--profiling=false",
        ),
        {policy: json.dumps(AUDIT_POLICY)},
    )


def _client(layout: Layout, name: str) -> tuple[str, ...]:
    """How a part of the control plane that is a client of the API server is started; alone, it need not be elected."""
    own = layout.pki / f"{name}.kubeconfig"
    return (
        *(str(layout.kubernetes), name, f"--kubeconfig={own}", f"--authentication-kubeconfig={own}"),
        *(f"--authorization-kubeconfig={own}", "--leader-elect=false", "--bind-address=127.0.0.1"),
    )


def kube_controller_manager(layout: Layout) -> Part:
    pki = layout.pki
    return Part(
        "kube-controller-manager",
        (
            *_client(layout, "kube-controller-manager"),
            "--use-service-account-credentials=true",
            f"--service-account-private-key-file={pki}/service-accounts.key",
            f"--root-ca-file={pki}/ca.crt",
            *(f"--cluster-signing-cert-file={pki}/ca.crt", f"--cluster-signing-key-file={pki}/ca.key"),
            "--node-monitor-period=1s",
            f"--node-monitor-grace-period={GRACE_SECONDS}s",
        ),
    )


def kube_scheduler(layout: Layout) -> Part:
    return Part("kube-scheduler", _client(layout, "kube-scheduler"))


def after_the_api(layout: Layout) -> tuple[Part, ...]:
    """Those that only make sense once the API server answers."""
    return kube_controller_manager(layout), kube_scheduler(layout)
