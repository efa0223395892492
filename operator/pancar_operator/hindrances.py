"""Why a pod is not there, or does not get ready, in Kubernetes' own words: its Events. Called by `fleet`.

What forbids a pod (PodSecurity, a quota), keeps it off every node (a port in use) or from starting (an image, a
volume) is told in Events alone: the StatefulSet's status only counts.
"""

from typing import Any, Final

from pancar_operator.api import CORE_EVENTS, Api, ApiError

_FORBIDDEN: Final = 403


async def hindrance(api: Api, namespace: str, uid: str) -> str:
    """The last warning about the object; empty where there is none, or we may not know. Raises ApiError."""
    try:
        selected = f"involvedObject.uid={uid},type=Warning"
        found = await api.get(CORE_EVENTS.path(namespace), fieldSelector=selected)
    except ApiError as error:
        if error.status == _FORBIDDEN:
            return ""
        raise
    messages = [event.get("message") or "" for event in sorted(found["items"], key=_last)]
    return messages[-1].strip() if messages else ""


def _last(event: dict[str, Any]) -> str:
    """When it was last seen, by whichever of the fields its writer uses; RFC 3339 in UTC sorts as text."""
    series = event.get("series") or {}
    return str(series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime") or "")
