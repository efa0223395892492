"""What runs on a node: a pure builder of commands and files; called by `running`.

What does not go by itself on one machine that has other things to do, and without all of root's capabilities:
- Without CAP_SYS_RESOURCE no process may get a lower oom_score_adj than its parent's, so nothing asks for one.
- The kubelet insists on some sysctls of the whole machine. It is shown files that already say what it wants.
- cgroup v1: crun refuses hybrid hierarchies, runc does not; the kubelet wants its root to exist.
"""

import json
import shlex

import yaml
from rigs.cluster.layout import DOMAIN, LEASE_SECONDS, Layout, Node
from rigs.cluster.part import Part

SANDBOX_IMAGE = "local.test/pause:1"
CONTAINERD_SOCKET = "/run/containerd/containerd.sock"  # each node has a /run of its own
CNI_PLUGINS = "/usr/lib/cni"
BRIDGED = "/proc/sys/net/bridge/bridge-nf-call-iptables"  # else services do not reach pods of the same node

# As the kubelet's container manager wants them.
SYSCTLS = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}


def preparation(layout: Layout, node: Node) -> str:
    """A shell script, run in the node's own namespaces before anything else: its mounts, and the rest of its network.

    The kubelet and the CNI plugins have folders whose names cannot be changed. An overlay gives them their places
    without making them on the machine, and what is written there lies in the node's folder.
    """
    own = shlex.quote(str(layout.of(node)))
    lines = [
        f"hostname {node.name}",
        "mount --make-rshared /",
        "mount -t tmpfs tmpfs /run",
        "mkdir -p /run/netns /run/var/upper/kubelet /run/var/upper/cni /run/var/work /run/sysctl",
        "mount -t overlay -o lowerdir=/var/lib,upperdir=/run/var/upper,workdir=/run/var/work overlay /var/lib",
        "mount -t tmpfs tmpfs /var/log",
        "mkdir /var/log/pods /var/log/containers",
    ]
    places = {"kubelet": "/var/lib/kubelet", "cni": "/var/lib/cni", "pods": "/var/log/pods"}
    for name, place in places.items():
        lines += [f"mkdir -p {own}/{name}", f"mount --bind {own}/{name} {place}", f"mount --make-rshared {place}"]
    for key, value in SYSCTLS.items():
        shown = "/run/sysctl/" + key.replace("/", "-")
        lines.append(f"echo {value} > {shown}; test ! -e /proc/sys/{key} || mount --bind {shown} /proc/sys/{key}")
    lines += [
        "ip link set lo up",
        f"ip address add {node.address}/24 dev eth0",
        "ip link set eth0 up",
        f"ip route add default via {layout.machine_address}",
        "echo 1 > /proc/sys/net/ipv4/ip_forward",
        f"test ! -e {BRIDGED} || echo 1 > {BRIDGED}",
    ]
    lines += [f"ip route add {other.pods} via {other.address}" for other in layout.nodes if other != node]
    return "set -eu\n" + "\n".join(lines)


def _cni(node: Node) -> str:
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isDefaultGateway": True,
        "hairpinMode": True,
        "ipMasq": False,
        "ipam": {"type": "host-local", "dataDir": "/run/cni-addresses", "ranges": [[{"subnet": node.pods}]]},
    }
    host_ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return json.dumps({"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge, host_ports]})


def containerd(layout: Layout, node: Node, runc: str) -> Part:
    own = layout.of(node)
    configuration = f"""\
version = 2
root = "{own}/containerd"
state = "/run/containerd"
oom_score = 0
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
                    "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]

[grpc]
address = "{CONTAINERD_SOCKET}"

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{SANDBOX_IMAGE}"
restrict_oom_score_adj = true
disable_apparmor = true
disable_hugetlb_controller = true
tolerate_missing_hugetlb_controller = true

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{CNI_PLUGINS}"
conf_dir = "{own}/net.d"

[plugins."io.containerd.grpc.v1.cri".containerd]
default_runtime_name = "runc"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
BinaryName = "{runc}"
SystemdCgroup = false
"""
    file = own / "containerd.toml"
    return Part(
        "containerd",
        ("containerd", f"--config={file}"),
        {file: configuration, own / "net.d" / "10-pods.conflist": _cni(node)},
    )


def kubelet(layout: Layout, node: Node) -> Part:
    own = layout.of(node)
    resolver, file = own / "resolv.conf", own / "kubelet.yaml"
    configuration = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(layout.pki / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{layout.name}/{node.name}",
        "failCgroupV1": False,
        "clusterDNS": [layout.dns_service],
        "clusterDomain": DOMAIN,
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        "failSwapOn": False,
        "nodeLeaseDurationSeconds": LEASE_SECONDS,
        "oomScoreAdj": 0,
        "resolvConf": str(resolver),
        "volumePluginDir": str(own / "volume-plugins"),
        # A machine whose disk is nearly full still runs the tests. Memory must not be 0: the kubelet would not start.
        "evictionHard": {
            "memory.available": "1Mi",
            **dict.fromkeys(("nodefs.available", "nodefs.inodesFree", "imagefs.available", "imagefs.inodesFree"), "0%"),
        },
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "serializeImagePulls": False,
    }
    return Part(
        "kubelet",
        (
            *(str(layout.kubernetes), "kubelet", f"--config={file}", "--root-dir=/var/lib/kubelet"),
            *(f"--kubeconfig={layout.pki / node.name}.kubeconfig", f"--hostname-override={node.name}"),
            f"--node-ip={node.address}",
        ),
        {file: yaml.safe_dump(configuration), resolver: "nameserver 127.0.0.1\n"},
    )


def kube_proxy(layout: Layout, node: Node) -> Part:
    file = layout.of(node) / "proxy.yaml"
    configuration = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": str(layout.pki / "kube-proxy.kubeconfig")},
        "mode": "nftables",
        # What comes from outside this range is masqueraded, else a pod on another node answers past this one.
        "clusterCIDR": layout.pods,
        "hostnameOverride": node.name,  # it looks itself up among the nodes
        "oomScoreAdj": 0,
        # A network namespace has no say over these.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "nodePortAddresses": ["primary"],
    }
    return Part(
        "kube-proxy",
        (str(layout.kubernetes), "kube-proxy", f"--config={file}"),
        {file: yaml.safe_dump(configuration)},
    )
