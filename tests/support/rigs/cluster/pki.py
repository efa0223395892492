"""The certificates and kubeconfigs of one test cluster, made anew for each and gone with it; called by `control`."""

import base64
import datetime
import ipaddress
from collections.abc import Sequence
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from rigs.cluster.layout import DOMAIN, Layout

CONTROL_PLANE = ("kube-controller-manager", "kube-scheduler", "kube-proxy")


def _name(user: str, group: str | None = None) -> x509.Name:
    names = [x509.NameAttribute(NameOID.COMMON_NAME, user)]
    if group:
        names.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, group))
    return x509.Name(names)


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


class Authority:
    """A CA that writes what it issues into `folder`, as NAME.crt and NAME.key, PEM."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700)
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._subject = _name("pancar test cluster")
        certificate = (
            self._builder(self._subject, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self._write("ca", self._key, certificate)

    def _builder(self, subject: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._subject)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=30))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        )

    def _write(self, name: str, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        (self._folder / f"{name}.key").write_bytes(_private_pem(key))
        (self._folder / f"{name}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def _issue(
        self, name: str, subject: x509.Name, usage: x509.ObjectIdentifier, hosts: Sequence[x509.GeneralName] = ()
    ) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            self._builder(subject, key.public_key())
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        if hosts:
            builder = builder.add_extension(x509.SubjectAlternativeName(hosts), critical=False)
        self._write(name, key, builder.sign(self._key, hashes.SHA256()))

    def client(self, name: str, user: str, group: str | None = None) -> None:
        self._issue(name, _name(user, group), ExtendedKeyUsageOID.CLIENT_AUTH)

    def server(self, name: str, names: Sequence[str], addresses: Sequence[str]) -> None:
        hosts: list[x509.GeneralName] = [x509.DNSName(host) for host in names]
        hosts += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
        self._issue(name, _name(name), ExtendedKeyUsageOID.SERVER_AUTH, hosts)

    def kubeconfig(self, name: str, url: str) -> None:
        """NAME.kubeconfig, whole in one file, for the client certificate of that name."""

        def data(file: str) -> str:
            return base64.b64encode((self._folder / file).read_bytes()).decode()

        text = kubeconfig(
            url,
            data("ca.crt"),
            {"client-certificate-data": data(f"{name}.crt"), "client-key-data": data(f"{name}.key")},
        )
        (self._folder / f"{name}.kubeconfig").write_text(text)


def kubeconfig(url: str, authority: str, user: dict[str, str]) -> str:
    """`authority` in base64; `user` as a kubeconfig describes one."""
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": {"server": url, "certificate-authority-data": authority}}],
            "users": [{"name": "test", "user": user}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "current-context": "test",
        }
    )


def issue(layout: Layout) -> None:
    """Everything that the parts of the cluster, and its administrator, show each other."""
    authority = Authority(layout.pki)
    short = "kubernetes.default.svc"
    authority.server(
        "kube-apiserver",
        ["localhost", "kubernetes", "kubernetes.default", short, f"{short}.{DOMAIN}"],
        ["127.0.0.1", layout.api_address, layout.api_service],
    )
    authority.client("apiserver-kubelet", "kube-apiserver", "system:masters")
    authority.client("front-proxy", "front-proxy")
    authority.client("admin", "admin", "system:masters")
    authority.kubeconfig("admin", layout.api_url)
    for part in CONTROL_PLANE:
        authority.client(part, f"system:{part}")
        authority.kubeconfig(part, layout.api_url)
    for node in layout.nodes:
        authority.client(node.name, f"system:node:{node.name}", "system:nodes")
        authority.kubeconfig(node.name, layout.api_url)
    signing = ec.generate_private_key(ec.SECP256R1())
    (layout.pki / "service-accounts.key").write_bytes(_private_pem(signing))
    (layout.pki / "service-accounts.pub").write_bytes(
        signing.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
