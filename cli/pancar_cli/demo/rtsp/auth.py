"""Who may talk to the server: digest and basic access (RFC 2617), checked without I/O.

Called by `connection`. MD5 is what RTSP 1.0 clients speak: recorders and cameras in the field know no other digest,
and the digest only keeps the password off the wire. Nothing here ever renders a password.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from pancar_cli.demo.rtsp.messages import Request

_PARAMETER = re.compile(r'\s*([A-Za-z0-9_-]{1,32})\s*=\s*(?:"((?:[^"\\]|\\.){0,1024})"|([^\s,"]{0,1024}))\s*(?:,|$)')


class Scheme(Enum):
    """Which scheme a server asks for."""

    DIGEST = "Digest"
    BASIC = "Basic"


@dataclass(frozen=True, slots=True)
class Guard:
    """The one account of a stream, and how it is asked for."""

    username: str
    password: str = field(repr=False)
    scheme: Scheme = Scheme.DIGEST
    realm: str = "camera"

    def challenge(self, nonce: str) -> str:
        """The value of WWW-Authenticate. `nonce` is fresh for each connection."""
        if self.scheme is Scheme.BASIC:
            return f'Basic realm="{self.realm}"'
        return f'Digest realm="{self.realm}", nonce="{nonce}", algorithm=MD5'

    def admits(self, request: Request, nonce: str) -> bool:
        """Whether the request's Authorization header proves the account, in constant time over the secrets."""
        scheme, _, rest = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != self.scheme.value.lower():
            return False
        if self.scheme is Scheme.BASIC:
            return self._admits_basic(rest)
        return self._admits_digest(request, parameters(rest), nonce)

    def _admits_basic(self, credentials: str) -> bool:
        try:
            given = base64.b64decode(credentials.strip(), validate=True)
        except (binascii.Error, ValueError):
            return False
        return hmac.compare_digest(given, f"{self.username}:{self.password}".encode())

    def _admits_digest(self, request: Request, given: Mapping[str, str], nonce: str) -> bool:
        # Some clients put the stream's URL into every digest, so `uri` is taken from the header (RFC 2617, 3.2.2.5);
        # the nonce is this connection's own, which leaves nothing to replay elsewhere.
        uri = given.get("uri", "")
        if given.get("username") != self.username or given.get("realm") != self.realm or given.get("nonce") != nonce:
            return False
        expected = digest(self.username, self.realm, self.password, request.method, uri, nonce)
        if "qop" in given:
            if given["qop"] != "auth":
                return False
            middle = f"{nonce}:{given.get('nc', '')}:{given.get('cnonce', '')}:auth"
            expected = _response(self.username, self.realm, self.password, request.method, uri, middle)
        return hmac.compare_digest(given.get("response", "").lower().encode(), expected.encode())


def parameters(text: str) -> dict[str, str]:
    """The `name=value` list of a digest header; an empty dict where it is malformed or a name comes twice."""
    found: dict[str, str] = {}
    position = 0
    while position < len(text):
        match = _PARAMETER.match(text, position)
        if match is None or match[1].lower() in found:
            return {}
        found[match[1].lower()] = re.sub(r"\\(.)", r"\1", match[2]) if match[2] is not None else match[3]
        position = match.end()
    return found


def digest(username: str, realm: str, password: str, method: str, uri: str, nonce: str) -> str:
    """The `response` of RFC 2617, 3.2.2.1 without qop, as RTSP clients send it."""
    return _response(username, realm, password, method, uri, nonce)


def _response(username: str, realm: str, password: str, method: str, uri: str, middle: str) -> str:
    return _md5(f"{_md5(f'{username}:{realm}:{password}')}:{middle}:{_md5(f'{method}:{uri}')}")


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
