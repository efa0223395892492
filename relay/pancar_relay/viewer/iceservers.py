"""The STUN and TURN servers that a viewer is told of: Link headers (RFC 9725, 4.6; draft-ietf-wish-whep-04, 4.8) with
credentials of the TURN REST convention (draft-uberti-behave-turn-rest-00, 2.2). Pure; called by `viewer.whep`.

Whoever may watch gets a name that says until when it is good, and as password what the TURN server can work out for
itself from the name and a secret that it shares with the relays.
"""

import base64
import hashlib
import hmac
from dataclasses import dataclass, field

from pancar_relay.viewer.rights import Viewer

# Nobody's credentials outlive his right, nor this; long enough for a shift, for some servers ask anew at each refresh.
LONGEST = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class IceServers:
    """URLs as RFC 7064 and RFC 7065 have them, checked by `settings`."""

    urls: tuple[str, ...] = ()
    secret: bytes = field(default=b"", repr=False)

    def links(self, viewer: Viewer, now: float) -> list[str]:
        """A value of Link for each server; `now` in seconds since the epoch."""
        if not self.urls:
            return []
        username, credential = self._credentials(viewer, now)
        secret = f'; username="{username}"; credential="{credential}"; credential-type="password"'
        return [f'<{url}>; rel="ice-server"{secret if url.startswith("turn") else ""}' for url in self.urls]

    def _credentials(self, viewer: Viewer, now: float) -> tuple[str, str]:
        # Tells one person's use of the server from another's in its log, and not who it is.
        who = hashlib.sha256(viewer.subject.encode()).hexdigest()[:16]
        username = f"{int(min(viewer.expires, now + LONGEST))}:{who}"
        mac = hmac.new(self.secret, username.encode(), hashlib.sha1)
        return username, base64.b64encode(mac.digest()).decode()
