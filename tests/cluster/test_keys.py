"""The operator's Secrets on a real API server: made once, followed, and never overwritten."""

import asyncio
import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pancar_operator import keys
from pancar_operator.access import Access, Right, SigningKey
from pancar_operator.api import SECRETS, Api
from pancar_operator.authority import AUTHORITY_LIFE, AUTHORITY_OVERLAP, Authorities, Issuer
from pancar_operator.keys import AUTHORITY, SIGNING_KEY, SIGNING_KEY_PEM, KeysError
from rigs.cluster.kube import Kube

NOW = datetime.now(UTC)


def held(kube: Kube, namespace: str, name: str) -> dict[str, Any]:
    return kube.get("secret", name, f"--namespace={namespace}")


async def test_replicas_that_start_at_once_agree(kube: Kube, namespace: str) -> None:
    async with Api.connect(kube.kubeconfig) as api:
        authorities = await asyncio.gather(*(keys.authorities(api, namespace, NOW) for _ in range(8)))
        signing = await asyncio.gather(*(keys.signing_key(api, namespace) for _ in range(8)))
        assert len({each.keys for each in authorities}) == 1
        assert len({each.public.kid for each in signing}) == 1
        version = held(kube, namespace, AUTHORITY)["metadata"]["resourceVersion"]
        assert (await keys.authorities(api, namespace, NOW)).keys == authorities[0].keys
        assert held(kube, namespace, AUTHORITY)["metadata"]["resourceVersion"] == version, "nothing was written"


async def test_an_authority_that_nears_its_end_is_followed_by_another(kube: Kube, namespace: str) -> None:
    start = NOW - AUTHORITY_LIFE + AUTHORITY_OVERLAP
    async with Api.connect(kube.kubeconfig) as api:
        old = await keys.authorities(api, namespace, start - timedelta(days=1))
        both = await asyncio.gather(*(keys.authorities(api, namespace, NOW) for _ in range(2)), return_exceptions=True)
        renewed = [each for each in both if isinstance(each, Authorities)]
        assert renewed, both
        kept = await keys.authorities(api, namespace, NOW)
        assert len(kept.members) == 2
        assert kept.bundle.startswith(old.bundle)
        assert all(each.keys == kept.keys for each in renewed)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (AUTHORITY, {"ca.crt": "secret", "ca.key": "secret"}),
        (AUTHORITY, {}),
        (SIGNING_KEY, {SIGNING_KEY_PEM: "secret"}),
    ],
)
async def test_what_belongs_not_there_is_named_and_left(
    kube: Kube, namespace: str, name: str, content: dict[str, str]
) -> None:
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace}}
    kube.apply({**body, "stringData": content})
    before = held(kube, namespace, name)
    async with Api.connect(kube.kubeconfig) as api:
        with pytest.raises(KeysError, match=f"{namespace}/{name}.*Delete it") as refused:
            await (keys.authorities(api, namespace, NOW) if name == AUTHORITY else keys.signing_key(api, namespace))
    assert "secret" not in str(refused.value)
    assert held(kube, namespace, name) == before


async def test_keys_that_were_replaced_take_effect(kube: Kube, namespace: str) -> None:
    async with Api.connect(kube.kubeconfig) as api:
        issuer = Issuer(await keys.authorities(api, namespace, NOW), lambda: NOW)
        first, signing = issuer.current(), await keys.signing_key(api, namespace)
        admitted: list[Access] = []
        await keys.look(api, namespace, issuer, admitted.append, NOW)
        assert issuer.current() == first
        kube("delete", "secret", AUTHORITY, SIGNING_KEY, f"--namespace={namespace}")
        await keys.look(api, namespace, issuer, admitted.append, NOW)
        pair, bundle = issuer.current()
        assert pair != first[0]
        assert bundle == base64.b64decode(held(kube, namespace, AUTHORITY)["data"]["ca.crt"]) != first[1]
        assert [each.keys == (signing.public,) for each in admitted] == [True, False]


async def test_whoever_reads_the_secret_signs_what_relays_believe(kube: Kube, namespace: str) -> None:
    async with Api.connect(kube.kubeconfig) as api:
        public = (await keys.signing_key(api, namespace)).public
        read = keys.read_signing_key(await api.get(SECRETS.path(namespace, SIGNING_KEY)))
    assert read.public == public
    assert isinstance(read, SigningKey)
    assert read.mint(Right("viewer")).count(".") == 2
