"""Who may see which camera: tokens (JWT, ES256), one-time links, and whether a right still holds.

`Rights` follows the `Access` part of the desired state; the HTTP side asks it at each request, sessions and event
streams once a second. All of it takes `now` in seconds since the epoch.
"""

import asyncio
import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from math import isfinite
from typing import Any

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from pancar_relay.desired import Access, CameraKey
from pancar_relay.errors import LinkRefusedError, TokenError

WATCH = "watch"
METRICS = "metrics"
# How far the minter's clock may run ahead of ours. Expiry gets no such grace: a right that ended gives nothing.
SKEW = 60.0
# A cookie or header far larger than any token of ours is not worth a hash.
TOKEN_LIMIT = 8 * 1024
CACHED_TOKENS = 4096


@dataclass(frozen=True, slots=True)
class Viewer:
    """What a verified token says. One object serves all requests and sessions of that token."""

    subject: str
    scopes: frozenset[str]
    cameras: tuple[str, ...]
    expires: float
    kid: str
    pem: str = field(repr=False)
    issuer: str
    audience: str

    def may_watch(self, camera: CameraKey) -> bool:
        return WATCH in self.scopes and any(fnmatchcase(str(camera), glob) for glob in self.cameras)


class Rights:
    """Starts with no key, so that nobody enters before the first desired state."""

    def __init__(self) -> None:
        self._access = Access()
        self._keys: dict[str, tuple[str, EllipticCurvePublicKey]] = {}
        self._verified: OrderedDict[bytes, Viewer] = OrderedDict()
        self._used: set[bytes] = set()
        # Set once the operator has said whom to admit: before that nobody is refused for good.
        self.known = asyncio.Event()

    def update(self, access: Access) -> None:
        """Takes over the desired access; raises ValueError, changing nothing, for a key that is none."""
        keys = {kid: (pem, _public_key(kid, pem)) for kid, pem in access.keys}
        self._access, self._keys = access, keys
        self._verified.clear()
        # A used code is remembered until the operator, told of it, has forgotten it too.
        self._used &= {link.code_sha256 for link in access.links}
        self.known.set()

    def verify(self, token: str, now: float) -> Viewer:
        """Raises TokenError for anything but a token of ours that is valid now."""
        if len(token) > TOKEN_LIMIT or not token.isascii():
            raise TokenError("the token is malformed")
        digest = hashlib.sha256(token.encode()).digest()
        viewer = self._verified.get(digest)
        if viewer is None:
            viewer = self._decode(token, now)
            self._verified[digest] = viewer
            if len(self._verified) > CACHED_TOKENS:
                self._verified.popitem(last=False)
        if now >= viewer.expires:
            raise TokenError("the token has expired")
        return viewer

    def holds(self, viewer: Viewer, now: float) -> bool:
        """Whether what `verify` once found is still so."""
        known = self._keys.get(viewer.kid)
        return (
            now < viewer.expires
            and known is not None
            and known[0] == viewer.pem
            and (self._access.issuer, self._access.audience) == (viewer.issuer, viewer.audience)
        )

    def exchange(self, code: str, now: float) -> tuple[str, Viewer]:
        """Spends a one-time link: its token and whom it admits. Raises LinkRefusedError."""
        digest = hashlib.sha256(code.encode("utf-8", "replace")).digest()
        link = next((link for link in self._access.links if link.code_sha256 == digest), None)
        # One sentence for every reason: a guesser learns nothing.
        if link is None or digest in self._used or now >= link.not_after:
            raise LinkRefusedError("the link is unknown, already used or too old")
        try:
            viewer = self.verify(link.token, now)
        except TokenError as error:
            raise LinkRefusedError("the link's right has ended") from error
        self._used.add(digest)
        return link.token, viewer

    def spent(self) -> frozenset[bytes]:
        """Digests of codes used here that the operator still lists: it has not heard of them."""
        return frozenset(self._used)

    def _decode(self, token: str, now: float) -> Viewer:
        try:
            kid = jwt.get_unverified_header(token).get("kid")
            known = self._keys.get(kid) if isinstance(kid, str) else None
            if known is None or not isinstance(kid, str):
                raise TokenError("the token is signed with no key known here")
            claims = jwt.decode(
                token,
                known[1],
                algorithms=["ES256"],
                issuer=self._access.issuer,
                audience=self._access.audience,
                # Times are held against `now` below.
                options={
                    "require": ["exp", "iat", "sub", "iss", "aud"],
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_nbf": False,
                },
            )
        except jwt.InvalidTokenError as error:
            raise TokenError(f"the token is not valid: {error}") from error
        return _viewer(claims, (kid, known[0]), self._access, now)


def _viewer(claims: dict[str, Any], key: tuple[str, str], access: Access, now: float) -> Viewer:
    expires, issued, not_before = claims["exp"], claims["iat"], claims.get("nbf", 0)
    if not all(isinstance(time, int | float) and isfinite(time) for time in (expires, issued, not_before)):
        raise TokenError("the token's times are no numbers")
    if max(issued, not_before) > now + SKEW:
        raise TokenError("the token is not valid yet")
    subject, scope, cameras = claims["sub"], claims.get("scope", ""), claims.get("cameras", [])
    if not isinstance(subject, str) or not isinstance(scope, str) or not isinstance(cameras, list):
        raise TokenError("the token's claims are malformed")
    return Viewer(
        subject=subject,
        scopes=frozenset(scope.split()),
        cameras=tuple(glob for glob in cameras if isinstance(glob, str)),
        expires=float(expires),
        kid=key[0],
        pem=key[1],
        issuer=access.issuer,
        audience=access.audience,
    )


def _public_key(kid: str, pem: str) -> EllipticCurvePublicKey:
    try:
        key = load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ValueError(f"verification key {kid} is no PEM public key") from error
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
        raise ValueError(f"verification key {kid} is not on P-256, which ES256 signs with")
    return key
