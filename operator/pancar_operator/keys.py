"""The operator's own Secrets: the authorities that certify relays, and the key that signs viewers' tokens.

`__main__` loads both at its start and lets `follow` keep them; `pancar token` reads the second. They lie in the
operator's namespace and are made where they are missing. Of two replicas that make one at once the first wins, and both
go on with that. Who deletes one has a new one made: all that rested on it ends.
"""

import asyncio
import base64
import binascii
import datetime
from collections.abc import Callable, Mapping
from typing import Any, Final

import structlog

from pancar_operator.access import Access, SigningKey
from pancar_operator.api import SECRETS, Api, ApiError
from pancar_operator.authority import Authorities, Issuer, Now

AUTHORITY: Final = "pancar-authority"
AUTHORITY_CERTIFICATES: Final = "ca.crt"
AUTHORITY_KEYS: Final = "ca.key"
SIGNING_KEY: Final = "pancar-signing-key"
SIGNING_KEY_PEM: Final = "signing-key.pem"

# How soon a Secret that somebody replaced takes effect.
LOOK_SECONDS: Final = 60.0

_log = structlog.get_logger(__name__)


class KeysError(Exception):
    """A Secret of ours holds something else than what belongs there; says which, and what to do. Never its content."""


async def authorities(api: Api, namespace: str, now: datetime.datetime) -> Authorities:
    """The authorities of the moment, renewed where it is time. Raises ApiError and KeysError."""
    secret = await _present(api, namespace, AUTHORITY, lambda: _authority_data(Authorities.new(now)))
    data = _data(secret, AUTHORITY, (AUTHORITY_CERTIFICATES, AUTHORITY_KEYS))
    try:
        kept = Authorities.load(data[AUTHORITY_CERTIFICATES], data[AUTHORITY_KEYS])
    except ValueError as error:
        raise KeysError(
            f"Secret {namespace}/{AUTHORITY} holds no certificate authority: {error}. Delete it to have a new one "
            "made; relays then enrol again."
        ) from None
    renewed = kept.renewed(now)
    if renewed is not kept:
        body = _secret(namespace, AUTHORITY, _authority_data(renewed))
        # Whoever changed it in between is not overwritten.
        body["metadata"]["resourceVersion"] = secret["metadata"]["resourceVersion"]
        await api.apply(SECRETS.path(namespace, AUTHORITY), body)
        _log.info("authority.renewed", trusted=len(renewed.members))
    return renewed


async def signing_key(api: Api, namespace: str) -> SigningKey:
    """The key that signs viewers' tokens. Raises ApiError and KeysError."""
    return read_signing_key(
        await _present(api, namespace, SIGNING_KEY, lambda: {SIGNING_KEY_PEM: SigningKey.new().dump()})
    )


def read_signing_key(secret: Mapping[str, Any]) -> SigningKey:
    """The key in a Secret as the API server gives it. Raises KeysError."""
    try:
        return SigningKey.load(_data(secret, SIGNING_KEY, (SIGNING_KEY_PEM,))[SIGNING_KEY_PEM])
    except ValueError as error:
        raise KeysError(
            f"Secret {secret['metadata']['namespace']}/{SIGNING_KEY} does not sign: under {SIGNING_KEY_PEM}, {error}. "
            "Delete it to have a new one made; all tokens are void then."
        ) from None


async def follow(api: Api, namespace: str, issuer: Issuer, admit: Callable[[Access], None], now: Now) -> None:
    """Never returns: looks once a minute whether a Secret was replaced, or an authority is to be followed by another.

    What is there stays in use while the API server is away or a Secret holds nonsense.
    """
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        try:
            await look(api, namespace, issuer, admit, now())
        except (ApiError, KeysError) as error:
            _log.warning("keys.not_read", error=str(error))


async def look(
    api: Api, namespace: str, issuer: Issuer, admit: Callable[[Access], None], now: datetime.datetime
) -> None:
    """Hands on what the Secrets hold now. Raises ApiError and KeysError."""
    present = await authorities(api, namespace, now)
    if present.keys != issuer.authorities.keys:
        issuer.take(present)
    admit(Access(keys=((await signing_key(api, namespace)).public,)))


async def _present(api: Api, namespace: str, name: str, fresh: Callable[[], dict[str, bytes]]) -> dict[str, Any]:
    path = SECRETS.path(namespace, name)
    try:
        return dict(await api.get(path))
    except ApiError as error:
        if not error.not_found:
            raise
    try:
        return dict(await api.create(SECRETS.path(namespace), _secret(namespace, name, fresh())))
    except ApiError as error:
        if not error.conflict:
            raise
    return dict(await api.get(path))


def _secret(namespace: str, name: str, data: Mapping[str, bytes]) -> dict[str, Any]:
    return {
        "apiVersion": SECRETS.api_version,
        "kind": "Secret",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {"app.kubernetes.io/managed-by": "pancar-operator"},
        },
        "type": "Opaque",
        "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
    }


def _authority_data(authorities: Authorities) -> dict[str, bytes]:
    return {AUTHORITY_CERTIFICATES: authorities.bundle, AUTHORITY_KEYS: authorities.keys}


def _data(secret: Mapping[str, Any], name: str, keys: tuple[str, ...]) -> dict[str, bytes]:
    """The values under `keys`; empty where one is missing, which no reader of ours takes."""
    held = secret.get("data") or {}
    try:
        return {key: base64.b64decode(held.get(key, ""), validate=True) for key in keys}
    except (binascii.Error, ValueError):
        raise KeysError(f"Secret {secret['metadata']['namespace']}/{name} is not in base64.") from None
