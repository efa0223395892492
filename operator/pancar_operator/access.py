"""Who may enter: the signing key, viewers' tokens and one-time links.

The only module that mints tokens. In a cluster the key is in a Secret (`keys`); on one machine `pancar up` and `pancar
token` open an `Entry` on the state folder, which holds it and the links. Relays get public keys and pending links as an
`Access`. A link's code is kept as its SHA-256 alone: who reads the folder cannot enter.
"""

import json
import os
import secrets
import tempfile
import time
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Self, cast

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

ISSUER: Final = "pancar"
AUDIENCE: Final = "pancar"
ALGORITHM: Final = "ES256"
SCOPES: Final = ("watch", "metrics")

LINK_SECONDS: Final = 15 * 60
DAY: Final = 24 * 3600


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that verifies viewers' tokens."""

    kid: str
    pem: str


@dataclass(frozen=True, slots=True)
class PendingLink:
    """A link that nobody has used yet: whoever presents the code gets the token."""

    code_sha256: bytes
    token: str
    # Seconds since the epoch.
    not_after: int

    def __repr__(self) -> str:
        return f"PendingLink(code_sha256={self.code_sha256.hex()[:8]}…, not_after={self.not_after})"


@dataclass(frozen=True, slots=True)
class Access:
    """What relays have to know to let viewers in."""

    keys: tuple[PublicKey, ...] = ()
    links: tuple[PendingLink, ...] = ()
    issuer: str = ISSUER
    audience: str = AUDIENCE


@dataclass(frozen=True, slots=True)
class Right:
    """What a token gives: which cameras (globs over "namespace/name"), what for, and how long."""

    subject: str
    cameras: tuple[str, ...] = ("*",)
    scopes: tuple[str, ...] = ("watch",)
    # Seconds.
    lifetime: int = 12 * 3600


class SigningKey:
    """Signs viewers' tokens (ES256)."""

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self._key = key
        public = key.public_key()
        pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        self.public = PublicKey(_thumbprint(public), pem.decode())

    @classmethod
    def new(cls) -> Self:
        return cls(ec.generate_private_key(ec.SECP256R1()))

    @classmethod
    def load(cls, pem: bytes) -> Self:
        """Raises ValueError for anything but the PEM of such a key."""
        try:
            key = serialization.load_pem_private_key(pem, password=None)
        except (ValueError, TypeError):
            key = None
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
            # Said without its cause, which may quote the key.
            raise ValueError("it is no ES256 key") from None
        return cls(key)

    def dump(self) -> bytes:
        """The inverse of `load`."""
        return self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def mint(self, right: Right, *, now: float | None = None) -> str:
        """A token for a right, as a signed JWT (RFC 7519)."""
        issued = int(time.time() if now is None else now)
        claims: dict[str, Any] = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": right.subject,
            "iat": issued,
            "exp": issued + right.lifetime,
            "jti": secrets.token_urlsafe(16),
            # RFC 8693, 4.2: space separated.
            "scope": " ".join(right.scopes),
            "cameras": list(right.cameras),
        }
        return jwt.encode(claims, self._key, algorithm=ALGORITHM, headers={"kid": self.public.kid})


class Entry:
    """The signing key and the pending links of one state folder.

    Raises OSError where the folder cannot be read or written, ValueError where the key in it is none.
    """

    def __init__(self, folder: Path) -> None:
        self.links_folder = folder / "links"
        self.links_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._key = _signing_key(folder / "signing-key.pem")

    def mint(self, right: Right, *, now: float | None = None) -> str:
        return self._key.mint(right, now=now)

    def add_link(self, right: Right, *, seconds: int = LINK_SECONDS, now: float | None = None) -> str:
        """Files a one-time link for a right and returns its code."""
        moment = time.time() if now is None else now
        code = secrets.token_urlsafe(24)
        content = {"token": self.mint(right, now=moment), "notAfter": int(moment) + seconds}
        write_private(self._link_file(sha256(code.encode()).digest()), json.dumps(content).encode())
        return code

    def forget_link(self, code_sha256: bytes) -> None:
        """The link was used: it is gone for good."""
        self._link_file(code_sha256).unlink(missing_ok=True)

    def access(self, *, now: float | None = None) -> Access:
        """What relays have to know now; links past their time are removed."""
        moment = time.time() if now is None else now
        links: list[PendingLink] = []
        for file in sorted(self.links_folder.glob("*.json")):
            link = _read_link(file)
            if link is None or link.not_after <= moment:
                file.unlink(missing_ok=True)
            else:
                links.append(link)
        return Access(keys=(self._key.public,), links=tuple(links))

    def _link_file(self, code_sha256: bytes) -> Path:
        return self.links_folder / f"{code_sha256.hex()}.json"


def write_private(path: Path, content: bytes) -> None:
    """Writes a file of mode 0600 that is there in whole or not at all."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _read_link(file: Path) -> PendingLink | None:
    try:
        content = json.loads(file.read_bytes())
        return PendingLink(bytes.fromhex(file.stem), str(content["token"]), int(content["notAfter"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _signing_key(path: Path) -> SigningKey:
    """The key at `path`; where there is none, a new one. Two processes that make one at once end up with the same."""
    if not path.exists():
        _create_private(path, SigningKey.new().dump())
    if path.stat().st_mode & 0o077:
        raise ValueError(f"{path} can be read by others; chmod 600 it, or remove it to have a new one made")
    try:
        return SigningKey.load(path.read_bytes())
    except ValueError:
        raise ValueError(f"{path} holds no ES256 key; remove it to have a new one made") from None


def _create_private(path: Path, content: bytes) -> None:
    """Like `write_private`, but whoever came first wins."""
    candidate = path.with_name(f".new-{secrets.token_hex(8)}")
    write_private(candidate, content)
    try:
        os.link(candidate, path)
    except FileExistsError:
        pass
    finally:
        candidate.unlink()


def _thumbprint(public: ec.EllipticCurvePublicKey) -> str:
    """RFC 7638: SHA-256 over the required members of the JWK, in lexicographic order."""
    jwk = cast("dict[str, str]", json.loads(jwt.algorithms.ECAlgorithm.to_jwk(public)))
    members = {name: jwk[name] for name in ("crv", "kty", "x", "y")}
    digest = sha256(json.dumps(members, separators=(",", ":"), sort_keys=True).encode()).digest()
    return jwt.utils.base64url_encode(digest).decode()
