"""Which other origins' pages may use WHEP (Fetch, 3.3, the CORS protocol). Pure; `web` asks it for each answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

ANY: Final = "*"
# What of an answer a page of another origin may read beyond what every page may.
EXPOSED: Final = "Location, ETag, Link, Retry-After"
# The wildcard stands for no Authorization in Access-Control-Allow-Headers, so that all are named.
_PREFLIGHT: Final = {
    "Access-Control-Allow-Methods": "POST, PATCH, DELETE",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, If-Match",
    "Access-Control-Max-Age": "600",
}


@dataclass(frozen=True, slots=True)
class Cors:
    """Exact origins, or `ANY`; none by default."""

    origins: frozenset[str] = frozenset()

    def allows(self, origin: str | None) -> bool:
        return origin is not None and (ANY in self.origins or origin in self.origins)

    def headers(self, origin: str | None, *, preflight: bool) -> Mapping[str, str]:
        """What an answer to that origin carries."""
        if not self.origins:
            return {}
        if not self.allows(origin):
            return {"Vary": "Origin"}
        headers = {"Access-Control-Expose-Headers": EXPOSED} if not preflight else dict(_PREFLIGHT)
        if ANY in self.origins:
            # Never together with credentials: every page of the web would then act with the viewer's cookie.
            return {"Access-Control-Allow-Origin": ANY, **headers}
        return {
            "Access-Control-Allow-Origin": origin or "",
            "Access-Control-Allow-Credentials": "true",
            "Vary": "Origin",
            **headers,
        }
