"""What the API server's audit log says of one user's writes; followed while the bench runs."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

# The Lease is a leader's sign of life; a review writes nothing.
NOT_COUNTED: Final = frozenset({"leases", "tokenreviews", "subjectaccessreviews", "selfsubjectaccessreviews"})


@dataclass(frozen=True, slots=True)
class Write:
    """One request that changed something, or tried to."""

    at: float
    """Seconds since the epoch, when the API server received it."""
    verb: str
    resource: str
    """With its subresource, as "cameras/status"."""
    key: str
    code: int


class Audit:
    def __init__(self, log: Path, user: str) -> None:
        self._file = log.open("rb")
        self._user = user.encode()
        self._left = b""
        self.writes: list[Write] = []

    def read(self) -> list[Write]:
        """Takes what was logged since; returns all so far, in the log's order."""
        lines = (self._left + self._file.read()).split(b"\n")
        self._left = lines.pop()
        for line in lines:
            if self._user in line and (write := self._write(json.loads(line))) is not None:
                self.writes.append(write)
        return self.writes

    def _write(self, event: dict[str, dict[str, str]]) -> Write | None:
        reference = event.get("objectRef", {})
        resource = reference.get("resource", "")
        if event["user"]["username"] != self._user.decode() or resource in NOT_COUNTED:
            return None
        subresource = reference.get("subresource")
        return Write(
            datetime.fromisoformat(str(event["requestReceivedTimestamp"])).timestamp(),
            str(event["verb"]),
            f"{resource}/{subresource}" if subresource else resource,
            f"{reference.get('namespace', '')}/{reference.get('name', '')}",
            int(event["responseStatus"]["code"]),
        )

    def close(self) -> None:
        self._file.close()


def statuses(writes: Iterable[Write]) -> Counter[str]:
    """How often each camera's status was written."""
    return Counter(write.key for write in writes if write.resource == "cameras/status" and write.code < 300)


def fastest(writes: Iterable[Write], window: float = 1.0) -> int:
    """The most writes within any `window` seconds."""
    times = sorted(write.at for write in writes)
    most, first = 0, 0
    for last, at in enumerate(times):
        while at - times[first] >= window:
            first += 1
        most = max(most, last - first + 1)
    return most
