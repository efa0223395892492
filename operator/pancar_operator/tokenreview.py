"""In a cluster: who a relay is, by its pod's bound service-account token. `enrol` asks it through `PodTokens.verify`.

The API server says whether the token is good, for us, and of which pod (TokenReview); the pod must be one of a
RelayPool in its own namespace, and of the StatefulSet that is made for that pool.
"""

from collections.abc import Mapping
from typing import Any, Final

from pancar_operator import objects
from pancar_operator.api import PODS, POOLS, TOKEN_REVIEWS, Api, ApiError, Body
from pancar_operator.authority import Enrolled
from pancar_operator.enrol import NotPermitted, Unauthenticated, Unverifiable
from pancar_operator.model import Key
from pancar_operator.observe import Known
from pancar_operator.specs import TOKEN_AUDIENCE

_POD_NAME: Final = "authentication.kubernetes.io/pod-name"
_POD_UID: Final = "authentication.kubernetes.io/pod-uid"
_SERVICE_ACCOUNT: Final = "system:serviceaccount:"


class PodTokens:
    """Reads the pod from the API server: the token may be a moment older than what `Known` has heard."""

    def __init__(self, api: Api, known: Known) -> None:
        self._api = api
        self._known = known

    async def verify(self, token: str) -> Enrolled:
        """Raises EnrolmentError for all but the pod of a relay."""
        try:
            namespace, name, uid = await self._review(token)
            pod = await self._pod(Key(namespace, name), uid)
            return await self._enrolled(pod)
        except ApiError as error:
            raise Unverifiable(f"the API server did not answer for the token: {error.reason}") from error

    async def _review(self, token: str) -> tuple[str, str, str]:
        """Namespace, name and UID of the pod it was made for."""
        body = {
            "apiVersion": TOKEN_REVIEWS.api_version,
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": [TOKEN_AUDIENCE]},
        }
        status = (await self._api.create(TOKEN_REVIEWS.path(), body)).get("status", {})
        if not status.get("authenticated") or TOKEN_AUDIENCE not in status.get("audiences", ()):
            raise Unauthenticated(f"the API server does not vouch for the token with the audience {TOKEN_AUDIENCE}")
        user = status.get("user", {})
        account, extra = user.get("username", ""), user.get("extra", {})
        names, uids = extra.get(_POD_NAME, ()), extra.get(_POD_UID, ())
        if not account.startswith(_SERVICE_ACCOUNT) or len(names) != 1 or len(uids) != 1:
            raise Unauthenticated("the token is not bound to a pod")
        return account.removeprefix(_SERVICE_ACCOUNT).partition(":")[0], names[0], uids[0]

    async def _pod(self, key: Key, uid: str) -> Body:
        try:
            pod: Body = await self._api.get(PODS.path(key.namespace, key.name))
        except ApiError as error:
            if not error.not_found:
                raise
            raise NotPermitted(f"pod {key} is gone") from None
        if pod["metadata"]["uid"] != uid:
            raise NotPermitted(f"pod {key} is another one by now")
        return pod

    async def _enrolled(self, body: Body) -> Enrolled:
        pod = objects.pod(body)
        if pod is None or not await self._is_pool(pod.pool):
            named = Key(body["metadata"]["namespace"], body["metadata"]["name"])
            raise NotPermitted(f"pod {named} is of no RelayPool of its namespace")
        status = body.get("status", {})
        addresses = [each["ip"] for each in status.get("podIPs", ())]
        if not addresses:
            # A container may run before the kubelet has told of its address, without which HTTPS would be refused.
            raise Unverifiable(f"pod {Key(pod.pool.namespace, pod.name)} has no address yet")
        if _on_node(body.get("spec", {})):
            addresses += [each["ip"] for each in status.get("hostIPs", ())]
        told = [address.rpartition(":")[0].strip("[]") for address in self._known.addresses(pod.uid).udp]
        return Enrolled(pod.uid, pod.pool, pod.name, tuple(dict.fromkeys([*addresses, *told])))

    async def _is_pool(self, pool: Key) -> bool:
        if pool in self._known.pools:
            return True
        try:
            await self._api.get(POOLS.path(pool.namespace, pool.name))
        except ApiError as error:
            if not error.not_found:
                raise
            return False
        return True


def _on_node(spec: Mapping[str, Any]) -> bool:
    """Whether the pod is reached at its node's address."""
    ports = (port for container in spec.get("containers", ()) for port in container.get("ports", ()))
    return bool(spec.get("hostNetwork")) or any("hostPort" in port for port in ports)
