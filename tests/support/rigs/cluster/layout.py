"""Where everything of one test cluster lies, and what its addresses are. Pure; every other module here starts from it.

A cluster owns 10.N.0.0/16: the hosts' network (the machine that the tests run on is one of them), one range of pods a
node, and the services. All of it is routed from that machine, so tests reach pods and services directly.
"""

from dataclasses import dataclass
from pathlib import Path

DOMAIN = "cluster.local"
# A node that has not been heard of for so long is NotReady. Its kubelet renews its lease every 2 s.
GRACE_SECONDS = 12
LEASE_SECONDS = 8

API_PORT = 6443


@dataclass(frozen=True)
class Node:
    name: str
    address: str
    pods: str
    """The range, in CIDR notation, that its pods get their addresses from."""


@dataclass(frozen=True)
class Layout:
    number: int
    """The N of 10.N.0.0/16; no two clusters on one machine have the same."""
    folder: Path
    """All that it writes; gone with it."""
    kubernetes: Path
    """The binary that is every part of Kubernetes."""
    pause: Path

    @property
    def name(self) -> str:
        """Names what the machine itself sees of the cluster: its cgroups and its network device."""
        return f"pancar-{self.number}"

    @property
    def nodes(self) -> tuple[Node, ...]:
        return tuple(
            Node(f"node-{letter}", f"10.{self.number}.0.{11 + n}", f"10.{self.number}.{128 + n}.0/24")
            for n, letter in enumerate("ab")
        )

    @property
    def network(self) -> str:
        return f"10.{self.number}.0.0/16"

    @property
    def api_address(self) -> str:
        return f"10.{self.number}.0.1"

    @property
    def api_url(self) -> str:
        return f"https://{self.api_address}:{API_PORT}"

    @property
    def machine_address(self) -> str:
        """The machine that the tests run on, as the cluster's nodes and pods see it."""
        return f"10.{self.number}.0.254"

    @property
    def pods(self) -> str:
        """All nodes' ranges."""
        return f"10.{self.number}.128.0/17"

    @property
    def services(self) -> str:
        return f"10.{self.number}.64.0/20"

    @property
    def api_service(self) -> str:
        """What `kubernetes.default` resolves to: by convention the first address of the range."""
        return f"10.{self.number}.64.1"

    @property
    def dns_service(self) -> str:
        return f"10.{self.number}.64.10"

    @property
    def pki(self) -> Path:
        return self.folder / "pki"

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    @property
    def audit(self) -> Path:
        return self.folder / "audit.jsonl"

    @property
    def kubeconfig(self) -> Path:
        return self.pki / "admin.kubeconfig"

    def of(self, node: Node) -> Path:
        return self.folder / node.name
